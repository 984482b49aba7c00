//! A queue in use: who sent what, what they were told, and what came out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use weir_disk_queue::{Counters, Options, Queue, Submitted, Take, Taken};

use crate::model::{Crash, Dice, Disk};

pub(crate) struct World {
    pub(crate) disk: Disk,
    pub(crate) queue: Option<Queue>,
    options: Options,
    issued: u64,
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
    delivered: BTreeMap<u64, u64>,
    /// Taken and not done, as the owner holds them.
    pub(crate) held: Vec<Taken>,
    /// What may come again: not known to the disk as done.
    unsaved: BTreeSet<u64>,
    /// What queues that are closed have counted.
    counted: Harm,
    /// Records that nobody was told are safe, and of which a power loss may leave any part: a queue may take them for lost.
    pub(crate) doubtful: u64,
    /// Those that were under way when the process ended before this one.
    under_way: u64,
    /// What a queue counted as lost at most.
    most_lost: u64,
    /// Power was lost without syncs: any of what was acknowledged may be missing, and counts as lost or not.
    unsafe_power_loss: bool,
    /// What was counted may have been heard by nobody, or only what is not there any more could tell it.
    pub(crate) unheard: bool,
}

/// What queues say that was damaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Harm {
    pub(crate) lost: u64,
    pub(crate) damaged: u64,
    pub(crate) quarantined: u64,
}

/// Content that says which record it is of.
fn content(record: u64) -> Bytes {
    let length = Dice(record).below(300) as usize;
    let mut bytes = record.to_le_bytes().to_vec();
    bytes.extend((0..length).map(|i| (record as usize * 31 + i * 7) as u8));
    bytes.into()
}

pub(crate) fn options() -> Options {
    Options { segment_bytes: 2000, read_ahead: 600, seed: 99, ..Options::default() }
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World::with(seed, options())
    }

    pub(crate) fn with(seed: u64, options: Options) -> World {
        let disk = Disk::new(seed);
        let mut world = World {
            disk,
            queue: None,
            options,
            issued: 0,
            acknowledged: Arc::default(),
            delivered: BTreeMap::new(),
            held: Vec::new(),
            unsaved: BTreeSet::new(),
            counted: Harm::default(),
            doubtful: 0,
            under_way: 0,
            most_lost: 0,
            unsafe_power_loss: false,
            unheard: false,
        };
        world.open();
        world
    }

    /// Opens the queue; true when it is open.
    pub(crate) fn open(&mut self) -> bool {
        // Another seed each time, as in life.
        self.options.seed += 1;
        self.queue = Queue::open(Arc::new(self.disk.clone()), self.options.clone()).ok();
        self.queue.is_some()
    }

    /// Ends the queue without a word.
    pub(crate) fn close(&mut self) {
        let last = self.last_counted();
        self.most_lost = self.most_lost.max(last.lost);
        self.counted = self.counted();
        // What was in memory only goes with it, which whoever asks is told.
        self.counted.lost += self.queue.as_ref().map_or(0, Queue::adrift);
        self.queue = None;
    }

    /// What the queue that is open has counted.
    fn last_counted(&self) -> Harm {
        // What a process counts after it has died nobody hears.
        let open = self.queue.as_ref().filter(|_| !self.disk.is_dead());
        let Counters { lost, damaged, quarantined, .. } = open.map(Queue::counters).unwrap_or_default();
        Harm { lost, damaged, quarantined }
    }

    /// What all queues have counted so far.
    pub(crate) fn counted(&self) -> Harm {
        let (before, last) = (self.counted, self.last_counted());
        Harm {
            lost: before.lost + last.lost,
            damaged: before.damaged + last.damaged,
            quarantined: before.quarantined + last.quarantined,
        }
    }

    /// Acknowledged records that have to come out after a crash: those that did not yet, and those of which the disk does not
    /// know that they are done.
    pub(crate) fn due(&self) -> BTreeSet<u64> {
        let acknowledged = self.acknowledged.lock().expect("not poisoned");
        let is_due = |record: &&u64| !self.delivered.contains_key(record) || self.unsaved.contains(record);
        acknowledged.iter().filter(is_due).copied().collect()
    }

    /// The records that are held.
    pub(crate) fn in_hand(&self) -> BTreeSet<u64> {
        self.held.iter().map(record_of).collect()
    }

    /// Sends so many records as one group.
    pub(crate) fn send(&mut self, count: u64) {
        let Some(queue) = &self.queue else { return };
        // What was refused and could not be cut off is there after a restart too.
        let (mut commit, before) = (false, queue.disk_bytes());
        for _ in 0..count {
            let record = self.issued;
            self.issued += 1;
            let bytes = content(record);
            let parts = vec![bytes.slice(..3), bytes.slice(3..)];
            let acknowledged = Arc::clone(&self.acknowledged);
            let submitted = queue.submit(
                parts,
                2,
                |_| true,
                move |outcome| {
                    if outcome.is_ok() {
                        acknowledged.lock().expect("not poisoned").insert(record);
                    }
                },
            );
            commit |= submitted == Submitted::Commit;
        }
        if commit {
            queue.commit();
        }
        let (most, now) = (self.options.max_bytes.max(before), queue.disk_bytes());
        assert!(self.options.max_bytes == 0 || now <= most, "{now} of {most} bytes");
    }

    /// Takes the next record and checks that it is one that was sent.
    pub(crate) fn take(&mut self) -> bool {
        let Some(queue) = &self.queue else { return false };
        loop {
            match queue.try_take() {
                Take::Record(taken) => {
                    let record = u64::from_le_bytes(taken.bytes[..8].try_into().expect("8 bytes"));
                    assert!(record < self.issued, "record {record} was never sent");
                    assert_eq!(taken.bytes, content(record), "record {record} was changed");
                    *self.delivered.entry(record).or_default() += 1;
                    self.unsaved.insert(record);
                    self.held.push(taken);
                    return true;
                }
                Take::Empty => return false,
                Take::Behind if queue.fill(usize::MAX).is_err() => return false,
                Take::Behind => {}
            }
        }
    }

    /// Takes all there is, although the disk does not give some of one segment for as long as a queue waits for it.
    pub(crate) fn outlast(&mut self) {
        while self.take() {}
        for _ in 0..6 {
            self.disk.pass(Duration::from_secs(50));
            while self.take() {}
        }
    }

    /// One of those that are held is done.
    pub(crate) fn finish(&mut self, at: usize) {
        if self.held.is_empty() {
            return;
        }
        let taken = self.held.swap_remove(at % self.held.len());
        let Some(queue) = &self.queue else { return };
        queue.done(taken.receivable);
    }

    pub(crate) fn save(&mut self) {
        if let Some(queue) = &self.queue {
            queue.save();
        }
    }

    /// Saves without any fault and notes what must not come again after a kill.
    pub(crate) fn save_for_sure(&mut self) {
        self.save();
        let held = self.in_hand();
        self.unsaved.retain(|record| held.contains(record));
    }

    /// Ends the process without a word, and starts the next on what is left.
    pub(crate) fn crash(&mut self, crash: Crash) {
        self.held.clear();
        self.close();
        let behind = self.acknowledged.lock().expect("not poisoned").last().map_or(0, |record| record + 1);
        let under_way = self.issued - behind;
        if self.disk.has_forgotten() {
            self.doubtful += self.under_way + under_way;
        } else if crash == Crash::Power {
            self.doubtful += under_way;
        }
        self.under_way = under_way;
        self.unsafe_power_loss |= crash == Crash::Power && !self.options.fsync;
        self.disk.restart(crash);
        self.open();
    }

    /// Damages the segments that are open, under the queue.
    pub(crate) fn wipe(&self) {
        let segment = |names: &[String]| names.iter().find(|name| name.ends_with(".segment")).cloned();
        self.disk.damage(segment, |bytes| bytes.fill(0));
    }

    /// Sends what is damaged while the queue is closed, and found by the next start.
    pub(crate) fn lose_a_segment(&mut self, seed: u64) {
        self.send(2);
        self.close();
        self.wipe();
        self.crash(Crash::Kill);
        self.check(seed, true);
    }

    /// Takes everything that is left, and checks what a queue promises. `forgiven`: records that damage may have cost.
    pub(crate) fn check(&mut self, seed: u64, forgiven: bool) {
        self.disk.disarm();
        self.disk.show();
        if self.disk.is_dead() {
            self.crash(Crash::Kill);
        }
        if self.queue.is_none() {
            assert!(self.open(), "seed {seed}: it opens when nothing fails");
        }
        if self.options.max_bytes > 0 {
            self.finish_all();
        }
        let fresh = self.issued;
        self.send(1);
        while self.take() {}
        assert!(self.delivered.contains_key(&fresh), "seed {seed}: a fresh record passes");
        let acknowledged = self.acknowledged.lock().expect("not poisoned").clone();
        let missing: Vec<_> = acknowledged.iter().filter(|r| !self.delivered.contains_key(r)).collect();
        if self.unsafe_power_loss {
            // Nothing is promised but that it opens and takes records, and that none is changed.
        } else if forgiven {
            let told = self.unheard || missing.len() as u64 <= self.counted().lost;
            assert!(told, "seed {seed}: lost without a count");
        } else {
            assert!(missing.is_empty(), "seed {seed}: acknowledged and lost: {missing:?}");
        }
        self.finish_all();
        let queue = self.queue.as_ref().expect("open");
        assert_eq!(queue.backlog(), weir_disk_queue::Backlog::default(), "seed {seed}");
        let aside = |name: &String| name.ends_with(".damaged") || name.ends_with(".unreadable");
        let left: Vec<_> = self.disk.names().into_iter().filter(|name| !aside(name)).collect();
        assert!(left.len() <= 2, "seed {seed}: of one segment, which is written: {left:?}");
        let held = left.iter().filter(|name| name.ends_with(".segment")).map(|name| self.disk.size_of(name));
        assert_eq!(queue.disk_bytes(), held.sum::<Option<usize>>().unwrap_or(0) as u64, "seed {seed}");
        let counted = self.counted();
        match (forgiven || self.unsafe_power_loss, self.doubtful) {
            (true, _) => {}
            (false, 0) => assert_eq!(counted, Harm::default(), "seed {seed}: nothing was damaged"),
            // Each time, as a loss of power may take from the disk that they were counted.
            (false, most) => {
                let lost = self.most_lost.max(self.last_counted().lost);
                assert!(lost <= most, "seed {seed}: {lost} of {most} counted as lost");
            }
        }
    }

    /// Takes all there is, until nothing is left.
    fn finish_all(&mut self) {
        while self.take() {}
        while !self.held.is_empty() {
            self.finish(0);
        }
        self.save();
    }

    /// Whether nothing that was acknowledged may be lost, and nothing may count as lost.
    pub(crate) fn is_exact(&self) -> bool {
        self.doubtful == 0 && !self.unsafe_power_loss
    }

    /// Acknowledged records that never came out.
    pub(crate) fn missing(&self) -> u64 {
        let acknowledged = self.acknowledged.lock().expect("not poisoned");
        acknowledged.iter().filter(|record| !self.delivered.contains_key(record)).count() as u64
    }

    /// Records that came out more than once although the disk knew that they were done.
    pub(crate) fn repeated(&self, before: &BTreeMap<u64, u64>, unsaved: &BTreeSet<u64>) -> Vec<u64> {
        let again =
            |record: &u64| self.delivered.get(record) > before.get(record) && before.contains_key(record);
        self.delivered.keys().filter(|r| again(r) && !unsaved.contains(r)).copied().collect()
    }

    pub(crate) fn delivered(&self) -> &BTreeMap<u64, u64> {
        &self.delivered
    }

    pub(crate) fn unsaved(&self) -> &BTreeSet<u64> {
        &self.unsaved
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.lock().expect("not poisoned").len()
    }
}

fn record_of(taken: &Taken) -> u64 {
    u64::from_le_bytes(taken.bytes[..8].try_into().expect("8 bytes"))
}

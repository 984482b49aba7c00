//! Putting batches together and cutting what is too large.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_component::{Batch, BatchSettings, Budget, Context, Instant, Receipt, Sizer};
use weir_pdata::{Gathering, Limit};

use crate::queue::{Load, Room};

/// Batches that form at the same time. Beyond that the oldest goes as it is, so that senders cannot make as many as they
/// like by their metadata.
const MAX_FORMING: usize = 1000;

/// Values of the metadata keys by which batches are kept apart.
type Partition = Vec<Vec<String>>;

/// What waits for more.
pub(crate) struct Forming {
    settings: BatchSettings,
    /// Of what batches are cut into, and of profiles that are merged.
    budget: Budget,
    partitions: BTreeMap<Partition, Part>,
    /// No later than when the first of them is due, as one that was looked for then may have gone since.
    first_due: Option<Instant>,
}

/// One batch that waits.
struct Part {
    gathered: Gathering,
    context: Arc<Context>,
    duty: Duty,
    deadline: Instant,
}

impl Forming {
    pub(crate) fn new(settings: BatchSettings, budget: Budget) -> Forming {
        Forming { settings, budget, partitions: BTreeMap::new(), first_due: None }
    }

    /// When to look for those that are [due](Forming::due): with the first of them, or before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.first_due.filter(|_| !self.partitions.is_empty())
    }

    /// Adds a load and returns what is ready to be sent.
    pub(crate) fn add(&mut self, load: Load, now: Instant) -> Vec<Load> {
        let deadline = now + self.settings.flush_timeout;
        let partition: Partition =
            self.settings.metadata_keys.iter().map(|key| load.batch.context.metadata(key).to_vec()).collect();
        let (mut part, before, newest) = match self.partitions.remove(&partition) {
            None => {
                let mut part = Part::new(load, deadline);
                let newest = std::mem::take(&mut part.duty);
                (part, 0, newest)
            }
            Some(mut part) => {
                let before = part.gathered.items();
                let newest = part.merge(load, &self.settings.metadata_keys);
                (part, before, newest)
            }
        };
        if part.size(&self.settings) < self.settings.min_size {
            part.duty.join(newest);
            return self.wait(partition, part);
        }
        let earlier = std::mem::replace(&mut part.duty, newest);
        let mut ready = part.cut(&self.settings, &self.budget);
        // Before a split leaves something over, so that this only ever answers for the request that it came with.
        earlier.hand_to(&mut ready, before);
        // What a split left over waits for more, as everything that is too small.
        let is_small = |load: &mut Load| load.size(&self.settings) < self.settings.min_size;
        if ready.len() > 1
            && let Some(load) = ready.pop_if(is_small)
        {
            ready.extend(self.wait(partition, Part::new(load, deadline)));
        }
        ready
    }

    /// Those whose time has come.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Load> {
        let due: Vec<Partition> = (self.partitions.iter())
            .filter(|(_, part)| part.deadline <= now)
            .map(|(partition, _)| partition.clone())
            .collect();
        let ready = due.iter().flat_map(|partition| self.finish(partition)).collect();
        self.first_due = self.partitions.values().map(|part| part.deadline).min();
        ready
    }

    /// All of them.
    pub(crate) fn all(&mut self) -> Vec<Load> {
        self.first_due = None;
        let all: Vec<Partition> = self.partitions.keys().cloned().collect();
        all.iter().flat_map(|partition| self.finish(partition)).collect()
    }

    /// Lets a batch wait for more, and returns the one that it crowds out.
    fn wait(&mut self, partition: Partition, part: Part) -> Vec<Load> {
        self.first_due = Some(self.first_due.map_or(part.deadline, |first| first.min(part.deadline)));
        self.partitions.insert(partition, part);
        if self.partitions.len() <= MAX_FORMING {
            return Vec::new();
        }
        let oldest = self.partitions.iter().min_by_key(|(_, part)| part.deadline).map(|(p, _)| p.clone());
        oldest.map(|partition| self.finish(&partition)).unwrap_or_default()
    }

    fn finish(&mut self, partition: &Partition) -> Vec<Load> {
        self.partitions
            .remove(partition)
            .map(|part| part.cut(&self.settings, &self.budget))
            .unwrap_or_default()
    }
}

/// A batch in parts of at most `max_size`, each as patient as the whole; an item that is larger goes alone. They are in the
/// budget.
pub(crate) fn cut(batch: Batch, sizer: Sizer, max_size: usize, budget: &Budget) -> Vec<Batch> {
    let patience = batch.receipt.patience();
    let settings = BatchSettings { sizer, max_size, ..BatchSettings::default() };
    let load = Load { batch, room: Room::default() };
    let loads = Part::new(load, Instant::default()).cut(&settings, budget);
    let parts = loads.into_iter().map(|load| load.batch);
    parts.map(|part| Batch { receipt: part.receipt.with_patience(patience), ..part }).collect()
}

impl Load {
    fn size(&self, settings: &BatchSettings) -> usize {
        match settings.sizer {
            Sizer::Bytes => self.batch.payload.encoded_len(),
            Sizer::Items | Sizer::Requests => self.batch.payload.items(),
        }
    }
}

impl Part {
    fn new(load: Load, deadline: Instant) -> Part {
        let Load { batch: Batch { payload, receipt, context }, room } = load;
        Part { gathered: payload.into(), context, duty: Duty { receipt, room }, deadline }
    }

    fn size(&self, settings: &BatchSettings) -> usize {
        match settings.sizer {
            Sizer::Bytes => self.gathered.encoded_len(),
            Sizer::Items | Sizer::Requests => self.gathered.items(),
        }
    }

    /// Appends `other` and returns the duty for that alone. What is known of the senders is only kept where they agree; `keys`
    /// of their metadata do.
    fn merge(&mut self, other: Load, keys: &[String]) -> Duty {
        let Batch { payload, receipt, context } = other.batch;
        if self.gathered.add(payload).is_err() {
            // Cannot happen: a queue holds one signal. The receipt of the stranger is dropped and so reported.
            return Duty::default();
        }
        if self.context != context {
            let metadata = (context.metadata.iter())
                .filter(|(name, _)| keys.iter().any(|key| key.eq_ignore_ascii_case(name)))
                .cloned()
                .collect();
            self.context = Arc::new(Context { metadata, ..Context::default() });
        }
        Duty { receipt, room: other.room }
    }

    /// Everything, in parts of at most `max_size`; an item that is larger goes alone. The receipt is shared, the room stays
    /// with the last.
    fn cut(self, settings: &BatchSettings, budget: &Budget) -> Vec<Load> {
        let limit = match settings.sizer {
            _ if settings.max_size == 0 => Limit::Items(usize::MAX),
            Sizer::Bytes => Limit::Bytes(settings.max_size),
            Sizer::Items | Sizer::Requests => Limit::Items(settings.max_size),
        };
        let Part { mut gathered, context, duty: Duty { receipt, room }, .. } = self;
        let mut parts = gathered.take(limit);
        parts.iter_mut().for_each(|part| budget.own(part));
        let last = parts.pop();
        let front = |payload| {
            let batch = Batch { payload, receipt: receipt.fork(), context: Arc::clone(&context) };
            Load { batch, room: Room::default() }
        };
        let mut loads: Vec<Load> = parts.into_iter().map(front).collect();
        loads.extend(last.map(|payload| Load { batch: Batch { payload, receipt, context }, room }));
        loads
    }
}

/// What is owed for items: an answer, and room in the queue.
#[derive(Default)]
struct Duty {
    receipt: Receipt,
    room: Room,
}

impl Duty {
    /// Takes over those of `other`.
    fn join(&mut self, other: Duty) {
        self.receipt.join(other.receipt);
        self.room.add(other.room);
    }

    /// Joins the duties of the parts that its items are in, which are the first ones.
    fn hand_to(self, parts: &mut [Load], items: usize) {
        let mut before = 0;
        let begins_within = |part: &&Load| {
            let begin = before;
            before += part.batch.payload.items();
            begin < items
        };
        let count = parts.iter().take_while(begins_within).count().max(1);
        let Some((last, front)) = parts.get_mut(..count).and_then(<[Load]>::split_last_mut) else { return };
        for part in front {
            part.batch.receipt.join(self.receipt.fork());
        }
        last.batch.receipt.join(self.receipt);
        last.room.add(self.room);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_pdata::otlp::ProfilesRequest;
    use weir_pdata::otlp::profiles::v1development::{
        Profile, ProfilesDictionary, ResourceProfiles, Sample, ScopeProfiles,
    };
    use weir_pdata::{Payload, Signal};
    use weir_testkit::payload;

    use super::*;

    #[test]
    fn no_more_batches_form_than_their_bound_though_each_is_what_a_split_left_over() {
        let metadata_keys = vec!["tenant".to_owned()];
        let settings =
            BatchSettings { min_size: 10, max_size: 10, metadata_keys, ..BatchSettings::default() };
        let mut forming = Forming::new(settings, Budget::default());
        let mut sent = 0;
        for tenant in 0..1500 {
            let metadata = vec![("tenant".to_owned(), vec![tenant.to_string()])];
            let context = Arc::new(Context { metadata, ..Context::default() });
            let batch = Batch { context, ..Batch::unattended(payload(Signal::Logs, 15 * tenant, 15)) };
            let ready = forming.add(Load { batch, room: Room::default() }, Instant::default());
            sent += ready.iter().map(|load| load.batch.payload.items()).sum::<usize>();
            assert!(forming.partitions.len() <= MAX_FORMING, "{tenant}");
        }
        assert_eq!(sent, 1500 * 10 + 500 * 5);
        assert_eq!(forming.all().len(), MAX_FORMING);
    }

    fn load(payload: Payload) -> Load {
        let batch = Batch { receipt: Receipt::observed(|_| {}), ..Batch::unattended(payload) };
        Load { batch, room: Room { count: 1, bytes: 1 } }
    }

    #[test]
    fn a_request_costs_the_same_however_many_wait_already() {
        // If all that wait, or all their receipts, were moved or looked at for each, it would take hours.
        const N: usize = 500_000;
        let settings = BatchSettings { min_size: N, ..BatchSettings::default() };
        let mut forming = Forming::new(settings, Budget::default());
        let one = payload(Signal::Logs, 0, 1);
        for _ in 1..N {
            assert!(forming.add(load(one.clone()), Instant::default()).is_empty());
        }
        let ready = forming.add(load(one), Instant::default());
        let found: Vec<_> = ready.iter().map(|load| (load.batch.payload.items(), load.room.count)).collect();
        assert_eq!(found, [(N, N)]);
    }

    #[test]
    fn each_is_due_at_its_time_whichever_of_them_goes_before() {
        let metadata_keys = vec!["tenant".to_owned()];
        let settings = BatchSettings { min_size: 10, metadata_keys, ..BatchSettings::default() };
        let timeout = settings.flush_timeout;
        let mut forming = Forming::new(settings, Budget::default());
        let at = |seconds| Instant::default() + Duration::from_secs(seconds);
        let add = |forming: &mut Forming, tenant: &str, items, seconds| {
            let metadata = vec![("tenant".to_owned(), vec![tenant.to_owned()])];
            let context = Arc::new(Context { metadata, ..Context::default() });
            let batch = Batch { context, ..Batch::unattended(payload(Signal::Logs, 0, items)) };
            forming.add(Load { batch, room: Room::default() }, at(seconds)).len()
        };
        assert_eq!(forming.deadline(), None);
        for (tenant, seconds) in [("a", 1), ("b", 2), ("c", 3)] {
            assert_eq!(add(&mut forming, tenant, 1, seconds), 0);
        }
        assert_eq!(forming.deadline(), Some(at(1) + timeout));
        assert_eq!(add(&mut forming, "a", 9, 3), 1, "whole before its time");
        assert!(forming.deadline().is_some_and(|look| look <= at(2) + timeout));
        assert_eq!(forming.due(at(1) + timeout).len(), 0);
        assert_eq!(forming.deadline(), Some(at(2) + timeout));
        assert_eq!(forming.due(at(2) + timeout).len(), 1);
        assert_eq!(forming.deadline(), Some(at(3) + timeout));
        assert_eq!((forming.all().len(), forming.deadline()), (1, None));
        assert_eq!(add(&mut forming, "d", 1, 9), 0);
        assert_eq!(forming.deadline(), Some(at(9) + timeout));
    }

    #[test]
    fn profiles_that_wait_are_merged_when_they_go_and_what_is_left_over_is_in_the_budget() {
        let samples = (0..6).map(|_| Sample::default()).collect();
        let profiles = vec![Profile { samples, ..Profile::default() }];
        let scope_profiles = vec![ScopeProfiles { profiles, ..ScopeProfiles::default() }];
        let resource_profiles = vec![ResourceProfiles { scope_profiles, ..ResourceProfiles::default() }];
        let string_table = vec![String::new(), "x".repeat(1000)];
        let dictionary = Some(ProfilesDictionary { string_table, ..ProfilesDictionary::default() });
        let one = Payload::from(ProfilesRequest { resource_profiles, dictionary });
        let (budget, settings) =
            (Budget::default(), BatchSettings { min_size: 10, max_size: 10, ..BatchSettings::default() });
        let mut forming = Forming::new(settings, budget.clone());
        let mut add = || {
            let mut payload = one.clone();
            budget.own(&mut payload);
            forming.add(load(payload), Instant::default())
        };
        let mut sent: Vec<Load> = Vec::new();
        for added in 1..100 {
            sent.extend(add());
            let bytes: usize = sent.iter().map(|load| load.batch.payload.encoded_len()).sum();
            let (items, bytes) = (6 * added - 10 * sent.len(), budget.held() - bytes);
            assert_eq!(items > 0, bytes > 1000, "{items} items wait in {bytes} bytes");
            assert!(bytes <= 2 * one.encoded_len(), "{bytes} bytes of two requests at most");
        }
        for load in &sent {
            assert_eq!((load.batch.payload.items(), load.batch.payload.requests().count()), (10, 1));
            assert!(load.batch.payload.encoded_len() < 4 * one.encoded_len(), "of at most three requests");
        }
    }
}

//! A file system in memory that forgets and tears what was not synced when the machine crashes, and in which any call
//! may fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weir_disk_queue::{File, Fs};

/// Unit in which a crash tears a write.
const SECTOR: usize = 64;

/// splitmix64.
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.draw() % n.max(1)
    }

    pub(crate) fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails; a write may have been done in part.
    Fails(io::ErrorKind),
    /// The call panics.
    Panics,
    /// Nothing works any more until the process is started again.
    Dies,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// Killed: what was written is there.
    Kill,
    /// The machine loses power: what was not synced may be lost or torn.
    Power,
}

/// The disk. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Disk(Arc<Mutex<State>>);

struct State {
    dice: Dice,
    nodes: Vec<Node>,
    /// What a process sees.
    names: BTreeMap<String, usize>,
    /// What a crash leaves for sure.
    synced: BTreeMap<String, usize>,
    changes: Vec<Change>,
    calls: u64,
    /// The calls that go wrong: from which number on, how many, and how.
    fault: Option<(u64, u64, Fault)>,
    fired: u64,
    /// Bytes that fit into all files that have a name or are open.
    space: usize,
    dead: bool,
    /// A sync failed, and what it should have made durable can be read until the power is lost.
    forgetful: bool,
    /// It counts the names of files.
    counts_names: bool,
    now: Duration,
    /// What passes with each look at the clock, and how many there were.
    pace: Duration,
    /// How long a sync of a file takes, and a read that fails.
    sync_takes: Duration,
    read_takes: Duration,
    asked: u64,
}

#[derive(Default, Clone)]
struct Node {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    writes: Vec<Write>,
    /// The disk does not give these bytes back.
    unreadable: Option<Range<usize>>,
    /// It cannot be opened, with this error of the system.
    refused: Option<i32>,
    /// How often it is open.
    open: usize,
}

#[derive(Clone)]
enum Write {
    Bytes(usize, Vec<u8>),
    Size(usize),
}

#[derive(Clone)]
enum Change {
    Add(String, usize),
    Remove(String),
    Rename(String, String),
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Disk {
        Disk(Arc::new(Mutex::new(State {
            dice: Dice(seed),
            nodes: Vec::new(),
            names: BTreeMap::new(),
            synced: BTreeMap::new(),
            changes: Vec::new(),
            calls: 0,
            fault: None,
            fired: 0,
            space: usize::MAX,
            dead: false,
            forgetful: false,
            counts_names: true,
            now: Duration::ZERO,
            pace: Duration::from_secs(1),
            sync_takes: Duration::from_millis(2),
            read_takes: Duration::ZERO,
            asked: 0,
        })))
    }

    /// From now on time only passes as it is told to.
    pub(crate) fn stop_clock(&self) {
        self.lock().pace = Duration::ZERO;
    }

    /// From now on every file has no name as far as is counted, as with some file systems.
    pub(crate) fn count_no_names(&self) {
        self.lock().counts_names = false;
    }

    pub(crate) fn syncs_take(&self, time: Duration) {
        self.lock().sync_takes = time;
    }

    pub(crate) fn failing_reads_take(&self, time: Duration) {
        self.lock().read_takes = time;
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.lock().now += time;
    }

    /// How often somebody looked at the clock.
    pub(crate) fn asked(&self) -> u64 {
        self.lock().asked
    }

    /// Calls `from`, `from + 1`, ... of those to come go wrong, `count` of them.
    pub(crate) fn arm(&self, from: u64, count: u64, fault: Fault) {
        let mut state = self.lock();
        let from = state.calls + from;
        state.fault = Some((from, count, fault));
    }

    /// From now on no more fits.
    pub(crate) fn limit(&self, space: usize) {
        self.lock().space = space;
    }

    /// How many calls went wrong since the last time; none go wrong from now on.
    pub(crate) fn disarm(&self) -> u64 {
        let mut state = self.lock();
        state.fault = None;
        std::mem::take(&mut state.fired)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Whether a sync failed since the last time, so that some of what was written never gets durable.
    pub(crate) fn has_forgotten(&self) -> bool {
        std::mem::take(&mut self.lock().forgetful)
    }

    /// The end of a process, and the start of the next.
    pub(crate) fn restart(&self, crash: Crash) {
        let mut state = self.lock();
        state.dead = false;
        if crash == Crash::Power {
            state.lose_power();
        }
    }

    /// Changes the bytes of the file whose name is picked.
    pub(crate) fn damage(
        &self,
        pick: impl Fn(&[String]) -> Option<String>,
        change: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut state = self.lock();
        let names: Vec<String> = state.names.keys().cloned().collect();
        let Some(node) = pick(&names).and_then(|name| state.names.get(&name).copied()) else { return };
        change(&mut state.nodes[node].bytes);
        state.nodes[node].synced = state.nodes[node].bytes.clone();
        state.nodes[node].writes.clear();
    }

    /// Somebody removes the files whose names are picked.
    pub(crate) fn unlink(&self, mut pick: impl FnMut(&str) -> bool) {
        let mut state = self.lock();
        state.names.retain(|name, _| !pick(name));
        state.synced = state.names.clone();
        state.changes.clear();
    }

    /// These bytes of the file whose name is picked cannot be read; its name.
    pub(crate) fn hide(&self, pick: impl Fn(&[String]) -> Option<String>, bytes: Range<usize>) -> String {
        let name = pick(&self.names()).expect("a file");
        let mut state = self.lock();
        let node = state.names[&name];
        state.nodes[node].unreadable = Some(bytes);
        name
    }

    /// Nothing that is there now can be read, until it is shown.
    pub(crate) fn hide_all(&self) {
        for name in self.names() {
            self.hide(|_| Some(name.clone()), 0..usize::MAX);
        }
    }

    /// All that was hidden can be read again, and what was refused be opened.
    pub(crate) fn show(&self) {
        let mut state = self.lock();
        state.nodes.iter_mut().for_each(|node| (node.unreadable, node.refused) = (None, None));
    }

    /// The file whose name is picked cannot be opened; its name.
    pub(crate) fn refuse(&self, pick: impl Fn(&[String]) -> Option<String>, error: Option<i32>) -> String {
        let name = pick(&self.names()).expect("a file");
        let mut state = self.lock();
        let node = state.names[&name];
        state.nodes[node].refused = error;
        name
    }

    /// The size of a file.
    pub(crate) fn size_of(&self, name: &str) -> Option<usize> {
        let state = self.lock();
        state.names.get(name).map(|node| state.nodes[*node].bytes.len())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        state.call()?;
        Ok(state)
    }

    fn opened(&self, state: &mut State, node: usize) -> Arc<dyn File> {
        state.nodes[node].open += 1;
        Arc::new(Open { disk: self.clone(), node })
    }
}

impl State {
    fn call(&mut self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("dead"));
        }
        let number = self.calls;
        self.calls += 1;
        match self.fault {
            Some((from, count, fault)) if (from..from + count).contains(&number) => {
                self.fired += 1;
                match fault {
                    Fault::Fails(kind) => Err(kind.into()),
                    Fault::Panics => panic!("a call that panics"),
                    Fault::Dies => {
                        self.dead = true;
                        Err(io::Error::other("dies"))
                    }
                }
            }
            _ => Ok(()),
        }
    }

    fn used(&self) -> usize {
        let named: BTreeSet<usize> = self.names.values().copied().collect();
        let held = self.nodes.iter().enumerate().filter(|(at, node)| node.open > 0 || named.contains(at));
        held.map(|(_, node)| node.bytes.len()).sum()
    }

    fn lose_power(&mut self) {
        let prefix = self.dice.percent(50).then(|| self.dice.below(self.changes.len() as u64 + 1));
        let mut names = std::mem::take(&mut self.synced);
        for (at, change) in std::mem::take(&mut self.changes).into_iter().enumerate() {
            let kept = match prefix {
                Some(prefix) => (at as u64) < prefix,
                None => self.dice.percent(50),
            };
            if kept {
                apply(&mut names, change);
            }
        }
        self.synced = names.clone();
        self.names = names;
        for node in &mut self.nodes {
            let mut bytes = std::mem::take(&mut node.synced);
            for write in std::mem::take(&mut node.writes) {
                tear(&mut bytes, write, &mut self.dice);
            }
            node.bytes.clone_from(&bytes);
            node.synced = bytes;
        }
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: Change) {
    match change {
        Change::Add(name, node) => drop(names.insert(name, node)),
        Change::Remove(name) => drop(names.remove(&name)),
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(&from) {
                names.insert(to, node);
            }
        }
    }
}

/// A write that was not synced: done, not done, or in some of its sectors.
fn tear(bytes: &mut Vec<u8>, write: Write, dice: &mut Dice) {
    match write {
        Write::Size(size) => {
            if dice.percent(50) {
                bytes.resize(size, 0);
            }
        }
        Write::Bytes(at, new) => match dice.below(3) {
            0 => {}
            1 => put(bytes, at, &new),
            _ => {
                for (number, sector) in new.chunks(SECTOR).enumerate() {
                    if dice.percent(50) {
                        put(bytes, at + number * SECTOR, sector);
                    }
                }
            }
        },
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    if bytes.len() < at + new.len() {
        bytes.resize(at + new.len(), 0);
    }
    bytes[at..at + new.len()].copy_from_slice(new);
}

impl Fs for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.call()?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.call()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = state.nodes.len();
        state.nodes.push(Node::default());
        state.names.insert(name.to_owned(), node);
        state.changes.push(Change::Add(name.to_owned(), node));
        Ok(self.opened(&mut state, node))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.call()?;
        let node = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        if let Some(error) = state.nodes[node].refused {
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(self.opened(&mut state, node))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.call()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.changes.push(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.call()?;
        let node = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), node);
        state.changes.push(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.call()?;
        state.synced = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn restore(&self) -> io::Result<()> {
        self.call().map(drop)
    }

    fn place(&self) -> String {
        "a model".to_owned()
    }

    fn now(&self) -> Duration {
        let mut state = self.lock();
        state.asked += 1;
        state.now = state.now + state.pace;
        state.now
    }
}

struct Open {
    disk: Disk,
    node: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.disk.lock().nodes[self.node].open -= 1;
    }
}

impl File for Open {
    fn size(&self) -> io::Result<u64> {
        let state = self.disk.call()?;
        Ok(state.nodes[self.node].bytes.len() as u64)
    }

    fn is_removed(&self) -> io::Result<bool> {
        let state = self.disk.call()?;
        Ok(!state.counts_names || !state.names.values().any(|node| *node == self.node))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.call()?;
        let bytes = &state.nodes[self.node].bytes;
        let at = usize::try_from(offset).expect("small").min(bytes.len());
        let mut length = buffer.len().min(bytes.len() - at);
        if let Some(hidden) = &state.nodes[self.node].unreadable
            && at < hidden.end
            && hidden.start < at + length
        {
            let takes = state.read_takes;
            state.now += takes;
            return Err(io::Error::other("a bad sector"));
        }
        buffer[..length].copy_from_slice(&bytes[at..at + length]);
        if length > 1 && state.dice.percent(10) {
            length -= 1;
        }
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        if state.dead {
            return Err(io::Error::other("dead"));
        }
        let at = usize::try_from(offset).expect("small");
        let failed = state.call().err();
        let whole = failed.is_none() && !state.dice.percent(5);
        let length = if whole { bytes.len() } else { state.dice.below(bytes.len() as u64) as usize };
        let more = (at + length).saturating_sub(state.nodes[self.node].bytes.len());
        if state.space < usize::MAX && state.used() + more > state.space {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if length > 0 {
            let node = &mut state.nodes[self.node];
            put(&mut node.bytes, at, &bytes[..length]);
            node.writes.push(Write::Bytes(at, bytes[..length].to_vec()));
        }
        match failed {
            Some(error) => Err(error),
            None if length == 0 => Err(io::ErrorKind::Interrupted.into()),
            None => Ok(length),
        }
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.call()?;
        let size = usize::try_from(size).expect("small");
        let node = &mut state.nodes[self.node];
        node.bytes.resize(size, 0);
        node.writes.push(Write::Size(size));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        if state.dead {
            return Err(io::Error::other("dead"));
        }
        let called = state.call();
        state.now = state.now + state.sync_takes;
        let node = &mut state.nodes[self.node];
        match called {
            Ok(()) => {
                for write in std::mem::take(&mut node.writes) {
                    match write {
                        Write::Bytes(at, new) => put(&mut node.synced, at, &new),
                        Write::Size(size) => node.synced.resize(size, 0),
                    }
                }
                Ok(())
            }
            Err(error) => {
                // The kernel may drop the pages that it could not write: another sync will not write them either. A process
                // that dies meanwhile changes nothing about them.
                if !state.dead {
                    let dropped = std::mem::take(&mut state.nodes[self.node].writes);
                    state.forgetful |= !dropped.is_empty();
                }
                Err(error)
            }
        }
    }
}

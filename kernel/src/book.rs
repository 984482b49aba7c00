//! The book-keeping of one dump: each listed socket finds its place as followed, foreign, ownerless or yet unknown.

use std::collections::HashMap;

use crate::diag::Socket;
use crate::idle::Moment;
use crate::listeners::Listeners;
use crate::series::Target;
use crate::table::{Key, Limits, SeriesTable};
use crate::tracker::{Fate, Seen, Tracker};

/// Foreign sockets remembered at most; those beyond are not looked up at all.
const FOREIGN_LIMIT: usize = 262_144;

/// What is known of all sockets that matter.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) tracker: Tracker,
    pub(crate) table: SeriesTable,
    /// Sockets that are not followed, by cookie.
    foreign: HashMap<u64, Foreign>,
    dump: u32,
}

#[derive(Debug, Clone, Copy)]
struct Foreign {
    /// Last dump that listed it.
    dump: u32,
    /// It is a watched process's, and there was no room.
    over_limit: bool,
    /// Its owner was looked for in vain a second time.
    settled: bool,
}

/// What a dump is seen against.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now_ns: u64,
    pub(crate) previous_ns: Option<u64>,
    pub(crate) listeners: &'a Listeners,
    /// Inodes and the watched process that has a descriptor of each.
    pub(crate) owners: &'a HashMap<u32, Owner>,
}

/// A watched process as far as its sockets go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    /// The sampler's number of the process.
    pub(crate) process: u32,
    /// It was not watched at the dump before.
    pub(crate) fresh: bool,
    pub(crate) age_ns: Option<u64>,
}

impl Book {
    pub(crate) fn new(max_sockets: usize, limits: Limits) -> Self {
        let tracker = Tracker::new(max_sockets);
        Self { tracker, table: SeriesTable::new(limits), foreign: HashMap::new(), dump: 0 }
    }

    /// A dump begins.
    pub(crate) fn begin(&mut self) {
        self.dump = self.dump.wrapping_add(1);
        self.tracker.begin();
        self.table.begin();
    }

    /// Takes a listed socket; true if nothing is known of it yet, so that its owner must be looked for.
    pub(crate) fn see(&mut self, socket: &Socket, context: &Context<'_>) -> bool {
        if !socket.is_held() {
            let (side, target) = context.listeners.classify(socket);
            self.table.unowned(side, target, socket.state);
            return false;
        }
        let previous_ns = context.previous_ns.unwrap_or(context.now_ns);
        match self.tracker.see(socket, context.now_ns, previous_ns) {
            (Seen::PeerClosed, Some(tracked)) => self.table.peer_closed(tracked, context.now_ns),
            (Seen::Unknown, _) => return self.see_unknown(socket, context),
            _ => {}
        }
        false
    }

    /// Takes a socket whose owner was looked for after it was listed: followed, or foreign.
    pub(crate) fn settle(&mut self, socket: &Socket, context: &Context<'_>) {
        match context.owners.get(&socket.inode) {
            Some(owner) => {
                self.foreign.remove(&socket.cookie);
                self.follow(socket, *owner, context);
            }
            None => self.remember(socket, false),
        }
    }

    /// The dump is over.
    pub(crate) fn sweep(&mut self, context: &Context<'_>, partial: bool, ended: impl Fn(u32) -> bool) {
        let Self { tracker, table, foreign, dump } = self;
        let interval = context.now_ns.saturating_sub(context.previous_ns.unwrap_or(context.now_ns));
        // It ended at some time since the dump before; the middle errs least.
        let ended_ns = context.now_ns.saturating_sub(interval / 2);
        let abandoned = table.slots_of(ended);
        tracker.sweep(
            partial,
            |slot| abandoned.contains(&slot),
            |cookie, tracked, fate| match fate {
                Fate::Open => table.open(cookie, tracked, context.now_ns),
                Fate::Ended => table.closed(tracked, ended_ns),
            },
        );
        if !partial {
            foreign.retain(|_, foreign| foreign.dump == *dump);
        }
    }

    /// Forgets who is foreign, so that owners are looked for again.
    pub(crate) fn forget_foreign(&mut self) {
        self.foreign.clear();
    }

    /// Sockets of watched processes that are not followed for want of room.
    pub(crate) fn over_limit(&self) -> u64 {
        self.foreign.values().filter(|foreign| foreign.over_limit).count() as u64
    }

    fn see_unknown(&mut self, socket: &Socket, context: &Context<'_>) -> bool {
        if let Some(foreign) = self.foreign.get_mut(&socket.cookie) {
            foreign.dump = self.dump;
            // Its descriptor may have been taken for that of a socket which the kernel was about to close.
            return !foreign.over_limit && !std::mem::replace(&mut foreign.settled, true);
        }
        match context.owners.get(&socket.inode) {
            Some(owner) => self.follow(socket, *owner, context),
            None => return self.foreign.len() < FOREIGN_LIMIT,
        }
        false
    }

    fn follow(&mut self, socket: &Socket, owner: Owner, context: &Context<'_>) {
        let (side, target) = context.listeners.classify(socket);
        let key = Key { process: owner.process, side, target: Target::Address(target) };
        if self.tracker.is_full() {
            return self.remember(socket, true);
        }
        let moment = Moment {
            now_ns: context.now_ns,
            previous_ns: context.previous_ns.filter(|_| !owner.fresh),
            process_age_ns: owner.age_ns,
        };
        let slot = self.table.slot(key, context.now_ns);
        if let Some(tracked) = self.tracker.follow(socket, slot, moment) {
            self.table.opened(tracked);
        }
    }

    fn remember(&mut self, socket: &Socket, over_limit: bool) {
        if self.foreign.len() < FOREIGN_LIMIT {
            let new = Foreign { dump: self.dump, over_limit, settled: false };
            self.foreign.entry(socket.cookie).or_insert(new);
        }
    }
}

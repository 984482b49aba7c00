//! What outlives the component that opened it, so that a reload never closes it: listening sockets.
//!
//! A component that opens something for itself alone asks first whether it is there already ([`Handover::claim`]) and
//! says so when it has opened it ([`Handover::keep`]). Only what belongs to a component that is about to end is handed
//! out: whatever still is in use stays a conflict, as between programs. Things live as long as somebody holds them; here
//! they are only known.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::{Stop, Stopper};

/// The things of an agent that can be handed over, by a key such as `tcp 127.0.0.1:4317`; in the hands of one kind of component,
/// as an extension and a receiver may have the same id. Cheap to clone.
#[derive(Clone)]
pub struct Handover {
    inner: Arc<Inner>,
    kind: &'static str,
}

/// A component: its kind and its id.
type Owner = (&'static str, String);

struct Inner {
    state: Mutex<State>,
    over: Stop,
}

struct State {
    things: BTreeMap<String, Thing>,
    /// As long as the agent does not end.
    goes_on: Option<Stopper>,
}

struct Thing {
    value: Weak<dyn Any + Send + Sync>,
    owner: Owner,
    hold: Hold,
    /// Who gets it if the reload that is under way succeeds.
    heir: Option<Owner>,
}

/// How an owner has a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// It keeps it.
    Kept,
    /// It will end if the reload that is under way succeeds.
    Ending,
    /// A reload has ended it. It still lets go, as of a port with clients that rest.
    Ended,
}

/// What is known about a key.
#[derive(Debug)]
pub enum Claim<T> {
    /// Nobody in this agent has it.
    Free,
    /// Its owner is about to end: here it is.
    Yours(Arc<T>),
    /// The component of that id has it and keeps it.
    Taken(String),
}

impl Default for Handover {
    fn default() -> Handover {
        let (stopper, over) = Stop::new();
        let state = State { things: BTreeMap::new(), goes_on: Some(stopper) };
        Handover { inner: Arc::new(Inner { state: Mutex::new(state), over }), kind: "" }
    }
}

impl Handover {
    /// The same things, in the hands of a component of that kind, such as `receiver`.
    #[must_use]
    pub fn of_kind(&self, kind: &'static str) -> Handover {
        Handover { kind, ..self.clone() }
    }

    /// Asks for what is under `key`, as the component `id`.
    pub fn claim<T: Any + Send + Sync>(&self, id: &str, key: &str) -> Claim<T> {
        let mut state = self.lock();
        let thing = state.things.get_mut(key).and_then(|t| t.value.upgrade().map(|v| (t, v)));
        let Some((thing, value)) = thing else { return Claim::Free };
        if let Some((_, heir)) = &thing.heir {
            return Claim::Taken(heir.clone());
        }
        match value.downcast() {
            Ok(value) if thing.hold != Hold::Kept => {
                thing.heir = Some((self.kind, id.to_owned()));
                Claim::Yours(value)
            }
            _ => Claim::Taken(thing.owner.1.clone()),
        }
    }

    /// Says that the component `id` has opened `value`.
    pub fn keep<T: Any + Send + Sync>(&self, id: &str, key: &str, value: &Arc<T>) {
        let erased: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(value);
        let (value, owner) = (Arc::downgrade(&erased), (self.kind, id.to_owned()));
        let thing = Thing { value, owner, hold: Hold::Kept, heir: None };
        let mut state = self.lock();
        state.things.retain(|_, thing| thing.value.strong_count() > 0);
        state.things.insert(key.to_owned(), thing);
    }

    /// Keys of everything that is open, each with the id of the component that has it.
    pub fn owners(&self) -> Vec<(String, String)> {
        let state = self.lock();
        let open = state.things.iter().filter(|(_, thing)| thing.value.strong_count() > 0);
        open.map(|(key, thing)| (key.clone(), thing.owner.1.clone())).collect()
    }

    /// A reload begins, in which these components, by kind and id, are about to end; the engine calls it. Until its
    /// [end](Handover::end) others may be added, as what is no component has ports, too.
    pub fn begin(&self, ending: &BTreeSet<(&'static str, String)>) {
        for thing in self.lock().things.values_mut() {
            if thing.hold == Hold::Kept && ending.contains(&thing.owner) {
                thing.hold = Hold::Ending;
            }
        }
    }

    /// The reload has ended: with `done`, heirs are owners now; the engine calls it.
    pub fn end(&self, done: bool) {
        for thing in self.lock().things.values_mut() {
            match (thing.heir.take(), thing.hold) {
                (Some(heir), _) if done => (thing.owner, thing.hold) = (heir, Hold::Kept),
                (_, Hold::Ending) => thing.hold = if done { Hold::Ended } else { Hold::Kept },
                _ => {}
            }
        }
    }

    /// The agent ends: whoever has handed something over need not wait any more until nobody can notice; the engine calls it.
    pub fn finish(&self) {
        self.lock().goes_on = None;
    }

    /// Requested when the agent ends.
    pub fn over(&self) -> Stop {
        self.inner.over.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().things.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "tcp 127.0.0.1:4317";

    fn of_a() -> BTreeSet<Owner> {
        BTreeSet::from([("", "a".to_owned())])
    }

    fn taken(claim: &Claim<u8>) -> Option<&str> {
        if let Claim::Taken(owner) = claim { Some(owner) } else { None }
    }

    #[test]
    fn only_what_belongs_to_a_component_that_ends_is_handed_out_and_only_once() {
        let handover = Handover::default();
        assert!(matches!(handover.claim::<u8>("a", KEY), Claim::Free));
        let socket = Arc::new(7_u8);
        handover.keep("a", KEY, &socket);
        assert_eq!(taken(&handover.claim("b", KEY)), Some("a"));
        assert_eq!(taken(&handover.claim("a", KEY)), Some("a"), "twice in one configuration");
        assert_eq!(handover.owners(), [(KEY.to_owned(), "a".to_owned())]);
        handover.begin(&of_a());
        assert!(
            matches!(handover.claim::<u8>("b", KEY), Claim::Yours(value) if Arc::ptr_eq(&value, &socket))
        );
        assert_eq!(taken(&handover.claim("c", KEY)), Some("b"));
    }

    #[test]
    fn a_component_of_another_kind_and_the_same_id_keeps_what_it_has() {
        let (receivers, socket) = (Handover::default().of_kind("receiver"), Arc::new(7_u8));
        let extensions = receivers.of_kind("extension");
        extensions.keep("a", KEY, &socket);
        receivers.begin(&BTreeSet::from([("receiver", "a".to_owned())]));
        assert_eq!(taken(&receivers.claim("a", KEY)), Some("a"));
        receivers.begin(&BTreeSet::from([("extension", "a".to_owned())]));
        assert!(matches!(receivers.claim::<u8>("a", KEY), Claim::Yours(_)));
    }

    #[test]
    fn an_heir_owns_it_only_when_the_reload_succeeded() {
        let (handover, socket) = (Handover::default(), Arc::new(7_u8));
        handover.keep("a", KEY, &socket);
        for (done, owner) in [(false, "a"), (true, "b")] {
            handover.begin(&of_a());
            assert!(matches!(handover.claim::<u8>("b", KEY), Claim::Yours(_)));
            handover.end(done);
            assert_eq!(taken(&handover.claim("c", KEY)), Some(owner));
        }
        drop(socket);
        assert!(matches!(handover.claim::<u8>("c", KEY), Claim::Free), "nobody has it any more");
    }

    #[test]
    fn what_a_component_that_ended_still_holds_is_handed_out_and_what_its_successor_opened_is_not() {
        let (handover, [old, new]) = (Handover::default(), [1_u8, 2].map(Arc::new));
        handover.keep("a", KEY, &old);
        handover.begin(&of_a());
        handover.keep("a", "tcp 127.0.0.1:4318", &new);
        handover.end(true);
        for done in [false, true] {
            handover.begin(&BTreeSet::new());
            assert_eq!(taken(&handover.claim("b", "tcp 127.0.0.1:4318")), Some("a"));
            assert!(
                matches!(handover.claim::<u8>("b", KEY), Claim::Yours(value) if Arc::ptr_eq(&value, &old))
            );
            handover.end(done);
        }
        assert_eq!(taken(&handover.claim("c", KEY)), Some("b"));
    }
}

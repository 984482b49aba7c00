//! Which kind a stack is.

use super::Kind;
use super::anchors::{ANCHORS, LIBRARIES, Place, State};
use crate::profile::{Frame, Profile, StackId};
use crate::symbol::{is_standard, is_within, unvendored};

/// What the stacks of a profile are.
pub(crate) struct Classes(Vec<Class>);

/// What one stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) kind: Kind,
    /// Place in [`LIBRARIES`], for [`Kind::Library`].
    pub(crate) library: Option<usize>,
}

impl Classes {
    /// Classifies every distinct stack. Each distinct function is compared with the table once.
    pub(crate) fn of(profile: &Profile) -> Self {
        let anchors = AnchorSets::new();
        let facts = profile.by_name(|frame| anchors.facts(frame));
        let classify = |stack| {
            let facts = profile.stacks.get(stack).iter().filter_map(|&id| facts.get(id as usize));
            let mut seen = Seen::default();
            facts.for_each(|facts| seen.add(facts));
            anchors.decide(&seen)
        };
        Self((0..profile.stack_count() as u32).map(classify).collect())
    }

    pub(crate) fn get(&self, stack: StackId) -> Class {
        self.0.get(stack.0 as usize).copied().unwrap_or(Class { kind: Kind::Other, library: None })
    }
}

/// One bit for each place of the table.
type Places = u128;

/// What the table says of one function.
#[derive(Clone, Copy)]
struct FunctionFacts {
    places: Places,
    is_select: bool,
    is_network_wait: bool,
    is_conn_read: bool,
    is_standard: bool,
    library: Option<usize>,
}

/// What a walk over a stack from leaf to entry has met.
#[derive(Default)]
struct Seen {
    present: Places,
    in_select: Places,
    entry: Places,
    network: bool,
    conn_read: bool,
    after_select: bool,
    library: Option<usize>,
}

impl Seen {
    fn add(&mut self, facts: &FunctionFacts) {
        self.present |= facts.places;
        self.entry = facts.places;
        if self.after_select {
            self.in_select |= facts.places;
        }
        self.after_select = facts.is_select;
        self.network |= facts.is_network_wait;
        self.conn_read |= facts.is_conn_read;
        // The outermost frame that is not of the standard library decides whose goroutine it is.
        if !facts.is_standard {
            self.library = facts.library;
        }
    }
}

/// The table with each condition as a set of places.
struct AnchorSets {
    places: Vec<Place>,
    needs: Vec<(Kind, Needs)>,
}

#[derive(Default, Clone, Copy)]
struct Needs {
    present: Places,
    in_select: Places,
    entry: Places,
    network: bool,
}

impl AnchorSets {
    fn new() -> Self {
        let mut places = Vec::new();
        let mut needs = Vec::new();
        for anchor in ANCHORS {
            let mut need = Needs::default();
            for &place in anchor.frames {
                let bit = 1 << places.len();
                places.push(place);
                match place.state {
                    State::Present => need.present |= bit,
                    State::Entry => need.entry |= bit,
                    State::Select => need.in_select |= bit,
                    State::Network => {
                        need.present |= bit;
                        need.network = true;
                    }
                }
            }
            needs.push((anchor.kind, need));
        }
        Self { places, needs }
    }

    fn facts(&self, frame: Frame<'_>) -> FunctionFacts {
        let (name, package) = (frame.local_name(), unvendored(frame.package));
        let mut places = 0;
        for (at, place) in self.places.iter().enumerate() {
            if name_fits(name, place.name) && package == place.package {
                places |= 1 << at;
            }
        }
        FunctionFacts {
            places,
            is_select: frame.function == "runtime.selectgo",
            is_network_wait: frame.function == "runtime.netpollblock",
            is_conn_read: matches!(frame.function, "net.(*conn).Read" | "net.(*rawConn).Read"),
            is_standard: is_standard(frame.package),
            library: LIBRARIES.iter().position(|(_, path)| is_within(package, path)),
        }
    }

    fn decide(&self, seen: &Seen) -> Class {
        let fits = |need: &Needs| {
            need.present & !seen.present == 0
                && need.in_select & !seen.in_select == 0
                && need.entry & !seen.entry == 0
                && (seen.network || !need.network)
        };
        let kind = match self.needs.iter().find(|(_, need)| fits(need)) {
            Some(&(kind, _)) => kind,
            None if seen.library.is_some() => Kind::Library,
            None if seen.network && seen.conn_read => Kind::RawReader,
            None => Kind::Other,
        };
        Class { kind, library: seen.library.filter(|_| kind == Kind::Library) }
    }
}

fn name_fits(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_the_table_has_a_bit() {
        assert!(AnchorSets::new().places.len() <= Places::BITS as usize);
    }

    #[test]
    fn patterns_fit_whole_names_or_beginnings() {
        assert!(name_fits("(*addrConn).resetTransportAndUnlock", "(*addrConn).resetTransport*"));
        assert!(!name_fits("(*Conn).readLoop2", "(*Conn).readLoop"));
    }
}

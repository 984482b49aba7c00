//! What becomes of the verdict on a series of which nothing is heard any more.
//!
//! Silence is no sign that a leak has ended. The verdict stands until a series that is heard, and that counted the same
//! connections when the other one fell silent, can go on with it: it grows itself, it tells no less and was watched for
//! long enough, or it shows that most of them are gone. What that one measures then decides.

use super::finding::COVERED;
use super::identity;
use super::input::Resource;
use super::series::{Series, Subject};
use super::view::View;
use weir_connection::report::State;

/// Part of the connections that must still be there, or most of them are gone.
const LEFT: f64 = 0.5;

/// A silent series and the one that goes on with its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) silent: Subject,
    pub(crate) heir: Subject,
    /// What the heir goes on with, where its own state does not say as much.
    pub(crate) state: Option<State>,
}

/// The series that goes on with the verdict on the primary, when that has just gone silent.
pub(crate) fn heir(view: &View<'_>) -> Option<Carried> {
    let silent = view.primary;
    if silent.carried || silent.machine.state == State::Ok || view.fresh(silent) {
        return None;
    }
    let candidates = || view.members.iter().copied().filter(|m| view.fresh(m) && counts_the_same(view, m));
    let carried =
        |heir: &Series, state| Carried { silent: silent.subject.clone(), heir: heir.subject.clone(), state };
    let growing = candidates().find(|m| leaks_itself(m));
    let telling = || candidates().find(|m| tells_no_less(m, silent) && m.is_settled());
    let emptied = || candidates().find(|m| m.open_now() < LEFT * silent.open_now());
    growing
        .map(|heir| carried(heir, None))
        .or_else(|| telling().map(|heir| carried(heir, Some(silent.machine.state))))
        .or_else(|| emptied().map(|heir| carried(heir, Some(State::Recovering))))
}

/// Whether it is another count of what the primary counted when that was last heard of.
fn counts_the_same(view: &View<'_>, other: &Series) -> bool {
    let silent = view.primary;
    let alike = other.subject.resource == silent.subject.resource
        || identity::is_connection(other) && identity::is_connection(silent);
    let then = view.now_on(other).saturating_sub(silent.clock.silence(view.now));
    alike && silent.open_now() <= COVERED * other.open_at(then) + 2.0
}

/// Whether its own measurements say that it leaks, not only a verdict that it goes on with.
fn leaks_itself(series: &Series) -> bool {
    series.machine.state == State::Leaking && (series.basis().keeps || series.certain.is_some())
}

/// Clients outlive their sockets: that those grow no more says nothing of them.
fn tells_no_less(other: &Series, silent: &Series) -> bool {
    let outlives =
        |series: &Series| matches!(series.subject.resource, Resource::GrpcClient | Resource::HttpTransport);
    outlives(other) || !outlives(silent)
}

//! Which connection of a full port ends so that another can come.

use std::collections::VecDeque;

use tokio::task::{AbortHandle, Id};

use crate::lifetime::Activity;

/// The connections of a port, those that have rested longest first.
///
/// When a connection was last busy is not written down with each request but looked at when room is needed, from the front:
/// who had a request since the last look, or has one now, goes to the back. Who is new is looked at once before it can be
/// ended, and so has time to bring its request.
#[derive(Default)]
pub(crate) struct Resting(VecDeque<Entry>);

struct Entry {
    activity: Activity,
    connection: AbortHandle,
    /// Requests that it had had at the last look; none yet for a new one.
    seen: Option<u64>,
}

impl Resting {
    /// A connection has come, which this handle ends.
    pub(crate) fn enter(&mut self, activity: Activity, connection: AbortHandle) {
        self.0.push_back(Entry { activity, connection, seen: None });
    }

    /// A connection has ended.
    pub(crate) fn leave(&mut self, connection: Id) {
        self.0.retain(|entry| entry.connection.id() != connection);
    }

    /// Ends the connection that has rested longest; false when all of them have a request under way.
    pub(crate) fn make_room(&mut self) -> bool {
        for _ in 0..2 * self.0.len() {
            let Some(mut entry) = self.0.pop_front() else { return false };
            let begun = Some(entry.activity.begun());
            if entry.seen == begun && !entry.activity.is_open() {
                entry.connection.abort();
                return true;
            }
            entry.seen = begun;
            self.0.push_back(entry);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::future::pending;

    use http::Version;
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn who_rests_longest_goes_first_and_who_has_a_request_stays() {
        let (mut resting, mut tasks) = (Resting::default(), JoinSet::new());
        let mut enter = |resting: &mut Resting| {
            let (activity, task) = (Activity::default(), tasks.spawn(pending::<()>()));
            resting.enter(activity.clone(), task.clone());
            (activity, task.id())
        };
        let left = |resting: &Resting| resting.0.iter().map(|e| e.connection.id()).collect::<BTreeSet<_>>();
        let [(waits, of_waits), (asks, of_asks), (_, silent)] = [(); 3].map(|()| enter(&mut resting));
        let open = waits.begin(Version::HTTP_2);
        drop(asks.begin(Version::HTTP_11));
        assert!(resting.make_room());
        assert_eq!(left(&resting), BTreeSet::from([of_waits, silent]), "the first without a request");
        let (_, new) = enter(&mut resting);
        assert!(resting.make_room());
        assert_eq!(left(&resting), BTreeSet::from([of_waits, new]), "who is new comes after who was silent");
        resting.leave(new);
        assert!(!resting.make_room(), "{of_asks} has gone, and the other waits for its answer");
        drop(open);
        assert!(resting.make_room() && left(&resting).is_empty());
    }
}

//! Callers of whom nobody knows yet who they are.
//!
//! Over HTTP/2 they may send a window ahead of what is read, while their authenticator is asked. They would take the whole budget
//! from callers who are known, so all of them together have a part of it. A port of HTTP reserves the window whether it comes or
//! not ([`Strangers::wait`]); one of gRPC alone sees what comes ([`Early`]).

use weir_component::{Budget, Failure, Reservation, Status};

/// One over this of the budget is for strangers.
const PART: usize = 4;

/// Beside it, so that one alone has room for its head and its part.
const ONE_HEAD: usize = 16 << 10;

/// What the strangers of an agent hold.
#[derive(Default)]
pub(super) struct Strangers(Budget);

impl Strangers {
    /// Has one wait whose head is `held` and who may send `early` bytes meanwhile, for as long as what is returned lasts.
    ///
    /// # Errors
    /// A retryable failure: there are too many, or the budget has no room.
    pub(super) fn wait(
        &self,
        held: &mut Reservation,
        early: usize,
        budget: &Budget,
    ) -> Result<Reservation, Failure> {
        // One alone has room, however little that is.
        let all = held.bytes().saturating_add(early).min(self.part(budget));
        let place = self.0.reserve(all).map_err(|_| budget.refuse(crowded()))?;
        held.grow(all.saturating_sub(held.bytes()))?;
        Ok(place)
    }

    /// Nothing yet, of a message that comes while its caller is checked.
    pub(super) fn early(&self, budget: &Budget) -> Early {
        Early { bytes: Vec::new(), room: budget.begin(), place: self.0.begin() }
    }

    /// How much all of them together may hold.
    fn part(&self, budget: &Budget) -> usize {
        let part = budget.limit() / PART;
        self.0.set_limit(part.saturating_add(ONE_HEAD));
        part
    }
}

/// What has come of a message while its caller is checked.
pub(super) struct Early {
    bytes: Vec<u8>,
    room: Reservation,
    place: Reservation,
}

impl Early {
    /// Keeps a piece.
    ///
    /// # Errors
    /// As [`Strangers::wait`].
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        strangers: &Strangers,
        budget: &Budget,
    ) -> Result<(), Failure> {
        // One alone has room here too.
        let more = piece.len().min(strangers.part(budget).saturating_sub(self.place.bytes()));
        self.place.grow(more).map_err(|_| budget.refuse(crowded()))?;
        self.room.grow(piece.len())?;
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// How much was kept.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What was kept, without its room: whoever takes it reserves it.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

fn crowded() -> Failure {
    Failure::retry("too many callers wait to be checked; send later").with_status(Status::Unavailable)
}

//! Callers of whom nobody knows yet who they are.
//!
//! Over HTTP/2 they may send a window ahead of what is read, while their authenticator is asked. That is reserved whether it
//! comes or not, so that heads alone would take the whole budget from callers who are known. So all of them together have a
//! part of it.

use weir_component::{Budget, Failure, Reservation, Status};

/// One over this of the budget is for strangers.
const PART: usize = 4;

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
        let part = budget.limit() / PART;
        self.0.set_limit(part);
        // One alone has room, however little that is.
        let all = held.bytes().saturating_add(early).min(part);
        let place = self.0.reserve(all).map_err(|_| budget.refuse(crowded()))?;
        held.grow(all.saturating_sub(held.bytes()))?;
        Ok(place)
    }
}

fn crowded() -> Failure {
    Failure::retry("too many callers wait to be checked; send later").with_status(Status::Unavailable)
}

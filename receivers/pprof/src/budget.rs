//! How many bytes of answers may be in memory at once, over all targets.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::FetchError;

const KIB: usize = 1 << 10;

/// A budget of bytes, shared by all targets of a receiver. Nobody waits for it: a slow target could then hold up the
/// others. Who finds it used up fails and asks again later.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    kibibytes: Arc<Semaphore>,
    limit: usize,
}

/// What one answer holds of the budget; given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Reservation(Option<OwnedSemaphorePermit>);

impl Budget {
    /// A budget of that many bytes, counted in KiB.
    pub(crate) fn new(limit: usize) -> Budget {
        let kibibytes = limit.div_ceil(KIB).min(Semaphore::MAX_PERMITS);
        Budget { kibibytes: Arc::new(Semaphore::new(kibibytes)), limit }
    }

    /// Lets `reservation` hold at least `bytes` bytes.
    ///
    /// # Errors
    /// When the budget is used up.
    pub(crate) fn reserve(&self, reservation: &mut Reservation, bytes: usize) -> Result<(), FetchError> {
        let held = reservation.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(KIB).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let used_up = || FetchError::Busy { limit: self.limit };
        let more = u32::try_from(missing).map_err(|_| used_up())?;
        let more = Arc::clone(&self.kibibytes).try_acquire_many_owned(more).map_err(|_| used_up())?;
        match &mut reservation.0 {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_reserved_again_and_nobody_waits() {
        let budget = Budget::new(10 * KIB);
        let (mut first, mut second) = (Reservation::default(), Reservation::default());
        budget.reserve(&mut first, 1).expect("room");
        budget.reserve(&mut first, 6 * KIB).expect("room");
        assert_eq!(budget.reserve(&mut second, 4 * KIB + 1), Err(FetchError::Busy { limit: 10 * KIB }));
        budget.reserve(&mut second, 4 * KIB).expect("room");
        drop(first);
        budget.reserve(&mut second, 10 * KIB).expect("room");
    }
}

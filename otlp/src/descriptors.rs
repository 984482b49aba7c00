//! Descriptors that connections leave to others.
//!
//! Whoever opens enough connections would take every descriptor that the process may have, and then no page says so, no
//! configuration is read and no queue begins a segment. So the last ones are kept: connections of telemetry take none of
//! them, pages half. The kernel gives the lowest number that is free, hence the number of a new connection tells how many
//! are in use, by whatever. A connection whose number is too high waits, and those behind it in the system's backlog,
//! until one below is free, which it then takes, so that the numbers above stay free.

use std::os::fd::AsRawFd;

use rustix::process::{Resource, getrlimit};

/// Descriptors that connections of telemetry leave; a quarter of all where that is less.
const KEPT: u64 = 64;

/// Whose connections they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Senders of telemetry: the last 64 descriptors of the process are not for them, or the last quarter where that is less.
    Telemetry,
    /// Operators and their programs: half of those are.
    Pages,
}

impl Use {
    /// Whether that descriptor is among those that are not for this use.
    pub(crate) fn is_beyond(self, descriptor: &impl AsRawFd) -> bool {
        let limit = getrlimit(Resource::Nofile).current;
        let number = u64::try_from(descriptor.as_raw_fd()).unwrap_or(0);
        limit.is_some_and(|limit| number >= self.end(limit))
    }

    /// The first descriptor that is not for it, of so many.
    fn end(self, limit: u64) -> u64 {
        let kept = KEPT.min(limit / 4);
        match self {
            Use::Telemetry => limit - kept,
            Use::Pages => limit - kept / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_64_or_the_last_quarter_are_kept_and_pages_may_take_half_of_them() {
        let ends = |limit| (Use::Telemetry.end(limit), Use::Pages.end(limit));
        assert_eq!(ends(1 << 20), ((1 << 20) - 64, (1 << 20) - 32));
        assert_eq!(ends(1024), (960, 992));
        assert_eq!(ends(128), (96, 112));
        assert_eq!(ends(0), (0, 0));
    }
}

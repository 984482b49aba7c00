//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open descriptors to the hard one, as programs in Go do at their start: the soft one, 1024 by
/// default, is for programs that use `select`. Returns what holds from now on, or none where nothing was to be raised or
/// the system refuses, which leaves the process with what it was given.
pub fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is no limit at all.
    let raises = current.is_some_and(|soft| maximum.is_none_or(|hard| soft < hard));
    let raised = Rlimit { current: maximum, maximum };
    (raises && setrlimit(Resource::Nofile, raised).is_ok()).then(|| maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise_limit();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        assert_eq!(raise_limit(), None, "there is nothing to raise any more");
    }
}

//! Whether a crash leaves the memory of this process behind.

use rustix::io;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// A limit below any core file. For a program that takes core dumps (`|` in core_pattern) the kernel passes over every
/// other limit, and ends at this one.
const NOTHING: u64 = 1;

/// Sees to it that a crash leaves no core file, wherever core_pattern sends it. Debuggers, perf and /proc are as before,
/// and whoever may can allow core dumps again by the limit (RLIMIT_CORE), whose hard value stays. Only where that is 0
/// the process is made undumpable instead, and debuggers need root.
///
/// # Errors
/// What the system said when neither is allowed.
pub fn prevent() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Core);
    let limit = Rlimit { current: Some(NOTHING), maximum };
    setrlimit(Resource::Core, limit).or_else(|_| set_dumpable_behavior(DumpableBehavior::NotDumpable))
}

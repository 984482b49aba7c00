//! The agent's runtime: tokio.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use weir_component::{Blocking, Instant, Runtime, TimeSource};

/// Runs on the tokio runtime in which it was made.
#[derive(Debug, Clone)]
pub struct TokioRuntime {
    handle: tokio::runtime::Handle,
    start: tokio::time::Instant,
}

impl TokioRuntime {
    /// On the current tokio runtime; its clock starts now.
    #[expect(clippy::disallowed_methods, reason = "this is where the engine's clock comes from")]
    pub fn current() -> TokioRuntime {
        TokioRuntime { handle: tokio::runtime::Handle::current(), start: tokio::time::Instant::now() }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where the engine's clock comes from")]
impl TimeSource for TokioRuntime {
    fn now(&self) -> Instant {
        Instant::default() + tokio::time::Instant::now().duration_since(self.start)
    }

    fn unix_nanos(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let deadline = self.start + Duration::from_nanos(deadline.as_nanos());
        Box::pin(tokio::time::sleep_until(deadline))
    }

    fn random(&self) -> u64 {
        use std::hash::{BuildHasher, Hasher, RandomState};
        // Each RandomState is keyed differently: enough for jitter, and no dependency.
        RandomState::new().build_hasher().finish()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where the engine gets its threads")]
impl Blocking for TokioRuntime {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let task = self.handle.spawn_blocking(work);
        // A panic in the work shows as a missing result.
        Box::pin(async move { drop(task.await) })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where the engine spawns")]
impl Runtime for TokioRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.handle.spawn(task));
    }
}

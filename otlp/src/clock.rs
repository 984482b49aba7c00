//! The clock of the runtime, for network adapters, which simulation replaces as a whole.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

pub(crate) type Timer = Pin<Box<Sleep>>;

#[expect(clippy::disallowed_methods, reason = "a network adapter, which simulation replaces")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// When that time has passed. Beyond what the clock can hold is never: 30 years.
pub(crate) fn after(time: Duration) -> Instant {
    now() + time.min(Duration::from_secs(30 * 365 * 86_400))
}

/// Runs out [after](after()) that time.
pub(crate) fn timer(time: Duration) -> Timer {
    Box::pin(tokio::time::sleep_until(after(time)))
}

#[expect(clippy::disallowed_methods, reason = "a network adapter, which simulation replaces")]
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Whether the clock has run out just now; it is gone then.
pub(crate) fn ran_out(clock: &mut Option<Timer>, cx: &mut Context<'_>) -> bool {
    let ran_out = clock.as_mut().is_some_and(|clock| clock.as_mut().poll(cx).is_ready());
    if ran_out {
        *clock = None;
    }
    ran_out
}

/// A random factor between 0.8 and 1.2, so that many agents or connections do not act in step.
pub(crate) fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    0.8 + 0.4 * (random >> 11) as f64 / (1u64 << 53) as f64
}

//! Ports on loopback that nobody uses.

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel takes ports for outgoing connections (32768 and up): leaking clients take
/// those by the hundreds, and would take one that is free now before the agent listens on it.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port on 127.0.0.1 on which nothing listens; never the same one twice in a run.
pub(crate) fn free_port() -> u16 {
    // Test programs that run at the same time begin at different places.
    let start = (process::id().wrapping_mul(2_654_435_761) >> 16) % u32::from(COUNT);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + ((start + step) % u32::from(COUNT)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1 from {FIRST} on");
}

/// A port that refuses connections.
pub(crate) fn closed_port() -> u16 {
    free_port()
}

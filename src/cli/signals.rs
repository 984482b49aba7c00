//! Signals that an agent listens to, and those that must not end it.

use std::io;
use std::ops::RangeInclusive;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// Signals without a meaning here that would end the process at once, with all that it has acknowledged and not delivered
/// yet: a habit from other programs (`USR1`), a timer, or a file that reached its limit (`XFSZ`, after which the write
/// fails with an error of its own). Go's runtime lives through the same ones. Faults of the program and `QUIT` end it.
const WITHOUT_EFFECT: [i32; 9] = [
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// Those of real time but for the ones that the C library has for itself: 32 and 33 of glibc, 34 too of musl, for which Go's
/// runtime leaves 34 alone with every library.
fn real_time() -> RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

impl Signals {
    pub(super) fn new() -> io::Result<Signals> {
        for number in WITHOUT_EFFECT.into_iter().chain(real_time()) {
            // A handler stays for as long as the process lives, also when nobody listens. Some system or tool that runs
            // programs may keep a signal for itself, which is no reason not to start.
            drop(signal(SignalKind::from_raw(number)));
        }
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next request; one to end comes first.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// The next request to end; one to reload stays for [`Signals::next`].
    pub(super) async fn end(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Interrupt,
    Terminate,
    Reload,
}

impl Asked {
    /// The signal's name, as the Collector logs it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Asked::Interrupt => "interrupt",
            Asked::Terminate => "terminated",
            Asked::Reload => "hangup",
        }
    }
}

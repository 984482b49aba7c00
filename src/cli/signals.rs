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

/// Those of real time, but for the first ones, which C libraries have for themselves.
const REAL_TIME: RangeInclusive<i32> = 35..=64;

impl Signals {
    pub(super) fn new() -> io::Result<Signals> {
        for number in WITHOUT_EFFECT.into_iter().chain(REAL_TIME) {
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

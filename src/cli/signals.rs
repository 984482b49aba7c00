//! Signals that an agent listens to.

use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Signals> {
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

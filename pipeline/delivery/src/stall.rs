//! Says in the log that a queue is full, once for as long as it is.

use std::sync::atomic::{AtomicBool, Ordering};

use weir_pdata::Signal;

/// Whether what comes waits for room in the queue of an exporter.
pub(crate) struct Stall {
    id: String,
    signal: Signal,
    stands: AtomicBool,
}

impl Stall {
    pub(crate) fn new(id: &str, signal: Signal) -> Stall {
        Stall { id: id.to_owned(), signal, stands: AtomicBool::new(false) }
    }

    /// Something waits for room. The log has it when it is the first.
    pub(crate) fn waits(&self) {
        if !self.stands.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                otelcol.component.id = %self.id,
                otelcol.component.kind = "exporter",
                otelcol.signal = self.signal.name(),
                "Sending queue is full. Batches wait for room, and senders behind them wait or are refused."
            );
        }
    }

    /// Something left the queue. It is over once most of that is free: one that is filled as fast as it is worked off is
    /// one stall.
    pub(crate) fn eased(&self, mostly_free: bool) {
        if mostly_free && self.stands.load(Ordering::Relaxed) {
            self.stands.store(false, Ordering::Relaxed);
        }
    }
}

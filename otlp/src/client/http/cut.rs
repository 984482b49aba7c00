//! Ending a connection of HTTP/1.1 whose request was given up.
//!
//! The library still writes what it has of such a request before it closes, to a peer that may not read for hours, and which
//! would then take for sent what was sent again long ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// Ends one connection. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Cut(Arc<State>);

#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    waker: AtomicWaker,
}

impl Cut {
    /// Has the connection fail as soon as it would wait.
    pub(super) fn cut(&self) {
        self.0.is_cut.store(true, Ordering::Release);
        self.0.waker.wake();
    }

    /// Whether it was cut, to a task that is about to wait, which hears of it from now on.
    pub(super) fn is_cut(&self, cx: &Context<'_>) -> bool {
        self.0.waker.register(cx.waker());
        self.0.is_cut.load(Ordering::Acquire)
    }
}

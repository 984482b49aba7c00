//! Exporters without a queue, which work in the task of whoever sends.

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures_util::future::FutureExt;
use weir_component::{Batch, Consumer};
use weir_delivery::Delivery;

use crate::fatal::{Fatal, panicked};

/// A delivery whose panic is reported as fatal with the exporter's id and ends neither the receiver nor the stage that
/// sent. The batch is reported as abandoned.
pub(crate) struct Caught {
    pub(crate) id: String,
    pub(crate) fatal: Fatal,
    pub(crate) delivery: Delivery,
}

#[async_trait]
impl Consumer for Caught {
    async fn consume(&self, batch: Batch) {
        if let Err(panic) = AssertUnwindSafe(self.delivery.consume(batch)).catch_unwind().await {
            self.fatal.report(&self.id, panicked(&*panic));
        }
    }
}

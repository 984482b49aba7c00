//! Processors that keep nothing, which work in the task of whoever sends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use weir_component::{Batch, Consumer, Output, Transform, Verdict};

use crate::counted::{Flow, Timing};
use crate::fatal::{Fatal, panicked};

/// A [`Transform`] in front of the next consumer. One that panics is reported as fatal; its batch is refused.
pub(crate) struct Inline {
    pub(crate) id: String,
    pub(crate) fatal: Fatal,
    pub(crate) transform: Arc<dyn Transform>,
    pub(crate) flow: Flow,
    pub(crate) timing: Option<Timing>,
    pub(crate) next: Output,
}

#[async_trait]
impl Consumer for Inline {
    async fn consume(&self, mut batch: Batch) {
        self.flow.incoming.add(batch.payload.items());
        let Batch { payload, context, .. } = &mut batch;
        let apply = || Timing::of(self.timing.as_ref(), || self.transform.apply(payload, context));
        let verdict = catch_unwind(AssertUnwindSafe(apply)).unwrap_or_else(|panic| {
            let failure = panicked(&*panic);
            self.fatal.report(&self.id, failure.clone());
            Err(failure)
        });
        match verdict {
            Ok(Verdict::Pass) => {
                self.flow.outgoing.add(batch.payload.items());
                self.next.send(batch).await;
            }
            Ok(Verdict::Drop) => batch.receipt.settle(Ok(())),
            Err(failure) => batch.receipt.settle(Err(failure.reported_by(&self.id))),
        }
    }
}

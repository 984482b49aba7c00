//! One batch to several consumers.

use std::sync::Arc;

use async_trait::async_trait;
use weir_component::{Batch, Consumer, Output};

/// Hands a batch to each of several consumers, one after the other; all are tried, whatever one of them does. The
/// sender hears when all have settled. Payloads are shared, not copied: an edit copies what it changes.
struct FanOut(Vec<Output>);

/// All of `outputs` as one. A single one stays what it is.
pub(crate) fn fan_out(mut outputs: Vec<Output>) -> Output {
    match outputs.pop() {
        Some(only) if outputs.is_empty() => only,
        Some(last) => {
            outputs.push(last);
            Output::new(Arc::new(FanOut(outputs)))
        }
        None => Output::new(Arc::new(FanOut(outputs))),
    }
}

#[async_trait]
impl Consumer for FanOut {
    async fn consume(&self, batch: Batch) {
        let Some((last, others)) = self.0.split_last() else {
            batch.receipt.settle(Ok(()));
            return;
        };
        for output in others {
            output.send(batch.fork()).await;
        }
        last.send(batch).await;
    }
}

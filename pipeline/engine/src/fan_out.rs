//! One batch to several consumers.

use std::sync::Arc;

use async_trait::async_trait;
use weir_component::{Batch, Budget, Consumer, Output};

/// Hands a batch to each of several consumers, one after the other; all are tried, whatever one of them does. The
/// sender hears when all have settled. Payloads are shared, not copied: an edit copies what it changes.
struct FanOut {
    outputs: Vec<Output>,
    budget: Budget,
}

/// All of `outputs` as one. A single one stays what it is. What they share is in the `budget` once.
pub(crate) fn fan_out(mut outputs: Vec<Output>, budget: &Budget) -> Output {
    let all = |outputs| Output::new(Arc::new(FanOut { outputs, budget: budget.clone() }));
    match outputs.pop() {
        Some(only) if outputs.is_empty() => only,
        Some(last) => {
            outputs.push(last);
            all(outputs)
        }
        None => all(outputs),
    }
}

#[async_trait]
impl Consumer for FanOut {
    async fn consume(&self, mut batch: Batch) {
        let Some((last, others)) = self.outputs.split_last() else {
            batch.receipt.settle(Ok(()));
            return;
        };
        self.budget.own(&mut batch.payload);
        for output in others {
            output.send(batch.fork()).await;
        }
        last.send(batch).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;
    use weir_pdata::Signal;

    use super::*;

    /// Keeps what it gets.
    #[derive(Default)]
    struct Kept(Mutex<Vec<Batch>>);

    #[async_trait]
    impl Consumer for Kept {
        async fn consume(&self, batch: Batch) {
            self.0.lock().expect("not poisoned").push(batch);
        }
    }

    #[test]
    fn what_several_consumers_share_is_in_the_budget_once() {
        let (budget, kept) = (Budget::default(), Arc::<Kept>::default());
        let output = || Output::new(kept.clone());
        let payload = weir_testkit::payload(Signal::Logs, 0, 3);
        let size = payload.encoded_len();
        fan_out(vec![output(), output()], &budget)
            .send(Batch::unattended(payload))
            .now_or_never()
            .expect("nobody waits");
        let mut batches = kept.0.lock().expect("not poisoned");
        for batch in batches.iter_mut() {
            budget.own(&mut batch.payload);
        }
        assert_eq!((batches.len(), budget.held()), (2, size));
        batches.clear();
        assert_eq!(budget.held(), 0);
    }
}

//! A consumer that keeps what it is given.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use weir_component::{Batch, Consumer, Outcome, Output};
use weir_pdata::Payload;

type Answer = Box<dyn Fn(&Payload) -> Outcome + Send + Sync>;

/// Keeps every payload and settles each batch with the answer it was made with.
#[derive(Clone)]
pub struct Recorder {
    payloads: Arc<Mutex<Vec<Payload>>>,
    answer: Arc<Answer>,
}

impl Recorder {
    /// Accepts everything.
    pub fn accepting() -> Recorder {
        Recorder::answering(|_| Ok(()))
    }

    /// Settles with what `answer` says.
    pub fn answering(answer: impl Fn(&Payload) -> Outcome + Send + Sync + 'static) -> Recorder {
        Recorder { payloads: Arc::default(), answer: Arc::new(Box::new(answer)) }
    }

    /// A way to it.
    pub fn output(&self) -> Output {
        Output::new(Arc::new(self.clone()))
    }

    /// Everything so far.
    pub fn payloads(&self) -> Vec<Payload> {
        self.payloads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The ids of everything so far, in order.
    pub fn ids(&self) -> Vec<i64> {
        self.payloads().iter().flat_map(crate::ids).collect()
    }
}

#[async_trait]
impl Consumer for Recorder {
    async fn consume(&self, batch: Batch) {
        let outcome = (self.answer)(&batch.payload);
        self.payloads.lock().unwrap_or_else(PoisonError::into_inner).push(batch.payload);
        batch.receipt.settle(outcome);
    }
}

//! A storage with something of a test in between.

use std::sync::Arc;

use async_trait::async_trait;
use weir_component::{Backlog, Capacity, DurableQueue, Failure, Receivable, Record, Refused, Storage, Taken};

/// What a test puts in between.
#[async_trait]
pub(crate) trait Hook: Send + Sync {
    /// Something is about to be put in.
    async fn before_append(&self) {}

    /// Something was put in.
    fn appended(&self) {}

    /// Whether there is room at once for who begins to wait for it.
    fn has_room(&self) -> bool {
        false
    }
}

/// The storage; all its queues have the same hook.
pub(crate) struct Hooked(pub(crate) Arc<dyn Storage>, pub(crate) Arc<dyn Hook>);

struct HookedQueue(Arc<dyn DurableQueue>, Arc<dyn Hook>);

#[async_trait]
impl Storage for Hooked {
    async fn open_queue(&self, name: &str) -> Result<Arc<dyn DurableQueue>, Failure> {
        Ok(Arc::new(HookedQueue(self.0.open_queue(name).await?, Arc::clone(&self.1))))
    }

    async fn find_queue(&self, name: &str) -> Result<Option<Arc<dyn DurableQueue>>, Failure> {
        let found = self.0.find_queue(name).await?;
        Ok(found.map(|queue| -> Arc<dyn DurableQueue> { Arc::new(HookedQueue(queue, Arc::clone(&self.1))) }))
    }
}

#[async_trait]
impl DurableQueue for HookedQueue {
    async fn append(&self, record: Record, capacity: Capacity) -> Result<(), Refused> {
        self.1.before_append().await;
        let outcome = self.0.append(record, capacity).await;
        if outcome.is_ok() {
            self.1.appended();
        }
        outcome
    }

    async fn room(&self) {
        if !self.1.has_room() {
            self.0.room().await;
        }
    }

    async fn take(&self) -> Option<Taken> {
        self.0.take().await
    }

    fn done(&self, receivable: Receivable) {
        self.0.done(receivable);
    }

    fn keep(&self, taken: Taken) {
        self.0.keep(taken);
    }

    async fn save(&self) {
        self.0.save().await;
    }

    fn place(&self) -> String {
        self.0.place()
    }

    fn backlog(&self) -> Backlog {
        self.0.backlog()
    }

    fn close(&self) {
        self.0.close();
    }
}

//! Which pipelines lead to durable queues: batch processors are left out of them.

use weir_pdata::Signal;

use super::{Builder, find};
use crate::graph::Connections;
use crate::running::Key;

impl Builder<'_> {
    /// Notes the pipelines from which something goes into a durable queue, through connectors too.
    pub(super) fn note_durable(&mut self, connections: &Connections<'_>) {
        for &at in self.order {
            let pipeline = &self.spec.pipelines[at];
            for id in &pipeline.exporters {
                let behind = connections.behind(id, pipeline.signal);
                let through_connector = behind.iter().any(|next| self.durable.contains(next));
                if self.is_durable(id, pipeline.signal) || through_connector {
                    self.durable.insert(at);
                }
            }
        }
    }

    /// Whether the queue of an exporter is durable. Only the exporter knows: one that does not run is made for this, and
    /// its turn comes later.
    fn is_durable(&mut self, id: &str, signal: Signal) -> bool {
        let key = Key::Exporter(id.to_owned(), signal);
        let Some(spec) = find(&self.spec.exporters, id) else { return false };
        if let Some(node) = self.kept(&key, spec) {
            return node.durable;
        }
        if !self.made.contains_key(&key) {
            let factory = self.components.exporter(spec.kind());
            let Some(factory) = factory.filter(|factory| factory.signals.contains(&signal)) else {
                return false;
            };
            let parts = (factory.create)(&self.build("exporters", spec), signal);
            self.made.insert(key.clone(), parts);
        }
        let queue = self.made.get(&key).and_then(|parts| parts.as_ref().ok()?.delivery.queue.as_ref());
        queue.is_some_and(|queue| queue.storage.is_some())
    }
}

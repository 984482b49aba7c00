//! Putting batches together and cutting what is too large.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_component::{Batch, BatchSettings, Budget, Context, Instant, Receipt, Sizer};
use weir_pdata::Limit;

use crate::queue::{Load, Room};

/// Batches that form at the same time. Beyond that the oldest goes as it is, so that senders cannot make as many as they
/// like by their metadata.
const MAX_FORMING: usize = 1000;

/// Values of the metadata keys by which batches are kept apart.
type Partition = Vec<Vec<String>>;

/// What waits for more.
pub(crate) struct Forming {
    settings: BatchSettings,
    /// Of what batches are cut into, and of profiles that are merged.
    budget: Budget,
    partitions: BTreeMap<Partition, Part>,
}

/// One batch that waits.
struct Part {
    load: Load,
    deadline: Instant,
}

impl Forming {
    pub(crate) fn new(settings: BatchSettings, budget: Budget) -> Forming {
        Forming { settings, budget, partitions: BTreeMap::new() }
    }

    /// When the first of them is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.partitions.values().map(|part| part.deadline).min()
    }

    /// Adds a load and returns what is ready to be sent.
    pub(crate) fn add(&mut self, load: Load, now: Instant) -> Vec<Load> {
        let deadline = now + self.settings.flush_timeout;
        let partition: Partition =
            self.settings.metadata_keys.iter().map(|key| load.batch.context.metadata(key).to_vec()).collect();
        let (mut part, earlier) = match self.partitions.remove(&partition) {
            None => (Part { load, deadline }, Duty::default()),
            Some(mut part) => {
                let earlier = part.load.merge(load, &self.settings.metadata_keys);
                self.budget.own(&mut part.load.batch.payload);
                (part, earlier)
            }
        };
        let is_small = |load: &Load| load.size(&self.settings) < self.settings.min_size;
        if is_small(&part.load) {
            earlier.hand_to(std::slice::from_mut(&mut part.load));
            return self.wait(partition, part);
        }
        let mut ready = part.load.cut(&self.settings, &self.budget);
        // Before a split leaves something over, so that this only ever answers for the request that it came with.
        earlier.hand_to(&mut ready);
        // What a split left over waits for more, as everything that is too small.
        if ready.len() > 1
            && ready.last().is_some_and(is_small)
            && let Some(load) = ready.pop()
        {
            ready.extend(self.wait(partition, Part { load, deadline }));
        }
        ready
    }

    /// Those whose time has come.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Load> {
        let due: Vec<Partition> = (self.partitions.iter())
            .filter(|(_, part)| part.deadline <= now)
            .map(|(partition, _)| partition.clone())
            .collect();
        due.iter().flat_map(|partition| self.finish(partition)).collect()
    }

    /// All of them.
    pub(crate) fn all(&mut self) -> Vec<Load> {
        let all: Vec<Partition> = self.partitions.keys().cloned().collect();
        all.iter().flat_map(|partition| self.finish(partition)).collect()
    }

    /// Lets a batch wait for more, and returns the one that it crowds out.
    fn wait(&mut self, partition: Partition, part: Part) -> Vec<Load> {
        self.partitions.insert(partition, part);
        if self.partitions.len() <= MAX_FORMING {
            return Vec::new();
        }
        let oldest = self.partitions.iter().min_by_key(|(_, part)| part.deadline).map(|(p, _)| p.clone());
        oldest.map(|partition| self.finish(&partition)).unwrap_or_default()
    }

    fn finish(&mut self, partition: &Partition) -> Vec<Load> {
        self.partitions
            .remove(partition)
            .map(|part| part.load.cut(&self.settings, &self.budget))
            .unwrap_or_default()
    }
}

/// A batch in parts of at most `max_size`, each as patient as the whole; an item that is larger goes alone. They are in the
/// budget.
pub(crate) fn cut(batch: Batch, sizer: Sizer, max_size: usize, budget: &Budget) -> Vec<Batch> {
    let patience = batch.receipt.patience();
    let settings = BatchSettings { sizer, max_size, ..BatchSettings::default() };
    let loads = Load { batch, room: Room::default() }.cut(&settings, budget);
    let parts = loads.into_iter().map(|load| load.batch);
    parts.map(|part| Batch { receipt: part.receipt.with_patience(patience), ..part }).collect()
}

impl Load {
    fn size(&self, settings: &BatchSettings) -> usize {
        match settings.sizer {
            Sizer::Bytes => self.batch.payload.encoded_len(),
            Sizer::Items | Sizer::Requests => self.batch.payload.items(),
        }
    }

    /// Appends `other`, and answers for that alone: returned is the duty for what was there before. What is known of the
    /// senders is only kept where they agree; `keys` of their metadata do.
    fn merge(&mut self, other: Load, keys: &[String]) -> Duty {
        let Batch { payload, receipt, context } = other.batch;
        let items = self.batch.payload.items();
        if self.batch.payload.append(payload).is_err() {
            // Cannot happen: a queue holds one signal. The receipt of the stranger is dropped and so reported.
            return Duty::default();
        }
        if self.batch.context != context {
            let metadata = (context.metadata.iter())
                .filter(|(name, _)| keys.iter().any(|key| key.eq_ignore_ascii_case(name)))
                .cloned()
                .collect();
            self.batch.context = Arc::new(Context { metadata, ..Context::default() });
        }
        let receipt = std::mem::replace(&mut self.batch.receipt, receipt);
        Duty { receipt, room: std::mem::replace(&mut self.room, other.room), items }
    }

    /// Everything, in parts of at most `max_size`; an item that is larger goes alone. The receipt is shared, the room stays
    /// with the last.
    fn cut(self, settings: &BatchSettings, budget: &Budget) -> Vec<Load> {
        if settings.max_size == 0 {
            return vec![self];
        }
        let limit = match settings.sizer {
            Sizer::Bytes => Limit::Bytes(settings.max_size),
            Sizer::Items | Sizer::Requests => Limit::Items(settings.max_size),
        };
        let Load { batch: Batch { payload, receipt, context }, room } = self;
        let mut parts = payload.split(limit);
        parts.iter_mut().for_each(|part| budget.own(part));
        let last = parts.pop();
        let front = |payload| {
            let batch = Batch { payload, receipt: receipt.fork(), context: Arc::clone(&context) };
            Load { batch, room: Room::default() }
        };
        let mut loads: Vec<Load> = parts.into_iter().map(front).collect();
        loads.extend(last.map(|payload| Load { batch: Batch { payload, receipt, context }, room }));
        loads
    }
}

/// What is owed for the first items of a batch: an answer, and room in the queue.
#[derive(Default)]
struct Duty {
    receipt: Receipt,
    room: Room,
    items: usize,
}

impl Duty {
    /// Joins the duties of the parts that its items are in.
    fn hand_to(self, parts: &mut [Load]) {
        let mut before = 0;
        let begins_within = |part: &&Load| {
            let begin = before;
            before += part.batch.payload.items();
            begin < self.items
        };
        let count = parts.iter().take_while(begins_within).count().max(1);
        let Some((last, front)) = parts.get_mut(..count).and_then(<[Load]>::split_last_mut) else { return };
        for part in front {
            part.batch.receipt.join(self.receipt.fork());
        }
        last.batch.receipt.join(self.receipt);
        last.room.add(self.room);
    }
}

#[cfg(test)]
mod tests {
    use weir_pdata::Signal;
    use weir_testkit::payload;

    use super::*;

    #[test]
    fn no_more_batches_form_than_their_bound_though_each_is_what_a_split_left_over() {
        let metadata_keys = vec!["tenant".to_owned()];
        let settings =
            BatchSettings { min_size: 10, max_size: 10, metadata_keys, ..BatchSettings::default() };
        let mut forming = Forming::new(settings, Budget::default());
        let mut sent = 0;
        for tenant in 0..1500 {
            let metadata = vec![("tenant".to_owned(), vec![tenant.to_string()])];
            let context = Arc::new(Context { metadata, ..Context::default() });
            let batch = Batch { context, ..Batch::unattended(payload(Signal::Logs, 15 * tenant, 15)) };
            let ready = forming.add(Load { batch, room: Room::default() }, Instant::default());
            sent += ready.iter().map(|load| load.batch.payload.items()).sum::<usize>();
            assert!(forming.partitions.len() <= MAX_FORMING, "{tenant}");
        }
        assert_eq!(sent, 1500 * 10 + 500 * 5);
        assert_eq!(forming.all().len(), MAX_FORMING);
    }
}

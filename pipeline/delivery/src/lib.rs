//! What stands in front of every exporter: queue, batching, timeout, retry.
//!
//! An exporter's author sends once ([`Exporter::export`]); everything else happens here, as the Collector's exporter
//! helper does it (`sending_queue`, `retry_on_failure`, `timeout`).
//!
//! # Design
//! [`Delivery`] is the consumer that pipelines see. Without a queue it sends in the caller's task and settles with the
//! result. With a queue it puts the batch there; a memory queue settles on acceptance unless `wait_for_result`, a durable
//! one (`storage`) when the batch is on disk. One *dispatcher* future reads the queue, puts batches together, and keeps
//! up to `num_consumers` sends under way; a second one works off what an earlier stop has moved to disk, where there is any. Room in the queue is given back when a batch is done, so what is being exported
//! counts against the capacity.
//!
//! The queue is opened after the extensions have started and before any receiver ([`Opening::open`]): a port opens only
//! when every queue behind it is ready.
//!
//! The dispatcher ends when the last handle to the [`Delivery`] is gone and everything taken has been settled. An
//! exporter that a reload has removed thereby goes on by its own settings until its queue is empty. Once the agent ends
//! ([`Ending`]) nobody waits for room any more, nor what is in memory for a retry, whether or not the handles are gone:
//! those who wait hold them. What is in a memory queue or comes into it gets one more attempt, and what waits for room
//! comes in if it was acknowledged; a sender that has its data is refused. What cannot be delivered is moved to disk
//! where a storage runs ([`Ending::last_call`]). What is left of a durable queue when the last handle is gone stays
//! there. When the dispatcher is dropped before that, at a deadline or by a panic in an export, what a memory queue had
//! accepted counts as failed: nothing that was acknowledged is lost without a count ([`Opening::undelivered`]).

mod admission;
mod batching;
mod claims;
#[cfg(test)]
#[path = "../../../fuzz/corpus.rs"]
mod corpus;
mod counts;
mod delivery;
mod dispatcher;
mod durable;
mod ending;
mod memory;
mod queue;
mod record;
mod sender;
mod spill;
mod stall;

pub use delivery::{Delivered, Delivery, Opening, deliver};
pub use ending::{Ending, Undelivered};
#[cfg(feature = "fuzzing")]
pub use record::check as check_record;

#[cfg(doc)]
use weir_component::Exporter;

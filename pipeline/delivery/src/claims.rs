//! Which exporter has which queue on disk.
//!
//! Two ids may make one name: `otlp/http_eu` and `otlp_http/eu` are both `exporter_otlp_http_eu_traces`, as in the
//! Collector, and two storages may have one directory. Two exporters must not share a queue, or each would deliver what
//! was meant for the other; a successor after a reload has the id of the one before, and shares it until that one is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use weir_component::{Count, Failure, Host};

use crate::counts::Part;

/// The queues of an agent that exporters have, by their places, each with its holders. Shared by the agent's deliveries.
#[derive(Default)]
struct Claims(Mutex<BTreeMap<String, Vec<Weak<Holder>>>>);

struct Holder {
    exporter: String,
    size: Option<Arc<Part>>,
}

/// What an exporter holds as long as it has a queue.
pub(crate) struct Claim(Arc<Holder>);

impl Claim {
    /// Shows how much is in the queue.
    pub(crate) fn show(&self, size: usize) {
        if let Some(part) = &self.0.size {
            part.show(size);
        }
    }
}

/// Claims the queue at a [place](weir_component::DurableQueue::place) for `exporter`, which shows in `size` what is in it:
/// once, however many hold it.
///
/// # Errors
/// Another exporter has it, permanently.
pub(crate) fn claim(
    host: &Host,
    place: &str,
    exporter: &str,
    size: Option<&Count>,
) -> Result<Claim, Failure> {
    let claims = host.shared::<Claims>();
    let mut claims = claims.0.lock().unwrap_or_else(PoisonError::into_inner);
    claims.retain(|_, holders| {
        holders.retain(|holder| holder.strong_count() > 0);
        !holders.is_empty()
    });
    let holders = claims.entry(place.to_owned()).or_default();
    let held: Vec<Arc<Holder>> = holders.iter().filter_map(Weak::upgrade).collect();
    if let Some(Holder { exporter: other, .. }) = held.iter().map(|h| &**h).find(|h| h.exporter != exporter) {
        return Err(Failure::permanent(format!(
            "sending_queue::storage: the exporter {other:?} has the queue in {place} already: give one of the two \
             another name, or a storage with another directory"
        )));
    }
    let shown = |size| held.iter().filter_map(|holder| holder.size.as_ref()).find(|part| part.is_of(size));
    let size = size.map(|size| shown(size).map_or_else(|| Arc::new(Part::new(size)), Arc::clone));
    let holder = Arc::new(Holder { exporter: exporter.to_owned(), size });
    holders.push(Arc::downgrade(&holder));
    Ok(Claim(holder))
}

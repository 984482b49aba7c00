//! Which exporter has which queue on disk.
//!
//! Two ids may make one name: `otlp/http_eu` and `otlp_http/eu` are both `exporter_otlp_http_eu_traces`, as in the
//! Collector, and two storages may have one directory. Two exporters must not share a queue, or each would deliver what
//! was meant for the other; a successor after a reload has the id of the one before, and shares it until that one is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use weir_component::{Failure, Host};

/// The queues of an agent that exporters have, by their places, each with its holders. Shared by the agent's deliveries.
#[derive(Default)]
struct Claims(Mutex<BTreeMap<String, Vec<Weak<str>>>>);

/// What an exporter holds as long as it has a queue: its id.
pub(crate) type Claim = Arc<str>;

/// Claims the queue at a [place](weir_component::DurableQueue::place) for `exporter`.
///
/// # Errors
/// Another exporter has it, permanently.
pub(crate) fn claim(host: &Host, place: &str, exporter: &str) -> Result<Claim, Failure> {
    let claims = host.shared::<Claims>();
    let mut claims = claims.0.lock().unwrap_or_else(PoisonError::into_inner);
    claims.retain(|_, holders| {
        holders.retain(|holder| holder.strong_count() > 0);
        !holders.is_empty()
    });
    let holders = claims.entry(place.to_owned()).or_default();
    if let Some(other) = holders.iter().filter_map(Weak::upgrade).find(|holder| **holder != *exporter) {
        return Err(Failure::permanent(format!(
            "sending_queue::storage: the exporter {other:?} has the queue in {place} already: give one of the two \
             another name, or a storage with another directory"
        )));
    }
    let claim = Claim::from(exporter);
    holders.push(Arc::downgrade(&claim));
    Ok(claim)
}

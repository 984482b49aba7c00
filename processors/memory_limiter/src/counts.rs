//! Items taken and refused, as the Collector counts them.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use weir_component::{Count, Host, Metric};
use weir_pdata::{Payload, Signal};

/// Counts of one limiter. Those of a signal are made when its first batch comes, as a limiter does not know in which
/// pipeline it stands.
pub(crate) struct Counts {
    id: String,
    host: Host,
    by_signal: [OnceLock<Pair>; Signal::ALL.len()],
}

struct Pair {
    accepted: Count,
    refused: Count,
}

impl Counts {
    /// The counts of limiter `id`.
    pub(crate) fn new(id: &str, host: &Host) -> Counts {
        Counts { id: id.to_owned(), host: host.clone(), by_signal: Default::default() }
    }

    /// The count of requests that are refused before their items are known; Weir's own.
    pub(crate) fn at_the_door(&self) -> Count {
        self.host.stats().counter(
            "otelcol_processor_memory_limiter_refused_requests",
            "Number of requests that were refused as they came in, before their items were known.",
            vec![("processor", self.id.clone())],
        )
    }

    /// Counts the items of a batch that was taken.
    pub(crate) fn accepted(&self, payload: &Payload) {
        if let Some(pair) = self.of(payload.signal()) {
            pair.accepted.add(payload.items());
        }
    }

    /// Counts the items of a batch that was refused.
    pub(crate) fn refused(&self, payload: &Payload) {
        if let Some(pair) = self.of(payload.signal()) {
            pair.refused.add(payload.items());
        }
    }

    /// The Collector has none for profiles.
    fn of(&self, signal: Signal) -> Option<&Pair> {
        if signal == Signal::Profiles {
            return None;
        }
        let count = |what: &str, help| {
            let scope = "go.opentelemetry.io/collector/processor/memorylimiterprocessor";
            let metric = Metric::of_items(scope, &format!("processor_memory_limiter_{what}"), signal, help);
            self.host.stats().count(&metric, [KeyValue::new("processor", self.id.clone())])
        };
        Some(self.by_signal[signal.index()].get_or_init(|| Pair {
            accepted: count(
                "accepted",
                "Number of {} successfully pushed into the next component in the pipeline. [Alpha]",
            ),
            refused: count(
                "refused",
                "Number of {} that were rejected by the next component in the pipeline. [Alpha]",
            ),
        }))
    }
}

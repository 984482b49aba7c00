//! The one line per payload.

use weir_pdata::view::{self, Fields};
use weir_pdata::{Payload, Signal};

/// What the line says of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    signal: Signal,
    resources: usize,
    /// Only of metrics, whose items are data points.
    metrics: usize,
    items: usize,
}

impl Summary {
    /// Counts; nothing is decoded.
    pub(crate) fn of(payload: &Payload) -> Summary {
        let signal = payload.signal();
        // In all four requests the resources are field 1.
        let requests = payload.requests().flat_map(|request| Fields::new(request));
        let metrics = match signal {
            Signal::Metrics => {
                view::resources(payload).flat_map(|r| r.scopes()).map(|s| s.metrics().count()).sum()
            }
            _ => 0,
        };
        Summary {
            signal,
            resources: requests.filter(|f| f.number == 1).count(),
            metrics,
            items: payload.items(),
        }
    }

    /// The message: the signal's name with a capital.
    pub(crate) fn message(&self) -> &'static str {
        ["Traces", "Metrics", "Logs", "Profiles"][self.signal.index()]
    }

    /// The line without the agent's log: message and fields.
    pub(crate) fn line(&self) -> String {
        let Summary { resources, metrics, items, .. } = *self;
        let fields = match self.signal {
            Signal::Traces => format!("\"resource spans\": {resources}, \"spans\": {items}"),
            Signal::Metrics => {
                format!("\"resource metrics\": {resources}, \"metrics\": {metrics}, \"data points\": {items}")
            }
            Signal::Logs => format!("\"resource logs\": {resources}, \"log records\": {items}"),
            Signal::Profiles => format!("\"resource profiles\": {resources}, \"sample records\": {items}"),
        };
        format!("{}\t{{{fields}}}\n", self.message())
    }

    /// Writes it to the agent's log, as the exporter `id`.
    pub(crate) fn log(&self, id: &str) {
        let Summary { resources, metrics, items, .. } = *self;
        // The names of fields are part of an event's type: each signal is an event of its own.
        macro_rules! log {
            ($($counts:tt)*) => {
                tracing::info!(
                    otelcol.component.id = id,
                    otelcol.component.kind = "exporter",
                    otelcol.signal = self.signal.name(),
                    $($counts)*
                )
            };
        }
        match self.signal {
            Signal::Traces => log!("resource spans" = resources, "spans" = items, "Traces"),
            Signal::Metrics => {
                log!("resource metrics" = resources, "metrics" = metrics, "data points" = items, "Metrics");
            }
            Signal::Logs => log!("resource logs" = resources, "log records" = items, "Logs"),
            Signal::Profiles => log!("resource profiles" = resources, "sample records" = items, "Profiles"),
        }
    }
}

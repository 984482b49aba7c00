//! With what components measure and trace themselves.

use std::fmt;
use std::sync::Arc;

use opentelemetry::global::ObjectSafeTracerProvider;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::{InstrumentationScope, global::BoxedTracer};
use weir_config::telemetry::MetricsLevel;

/// The agent's own telemetry, as `service::telemetry` sets it up. Cheap to clone.
///
/// Scopes carry the Collector's names where it has the same instruments, because views select by them.
#[derive(Clone)]
pub struct Telemetry {
    meters: Arc<dyn MeterProvider + Send + Sync>,
    level: MetricsLevel,
    tracers: Option<Arc<dyn ObjectSafeTracerProvider + Send + Sync>>,
}

impl Telemetry {
    /// Metrics of that level, no traces.
    pub fn new(meters: Arc<dyn MeterProvider + Send + Sync>, level: MetricsLevel) -> Telemetry {
        Telemetry { meters, level, tracers: None }
    }

    /// The same with traces.
    #[must_use]
    pub fn with_traces(self, tracers: Arc<dyn ObjectSafeTracerProvider + Send + Sync>) -> Telemetry {
        Telemetry { tracers: Some(tracers), ..self }
    }

    /// Instruments of a scope.
    pub fn meter(&self, scope: &'static str) -> Meter {
        self.meters.meter(scope)
    }

    /// How much is measured.
    pub fn level(&self) -> MetricsLevel {
        self.level
    }

    /// Whether what is costly to measure is measured: make histograms only then.
    pub fn is_detailed(&self) -> bool {
        self.level >= MetricsLevel::Detailed
    }

    /// Makes spans of a scope; `None` while the agent does not trace itself, which must then cost nothing.
    pub fn tracer(&self, scope: impl Into<String>) -> Option<BoxedTracer> {
        let scope = || InstrumentationScope::builder(scope.into()).build();
        self.tracers.as_ref().map(|tracers| BoxedTracer::new(tracers.boxed_tracer(scope())))
    }
}

/// One meter for all scopes, at the default level: for tests and for what never runs.
impl From<Meter> for Telemetry {
    fn from(meter: Meter) -> Telemetry {
        struct One(Meter);
        impl MeterProvider for One {
            fn meter_with_scope(&self, _: InstrumentationScope) -> Meter {
                self.0.clone()
            }
        }
        Telemetry::new(Arc::new(One(meter)), MetricsLevel::Normal)
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Telemetry({:?}, traces {})", self.level, self.tracers.is_some())
    }
}

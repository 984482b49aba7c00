//! With what components measure and trace themselves.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::global::{BoxedTracer, ObjectSafeTracerProvider};
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context as TraceContext, InstrumentationScope};
use weir_config::telemetry::MetricsLevel;

/// The agent's own telemetry, as `service::telemetry` sets it up. Cheap to clone.
///
/// Scopes carry the Collector's names where it has the same instruments, because views select by them.
#[derive(Clone)]
pub struct Telemetry {
    meters: Arc<dyn MeterProvider + Send + Sync>,
    level: MetricsLevel,
    tracers: Option<Arc<dyn ObjectSafeTracerProvider + Send + Sync>>,
    propagator: Option<Arc<dyn TextMapPropagator + Send + Sync>>,
}

impl Telemetry {
    /// Metrics of that level, no traces.
    pub fn new(meters: Arc<dyn MeterProvider + Send + Sync>, level: MetricsLevel) -> Telemetry {
        Telemetry { meters, level, tracers: None, propagator: None }
    }

    /// The same with traces, which go on from peer to peer by the headers that `propagator` knows.
    #[must_use]
    pub fn with_traces(
        self,
        tracers: Arc<dyn ObjectSafeTracerProvider + Send + Sync>,
        propagator: Arc<dyn TextMapPropagator + Send + Sync>,
    ) -> Telemetry {
        Telemetry { tracers: Some(tracers), propagator: Some(propagator), ..self }
    }

    /// The work of the peer that a request belongs to, if its headers name one.
    pub fn extract(&self, headers: &HeaderMap) -> Option<SpanContext> {
        let context =
            self.propagator.as_ref()?.extract_with_context(&TraceContext::new(), &Incoming(headers));
        Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
    }

    /// Names the work that a request belongs to in its headers.
    pub fn inject(&self, span: Option<&SpanContext>, headers: &mut HeaderMap) {
        if let (Some(propagator), Some(span)) = (&self.propagator, span) {
            let context = TraceContext::new().with_remote_span_context(span.clone());
            propagator.inject_context(&context, &mut Outgoing(headers));
        }
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

/// Nothing is measured or traced.
impl Default for Telemetry {
    fn default() -> Telemetry {
        Telemetry { level: MetricsLevel::None, ..opentelemetry::global::meter("weir").into() }
    }
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        // Propagators write names and values that can stand in headers.
        if let (Ok(name), Ok(value)) = (key.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            self.0.insert(name, value);
        }
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

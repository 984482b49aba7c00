//! Spans of the agent's own work.

use std::borrow::Cow;
use std::fmt;

use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{Span, SpanContext, Status, TraceContextExt, Tracer};
use opentelemetry::{Context as TraceContext, KeyValue};

use crate::{Outcome, Telemetry};

/// Makes the spans of one kind of work; there is none while the agent does not trace itself.
#[derive(Debug)]
pub struct Work {
    tracer: BoxedTracer,
    name: Cow<'static, str>,
    attributes: Vec<KeyValue>,
}

/// Work under way; ended by [`Running::end`], or when it is dropped, without a word about its outcome.
pub struct Running(BoxedSpan);

impl Work {
    /// Spans of that scope and name. `None` while the agent does not trace itself.
    pub fn new(
        telemetry: &Telemetry,
        scope: &str,
        name: impl Into<Cow<'static, str>>,
        attributes: impl IntoIterator<Item = KeyValue>,
    ) -> Option<Work> {
        let tracer = telemetry.tracer(scope)?;
        Some(Work { tracer, name: name.into(), attributes: attributes.into_iter().collect() })
    }

    /// Begins, as part of the work that `parent` names or for itself.
    pub fn begin(&self, parent: Option<&SpanContext>) -> Running {
        let builder =
            self.tracer.span_builder(self.name.clone()).with_attributes(self.attributes.iter().cloned());
        let parent = match parent {
            Some(parent) => TraceContext::new().with_remote_span_context(parent.clone()),
            None => TraceContext::new(),
        };
        Running(self.tracer.build_with_context(builder, &parent))
    }
}

impl Running {
    /// By which work that follows from it names it as its parent.
    pub fn context(&self) -> SpanContext {
        self.0.span_context().clone()
    }

    /// Ends, with what became known.
    pub fn end(mut self, attributes: impl IntoIterator<Item = KeyValue>, outcome: &Outcome) {
        self.0.set_attributes(attributes);
        if let Err(failure) = outcome {
            self.0.set_status(Status::error(failure.message().to_owned()));
        }
        self.0.end();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({:?})", self.0.span_context().span_id())
    }
}

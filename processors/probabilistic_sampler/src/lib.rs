//! Keeps a share of spans and log records, so that all agents decide the same about the items of one trace.

mod config;
#[cfg(test)]
#[path = "../../../fuzz/corpus.rs"]
mod corpus;
mod logs;
mod sampler;
mod spans;
mod threshold;
mod tracestate;

#[cfg(feature = "fuzzing")]
pub use tracestate::check as check_trace_state;

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use weir_component::{
    Build, BuildError, Context, Failure, Host, Maturity, Processor, ProcessorFactory, Stability, Transform,
    Verdict,
};
use weir_pdata::edit::{Editor, Message, Then};
use weir_pdata::{Payload, Signal, view};

use config::Config;
use sampler::{Decision, Policy, Sampler, decide};

/// Field of a `Span`.
const TRACE_STATE: u32 = 3;

/// Makes `probabilistic_sampler` processors.
pub const FACTORY: ProcessorFactory = ProcessorFactory {
    kind: "probabilistic_sampler",
    aliases: &[],
    signals: &[Signal::Traces, Signal::Logs],
    stability: Maturity::but(Stability::Beta, &[(Signal::Logs, Stability::Alpha)]),
    metadata: include_str!("../metadata.yaml"),
    options: weir_config::Options::of::<Config>(),
    shared: false,
    create,
};

fn create(build: &Build<'_>) -> Result<Processor, BuildError> {
    let config: Config = build.checked()?;
    Ok(Processor::Transform(Arc::new(Sampling::new(config, build.host))))
}

/// Name of the instrumentation scope, as in the Collector.
const SCOPE: &str =
    "github.com/open-telemetry/opentelemetry-collector-contrib/processor/probabilisticsamplerprocessor";

struct Sampling {
    config: Config,
    sampler: Sampler,
    traces: Counter<u64>,
    logs: Counter<u64>,
}

impl Sampling {
    fn new(config: Config, host: &Host) -> Sampling {
        let counter = |name: &'static str, text: &'static str| {
            host.telemetry().meter(SCOPE).u64_counter(name).with_description(text).build()
        };
        Sampling {
            sampler: Sampler::new(&config),
            config,
            traces: counter(
                "otelcol_processor_probabilistic_sampler_count_traces_sampled",
                "Count of traces that were sampled or not",
            ),
            logs: counter(
                "otelcol_processor_probabilistic_sampler_count_logs_sampled",
                "Count of logs that were sampled or not",
            ),
        }
    }
}

impl Transform for Sampling {
    fn apply(&self, payload: &mut Payload, _: &Context) -> Result<Verdict, Failure> {
        let mut walk = Walk { sampling: self, counts: Vec::new() };
        payload.edit(&mut walk);
        let counter = if payload.signal() == Signal::Logs { &self.logs } else { &self.traces };
        for (policy, sampled, count) in walk.counts {
            let policy = policy.name(&self.config.from_attribute).to_owned();
            counter.add(
                count,
                &[KeyValue::new("policy", policy), KeyValue::new("sampled", sampled.to_string())],
            );
        }
        Ok(if payload.is_empty() { Verdict::Drop } else { Verdict::Pass })
    }
}

struct Walk<'a> {
    sampling: &'a Sampling,
    counts: Vec<(Policy, bool, u64)>,
}

impl Editor for Walk<'_> {
    const DROPS_EMPTY: bool = true;

    fn item(&mut self, item: &mut Message<'_, '_>) -> Then {
        let decision = if let Some(span) = item.as_span() {
            Some(self.span(span, item))
        } else {
            item.as_log_record().and_then(|record| self.record(record, item))
        };
        let Some(Decision { kept, policy, .. }) = decision else {
            return Then::Keep;
        };
        match self.counts.iter_mut().find(|(p, k, _)| (*p, *k) == (policy, kept)) {
            Some((_, _, count)) => *count += 1,
            None => self.counts.push((policy, kept, 1)),
        }
        if kept { Then::Keep } else { Then::Drop }
    }
}

impl Walk<'_> {
    fn span(&self, span: view::Span<'_>, item: &mut Message<'_, '_>) -> Decision {
        let Sampling { sampler, config, .. } = self.sampling;
        let (known, mut state) = spans::known(sampler, span);
        let decision = decide(sampler, config.fail_closed, known, spans::priority(span));
        if decision.kept && decision.writable {
            state.threshold = decision.threshold.or(state.threshold);
            let text = state.encode();
            if text != span.trace_state() {
                item.set(TRACE_STATE, text.as_bytes());
            }
        }
        decision
    }

    fn record(&self, record: view::LogRecord<'_>, item: &mut Message<'_, '_>) -> Option<Decision> {
        let Sampling { sampler, config, .. } = self.sampling;
        let attributes = item.attributes()?;
        let (known, randomness) = logs::known(sampler, config, record, attributes);
        let priority = logs::priority(config, attributes);
        let decision = decide(sampler, config.fail_closed, known, priority);
        if !decision.kept {
            return Some(decision);
        }
        if let Some(randomness) = randomness {
            let value = attributes.text_value(&randomness.encode());
            attributes.set(logs::RANDOMNESS, value);
        }
        if let Some(threshold) = decision.threshold {
            let text = threshold.encode();
            if attributes.text(logs::THRESHOLD) != Some(&text) {
                let value = attributes.text_value(&text);
                attributes.set(logs::THRESHOLD, value);
            }
        }
        Some(decision)
    }
}

#[cfg(test)]
mod tests;

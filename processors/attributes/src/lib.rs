//! Changes attributes of spans, log records and data points.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_component::{
    Build, BuildError, Context, Failure, Maturity, Processor, ProcessorFactory, Stability, Transform, Verdict,
};
use weir_config::{Issues, Validate};
use weir_pdata::edit::{Editor, Message, Then};
use weir_pdata::{Payload, Signal, view};
use weir_processing::{ActionConfig, Actions, MatchConfig, Prepared, Selections, Selector, check_actions};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    #[serde(rename = "+match")]
    matching: MatchConfig,
    actions: Vec<ActionConfig>,
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        check_actions(&self.actions, "actions", issues);
    }
}

const SIGNALS: &[Signal] = &[Signal::Traces, Signal::Metrics, Signal::Logs];

/// Makes `attributes` processors.
pub const FACTORY: ProcessorFactory = ProcessorFactory {
    kind: "attributes",
    aliases: &[],
    signals: SIGNALS,
    stability: Maturity::all(Stability::Beta),
    metadata: include_str!("../metadata.yaml"),
    options: weir_config::Options::of::<Config>(),
    shared: false,
    create,
};

fn create(build: &Build<'_>) -> Result<Processor, BuildError> {
    let config: Config = build.checked()?;
    let actions = Actions::new(&config.actions).map_err(|(_, problem)| build.invalid(problem.message))?;
    let selections = Selections::new(&config.matching, SIGNALS, build)?;
    Ok(Processor::Transform(Arc::new(Attributes { actions, selections })))
}

struct Attributes {
    actions: Actions,
    selections: Selections,
}

impl Transform for Attributes {
    fn accepts(&self, signal: Signal) -> Result<(), BuildError> {
        self.selections.accepts(signal)
    }

    fn apply(&self, payload: &mut Payload, context: &Context) -> Result<Verdict, Failure> {
        let selector = self.selections.of(payload.signal())?.selector();
        payload.edit(&mut Apply { actions: self.actions.prepare(context), selector });
        Ok(Verdict::Pass)
    }
}

struct Apply<'a> {
    actions: Prepared<'a>,
    selector: Selector<'a>,
}

fn descend_if(worked_on: bool) -> Then {
    if worked_on { Then::Descend } else { Then::Keep }
}

impl Editor for Apply<'_> {
    fn resource(&mut self, below: view::Resource<'_>, _: &mut Message<'_, '_>) -> Then {
        descend_if(self.selector.enter_resource(below))
    }

    fn scope(&mut self, below: view::Scope<'_>, _: &mut Message<'_, '_>) -> Then {
        descend_if(self.selector.enter_scope(below))
    }

    fn metric(&mut self, metric: view::Metric<'_>) -> Then {
        descend_if(self.selector.metric(metric))
    }

    fn item(&mut self, item: &mut Message<'_, '_>) -> Then {
        let span = item.as_span().is_none_or(|span| self.selector.span(span));
        let record = item.as_log_record().is_none_or(|record| self.selector.log_record(record));
        if let (true, Some(attributes)) = (span && record, item.attributes()) {
            self.actions.apply(attributes);
        }
        Then::Keep
    }
}

#[cfg(test)]
mod tests;

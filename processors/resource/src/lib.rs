//! Changes attributes of resources.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_component::{
    Build, BuildError, Context, Failure, Maturity, Processor, ProcessorFactory, Stability, Transform, Verdict,
};
use weir_config::{Issues, Validate};
use weir_pdata::edit::{Editor, Message, Then};
use weir_pdata::{Payload, Signal, view};
use weir_processing::{ActionConfig, Actions, Prepared, check_actions};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    attributes: Vec<ActionConfig>,
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        check_actions(&self.attributes, "attributes", issues);
    }
}

/// Makes `resource` processors.
pub const FACTORY: ProcessorFactory = ProcessorFactory {
    kind: "resource",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Maturity::but(Stability::Beta, &[(Signal::Profiles, Stability::Development)]),
    metadata: include_str!("../metadata.yaml"),
    options: weir_config::Options::of::<Config>(),
    shared: false,
    create,
};

fn create(build: &Build<'_>) -> Result<Processor, BuildError> {
    let config: Config = build.checked()?;
    let actions = Actions::new(&config.attributes).map_err(|(_, problem)| build.invalid(problem.message))?;
    Ok(Processor::Transform(Arc::new(Resource { actions })))
}

struct Resource {
    actions: Actions,
}

impl Transform for Resource {
    fn apply(&self, payload: &mut Payload, context: &Context) -> Result<Verdict, Failure> {
        payload.edit(&mut Apply(self.actions.prepare(context)));
        Ok(Verdict::Pass)
    }
}

struct Apply<'a>(Prepared<'a>);

impl Editor for Apply<'_> {
    fn resource(&mut self, _: view::Resource<'_>, resource: &mut Message<'_, '_>) -> Then {
        if let Some(attributes) = resource.attributes() {
            self.0.apply(attributes);
        }
        Then::Keep
    }
}

#[cfg(test)]
mod tests;

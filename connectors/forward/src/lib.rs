//! Hands a pipeline's data to other pipelines of the same signal.

use serde::{Deserialize, Serialize};
use weir_component::{
    Batch, Build, BuildError, ConnectorFactory, Maturity, Options, Stability, Stage, StageContext,
    async_trait,
};
use weir_pdata::Signal;

/// It has no options.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {}

/// Makes `forward` connectors.
pub const FACTORY: ConnectorFactory = ConnectorFactory {
    kind: "forward",
    aliases: &[],
    pairs: &[
        (Signal::Traces, Signal::Traces),
        (Signal::Metrics, Signal::Metrics),
        (Signal::Logs, Signal::Logs),
        (Signal::Profiles, Signal::Profiles),
    ],
    stability: Maturity::but(Stability::Beta, &[(Signal::Profiles, Stability::Alpha)]),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

fn create(build: &Build<'_>, _: Signal) -> Result<Box<dyn Stage>, BuildError> {
    build.config::<Config>()?;
    Ok(Box::new(Forward))
}

struct Forward;

#[async_trait]
impl Stage for Forward {
    async fn on_batch(&mut self, _: usize, batch: Batch, cx: &StageContext) {
        cx.outputs.send(0, batch).await;
    }
}

//! Receives nothing: for configurations that need a receiver and mean none.

use serde::{Deserialize, Serialize};
use weir_component::{
    Build, BuildError, Failure, Maturity, Receiver, ReceiverContext, ReceiverFactory, Stability, async_trait,
};
use weir_config::Options;
use weir_pdata::Signal;

/// It has no options.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {}

/// Makes `nop` receivers.
pub const FACTORY: ReceiverFactory = ReceiverFactory {
    kind: "nop",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Maturity::but(Stability::Beta, &[(Signal::Profiles, Stability::Alpha)]),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

fn create(build: &Build<'_>) -> Result<Box<dyn Receiver>, BuildError> {
    build.config::<Config>()?;
    Ok(Box::new(Nop))
}

struct Nop;

#[async_trait]
impl Receiver for Nop {
    async fn run(self: Box<Self>, cx: ReceiverContext) -> Result<(), Failure> {
        cx.stop.requested().await;
        Ok(())
    }
}

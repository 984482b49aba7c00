//! Takes everything and forgets it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_component::{
    Accepted, Build, BuildError, Context, DeliverySettings, Exporter, ExporterFactory, ExporterParts,
    Failure, Maturity, Stability, async_trait,
};
use weir_config::Options;
use weir_pdata::{Payload, Signal};

/// It has no options.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {}

/// Makes `nop` exporters.
pub const FACTORY: ExporterFactory = ExporterFactory {
    kind: "nop",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Maturity::but(Stability::Beta, &[(Signal::Profiles, Stability::Alpha)]),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

fn create(build: &Build<'_>, _: Signal) -> Result<ExporterParts, BuildError> {
    build.config::<Config>()?;
    let delivery = DeliverySettings { queue: None, retry: None, ..DeliverySettings::default() };
    Ok(ExporterParts { exporter: Arc::new(Nop), delivery })
}

struct Nop;

#[async_trait]
impl Exporter for Nop {
    async fn export(&self, _: &Payload, _: &Context) -> Result<Accepted, Failure> {
        Ok(Accepted::default())
    }
}

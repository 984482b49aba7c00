//! Sends OTLP over gRPC.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use serde::{Deserialize, Serialize};
use weir_component::{
    Accepted, Build, BuildError, ClientAuth, Context, Exporter, ExporterFactory, ExporterParts, Failure,
    Host, Maturity, Stability, async_trait,
};
use weir_config::net::{
    Compression, GrpcClientConfig, QueueConfig, RetryConfig, TimeoutConfig, validate_delivery,
};
use weir_config::{Issues, Optional, Options, Validate};
use weir_kernel::memory;
use weir_otlp::auth::client_auth;
use weir_otlp::client::{Balancing, GrpcClient, GrpcSettings, KeepAlive, Target, user_agent};
use weir_otlp::config as shared;
use weir_pdata::{Payload, Signal};

/// Makes `otlp_grpc` exporters.
pub const FACTORY: ExporterFactory = ExporterFactory {
    kind: "otlp_grpc",
    aliases: &["otlp"],
    signals: &Signal::ALL,
    stability: Maturity::but(Stability::Stable, &[(Signal::Profiles, Stability::Alpha)]),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    #[serde(rename = "+client")]
    client: GrpcClientConfig,
    #[serde(rename = "+timeout")]
    timeout: TimeoutConfig,
    retry_on_failure: RetryConfig,
    sending_queue: Optional<QueueConfig>,
}

impl Default for Config {
    fn default() -> Self {
        let client = GrpcClientConfig {
            compression: Compression::Gzip,
            keepalive: Optional::None,
            write_buffer_size: 512 << 10,
            ..GrpcClientConfig::default()
        };
        Config {
            client,
            timeout: TimeoutConfig::default(),
            retry_on_failure: RetryConfig::default(),
            sending_queue: Optional::Some(QueueConfig::default()),
        }
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        if self.client.target().is_empty() {
            let help = "write the address of a server, such as `endpoint: localhost:4317`";
            let message = match self.client.endpoint.split_once("://") {
                Some((scheme, rest)) if !rest.is_empty() => {
                    format!("the endpoint has a scheme that is not http, https, unix or dns: {scheme}")
                }
                _ => "requires a non-empty \"endpoint\"".to_owned(),
            };
            issues.at_with_help("endpoint", message, help);
        }
        self.client.validate(issues);
        self.timeout.validate(issues);
        validate_delivery(&self.sending_queue, &self.retry_on_failure, memory::total, issues);
    }
}

fn create(build: &Build<'_>, _signal: Signal) -> Result<ExporterParts, BuildError> {
    let config: Config = weir_config::load(build.node, &build.path)?;
    let delivery = shared::delivery(config.timeout.timeout, &config.retry_on_failure, &config.sending_queue);
    let settings = settings(&config.client, build.host).map_err(|e| build.invalid(e))?;
    let exporter = OtlpGrpc { config: config.client, settings, client: OnceLock::new() };
    Ok(ExporterParts { exporter: Arc::new(exporter), delivery })
}

/// The settings of the client without TLS, whose files are read at the start.
fn settings(config: &GrpcClientConfig, host: &Host) -> Result<GrpcSettings, String> {
    let target =
        if config.is_unix() { Target::Unix(config.target().into()) } else { Target::parse(config.target())? };
    let agent = Some(config.user_agent.clone()).filter(|agent| !agent.is_empty());
    Ok(GrpcSettings {
        authority: Some(config.authority.clone()).filter(|authority| !authority.is_empty()),
        headers: shared::headers(&config.headers)?,
        user_agent: agent.unwrap_or_else(|| user_agent(host.name(), host.version())),
        compression: shared::grpc_compression(config.compression),
        // Without a name grpc-go takes the first address, too.
        balancing: match config.balancer_name.as_str() {
            "round_robin" => Balancing::RoundRobin,
            _ => Balancing::PickFirst,
        },
        wait_for_ready: config.wait_for_ready,
        keep_alive: config.keepalive.as_ref().map(|keepalive| KeepAlive {
            time: keepalive.time.as_std().max(SHORTEST_PING),
            timeout: keepalive.timeout.non_zero().unwrap_or(DEFAULT_PING_TIMEOUT),
            permit_without_stream: keepalive.permit_without_stream,
        }),
        ..GrpcSettings::new(target)
    })
}

/// grpc-go raises shorter times to this one too.
const SHORTEST_PING: Duration = Duration::from_secs(10);

/// What 0 is to grpc-go.
const DEFAULT_PING_TIMEOUT: Duration = Duration::from_secs(20);

struct OtlpGrpc {
    config: GrpcClientConfig,
    settings: GrpcSettings,
    client: OnceLock<GrpcClient>,
}

impl OtlpGrpc {
    fn connectable(&self, auth: Option<Arc<dyn ClientAuth>>, host: &Host) -> Result<GrpcClient, String> {
        let mut settings = self.settings.clone();
        settings.auth = auth;
        settings.telemetry = host.telemetry().clone();
        if self.config.uses_tls() {
            settings.tls = Some(shared::client_tls(&self.config.tls)?.connector(&["h2"])?);
            settings.server_name = shared::server_name(&self.config.tls);
        }
        GrpcClient::new(settings)
    }
}

#[async_trait]
impl Exporter for OtlpGrpc {
    async fn start(&self, host: &Host) -> Result<(), Failure> {
        let auth = client_auth(self.config.auth.as_ref(), host)?;
        if auth.as_ref().is_some_and(|auth| auth.needs_encryption()) && !self.config.uses_tls() {
            return Err(Failure::permanent(
                "grpc: the credentials require transport level security: remove `tls::insecure` or `auth`",
            ));
        }
        let client = self.connectable(auth, host).map_err(Failure::permanent)?;
        // A second start finds the first client, which is as good.
        drop(self.client.set(client));
        Ok(())
    }

    async fn export(&self, payload: &Payload, context: &Context) -> Result<Accepted, Failure> {
        match self.client.get() {
            Some(client) => client.export_for(payload, context).await,
            None => Err(Failure::retry("the exporter has not been started")),
        }
    }

    fn attributes(&self) -> Vec<KeyValue> {
        match &self.settings.target {
            Target::Tcp(host, port) => vec![
                KeyValue::new("server.address", host.clone()),
                KeyValue::new("server.port", i64::from(*port)),
            ],
            Target::Unix(_) => vec![KeyValue::new("server.address", self.config.endpoint.clone())],
        }
    }
}

#[cfg(test)]
mod tests;

//! Takes OTLP over gRPC and HTTP: traces, metrics, logs and profiles.

mod config;
mod door;

use std::sync::Arc;

use futures_util::future::join_all;
use weir_component::{
    Build, BuildError, Failure, Maturity, Outputs, Receiver, ReceiverContext, ReceiverFactory, Stability,
    async_trait,
};
use weir_config::Options;
use weir_config::net::NetAddress;
use weir_otlp::auth::Authenticator;
use weir_otlp::server::{LimitedAttributes, ServerSettings, serve};
use weir_otlp::{Listener, config as shared};
use weir_pdata::Signal;

use config::{AttributeLimits, Config};
use door::{budget_of, look_at_largest};

/// Makes `otlp` receivers.
pub const FACTORY: ReceiverFactory = ReceiverFactory {
    kind: "otlp",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Maturity::but(Stability::Stable, &[(Signal::Profiles, Stability::Alpha)]),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

fn create(build: &Build<'_>) -> Result<Box<dyn Receiver>, BuildError> {
    let config: Config = weir_config::load(build.node, &build.path)?;
    // What can be checked without opening a file or a port is a mistake in the configuration.
    if let Some(http) = config.protocols.http.as_ref() {
        http.settings().map_err(|e| build.invalid(e))?;
    }
    Ok(Box::new(Otlp { config, servers: Vec::new() }))
}

struct Otlp {
    config: Config,
    servers: Vec<(Listener, ServerSettings)>,
}

#[async_trait]
impl Receiver for Otlp {
    async fn start(&mut self, cx: &ReceiverContext) -> Result<(), Failure> {
        let protocols = &self.config.protocols;
        let attributes = limited_attributes(self.config.attribute_limits, cx);
        if let Some(grpc) = protocols.grpc.as_ref() {
            let server = &grpc.server;
            let mut settings = grpc.settings();
            settings.auth = Authenticator::of_grpc(server.auth.as_ref(), &cx.host)?;
            settings.tls = acceptor(&server.tls, &["h2"])?;
            settings.attributes.clone_from(&attributes);
            settings.budget = budget_of(cx, "grpc");
            settings.host = Some(cx.host.clone());
            settings.telemetry = cx.host.telemetry().clone();
            let listener = shared::listen(&cx.host, &cx.id, &server.address).await?;
            log_start(cx, "Starting GRPC server", &listener, &server.address);
            self.servers.push((listener, settings));
        }
        if let Some(http) = protocols.http.as_ref() {
            let server = &http.server;
            let mut settings = http.settings().map_err(Failure::permanent)?;
            a_path_for_each(&settings.paths, &cx.outputs)?;
            settings.auth = Authenticator::of_http(server.auth.as_ref(), &cx.host)?;
            settings.tls = acceptor(&server.tls, &["h2", "http/1.1"])?;
            settings.attributes.clone_from(&attributes);
            settings.budget = budget_of(cx, "http");
            settings.host = Some(cx.host.clone());
            settings.telemetry = cx.host.telemetry().clone();
            let listener = shared::listen(&cx.host, &cx.id, &server.address).await?;
            log_start(cx, "Starting HTTP server", &listener, &server.address);
            self.servers.push((listener, settings));
        }
        Ok(())
    }

    fn transports(&self) -> &'static [&'static str] {
        let protocols = &self.config.protocols;
        match (protocols.grpc.is_on(), protocols.http.is_on()) {
            (true, true) => &["grpc", "http"],
            (true, false) => &["grpc"],
            _ => &["http"],
        }
    }

    async fn run(self: Box<Self>, cx: ReceiverContext) -> Result<(), Failure> {
        // What a memory limiter allows counts from here on.
        self.servers.iter().for_each(|(_, settings)| look_at_largest(&cx, settings));
        let serving = self.servers.into_iter();
        join_all(
            serving
                .map(|(listener, settings)| serve(listener, settings, cx.outputs.clone(), cx.stop.clone())),
        )
        .await;
        Ok(())
    }
}

/// The path says of which signal a request is. Only at the start is known which signals are served.
fn a_path_for_each(paths: &[String; 4], outputs: &Outputs) -> Result<(), Failure> {
    let served: Vec<Signal> = Signal::ALL.into_iter().filter(|signal| outputs.takes(*signal)).collect();
    for (i, signal) in served.iter().enumerate() {
        let path = &paths[signal.index()];
        if let Some(other) = served[i + 1..].iter().find(|other| paths[other.index()] == *path) {
            return Err(Failure::permanent(format!(
                "protocols::http: {signal} and {other} are both taken at {path:?}, where nobody could tell one from the other: \
                 give each a path of its own (`traces_url_path`, `metrics_url_path`, `logs_url_path`)"
            )));
        }
    }
    Ok(())
}

fn limited_attributes(config: AttributeLimits, cx: &ReceiverContext) -> Option<Arc<LimitedAttributes>> {
    let limits = config.limits()?;
    let count = |name, help| cx.host.stats().counter(name, help, vec![("receiver", cx.id.clone())]);
    Some(Arc::new(LimitedAttributes {
        limits,
        dropped: count(
            "otelcol_receiver_dropped_attributes",
            "Number of attributes that were dropped because there were too many or their keys were too long.",
        ),
        truncated: count(
            "otelcol_receiver_truncated_attributes",
            "Number of texts and byte strings in attributes that were cut because they were too long.",
        ),
    }))
}

fn acceptor(
    tls: &weir_config::Optional<weir_config::net::TlsServerConfig>,
    alpn: &'static [&'static str],
) -> Result<Option<weir_otlp::tls::TlsAcceptor>, Failure> {
    let tls = shared::server_tls(tls).map_err(Failure::permanent)?;
    tls.map(|tls| tls.acceptor(alpn))
        .transpose()
        .map_err(|e| Failure::permanent(format!("failed to load TLS config: {e}")))
}

fn log_start(cx: &ReceiverContext, message: &'static str, listener: &Listener, configured: &NetAddress) {
    let endpoint = listener.local_addr().map_or_else(|| configured.endpoint.clone(), |at| at.to_string());
    tracing::info!(
        otelcol.component.id = %cx.id,
        otelcol.component.kind = "receiver",
        endpoint = %endpoint,
        "{message}"
    );
}

#[cfg(test)]
mod tests;

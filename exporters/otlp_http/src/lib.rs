//! Sends OTLP over HTTP.

mod config;

use std::sync::{Arc, OnceLock};

use opentelemetry::KeyValue;
use weir_component::{
    Accepted, Build, BuildError, ClientAuth, Context, Exporter, ExporterFactory, ExporterParts, Failure,
    Host, Maturity, Stability, async_trait,
};
use weir_config::Options;
use weir_config::net::HttpClientConfig;
use weir_otlp::auth::client_auth;
use weir_otlp::client::{HttpClient, HttpSettings};
use weir_otlp::config as shared;
use weir_pdata::{Payload, Signal};

use config::Config;

/// Makes `otlp_http` exporters.
pub const FACTORY: ExporterFactory = ExporterFactory {
    kind: "otlp_http",
    aliases: &["otlphttp"],
    signals: &Signal::ALL,
    stability: Maturity::but(Stability::Stable, &[(Signal::Profiles, Stability::Alpha)]),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

fn create(build: &Build<'_>, signal: Signal) -> Result<ExporterParts, BuildError> {
    let config: Config = weir_config::load(build.node, &build.path)?;
    let delivery = shared::delivery(config.client.timeout, &config.retry_on_failure, &config.sending_queue);
    let settings = config.settings(signal, build.host).map_err(|e| build.invalid(e))?;
    let exporter = OtlpHttp { config: config.client, settings, client: OnceLock::new() };
    Ok(ExporterParts { exporter: Arc::new(exporter), delivery })
}

struct OtlpHttp {
    config: HttpClientConfig,
    /// Without TLS, whose files are read at the start.
    settings: HttpSettings,
    client: OnceLock<HttpClient>,
}

impl OtlpHttp {
    fn connectable(&self, auth: Option<Arc<dyn ClientAuth>>, host: &Host) -> Result<HttpClient, String> {
        let mut settings = self.settings.clone();
        settings.auth = auth;
        settings.telemetry = host.telemetry().clone();
        let tls = shared::client_tls(&self.config.tls)?;
        if settings.url.starts_with("https://") {
            let alpn: &[&str] =
                if self.config.force_attempt_http2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
            settings.tls = Some(tls.connector(alpn)?);
            settings.server_name = shared::server_name(&self.config.tls);
        }
        settings.proxy_tls = tls;
        HttpClient::new(settings)
    }
}

#[async_trait]
impl Exporter for OtlpHttp {
    async fn start(&self, host: &Host) -> Result<(), Failure> {
        let auth = client_auth(self.config.auth.as_ref(), host)?;
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
        let Ok(url) = self.settings.url.parse::<http::Uri>() else {
            return Vec::new();
        };
        let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = url.port_u16().map(|port| KeyValue::new("server.port", i64::from(port)));
        let attributes = [
            KeyValue::new("server.address", host.to_owned()),
            KeyValue::new("url.path", url.path().to_owned()),
        ];
        attributes.into_iter().chain(port).collect()
    }
}

#[cfg(test)]
mod tests;

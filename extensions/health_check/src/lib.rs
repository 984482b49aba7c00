//! Says over HTTP whether the agent is ready: 200 while its receivers take data, 503 before and after.

mod rfc3339;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use weir_component::{
    Build, BuildError, Clock, Extension, ExtensionContext, ExtensionFactory, Failure, Health, Host,
    Stability, async_trait,
};
use weir_config::net::HttpServerConfig;
use weir_config::{GoDuration, Issues, Optional, Options, Validate};
use weir_otlp::auth::{Authenticator, no_middlewares};
use weir_otlp::http_server::{self, ServerLimits, respond, text};
use weir_otlp::tls::TlsAcceptor;
use weir_otlp::{Body, Listener, config as shared};

/// Makes `health_check` extensions.
pub const FACTORY: ExtensionFactory = ExtensionFactory {
    kind: "health_check",
    aliases: &[],
    stability: Stability::Beta,
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    #[serde(rename = "+server")]
    server: HttpServerConfig,
    path: String,
    response_body: Optional<ResponseBody>,
    check_collector_pipeline: PipelineCheck,
}

/// What is answered instead of the JSON object.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct ResponseBody {
    healthy: String,
    unhealthy: String,
}

/// Options of the Collector that have no effect there either.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct PipelineCheck {
    enabled: bool,
    interval: String,
    exporter_failure_threshold: i64,
}

impl Default for PipelineCheck {
    fn default() -> Self {
        PipelineCheck { enabled: false, interval: "5m".to_owned(), exporter_failure_threshold: 5 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            server: HttpServerConfig::with_endpoint("localhost:13133"),
            path: "/".to_owned(),
            response_body: Optional::None,
            check_collector_pipeline: PipelineCheck::default(),
        }
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        if !self.path.starts_with('/') {
            issues.at("path", "path must start with /");
        }
        self.server.validate(issues);
    }
}

fn create(build: &Build<'_>) -> Result<Box<dyn Extension>, BuildError> {
    let config: Config = weir_config::load(build.node, &build.path)?;
    shared::headers(&config.server.response_headers).map_err(|e| build.invalid(format!("response_{e}")))?;
    Ok(Box::new(HealthCheck { config, bound: None }))
}

struct HealthCheck {
    config: Config,
    bound: Option<Bound>,
}

struct Bound {
    listener: Listener,
    tls: Option<TlsAcceptor>,
    auth: Option<Authenticator>,
}

#[async_trait]
impl Extension for HealthCheck {
    async fn start(&mut self, cx: &ExtensionContext) -> Result<(), Failure> {
        let server = &self.config.server;
        no_middlewares(&server.middlewares)?;
        let auth = Authenticator::of_http(server.auth.as_ref(), &cx.host)?;
        let tls = shared::server_tls(&server.tls).map_err(Failure::permanent)?;
        let tls = tls.map(|tls| tls.acceptor(&["h2", "http/1.1"])).transpose().map_err(Failure::permanent)?;
        self.bound =
            Some(Bound { listener: shared::listen(&cx.host, &cx.id, &server.address).await?, tls, auth });
        tracing::info!(
            otelcol.component.id = %cx.id,
            otelcol.component.kind = "extension",
            endpoint = %server.address.endpoint,
            "Starting health_check extension"
        );
        Ok(())
    }

    async fn run(self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure> {
        let Some(Bound { listener, tls, auth }) = self.bound else {
            return Err(Failure::permanent("was not started"));
        };
        let server = &self.config.server;
        let safe = ServerLimits::default();
        let limits = ServerLimits {
            idle_timeout: server.idle_timeout.non_zero(),
            keep_alive: server.keep_alives_enabled,
            check_host: true,
            ..safe
        };
        let headers = shared::headers(&server.response_headers).map_err(Failure::permanent)?;
        let page = Arc::new(Page { config: self.config, auth, headers, host: cx.host, clock: cx.clock });
        http_server::serve(listener, tls, limits, cx.stop, move |request, _| {
            let page = Arc::clone(&page);
            async move { page.answer(&request).await }
        })
        .await;
        Ok(())
    }

    fn needs(&self) -> Vec<String> {
        let auth = self.config.server.auth.as_ref();
        auth.and_then(|auth| auth.auth.authenticator.as_ref()).map(ToString::to_string).into_iter().collect()
    }
}

struct Page {
    config: Config,
    auth: Option<Authenticator>,
    headers: Vec<(HeaderName, HeaderValue)>,
    host: Host,
    clock: Clock,
}

impl Page {
    async fn answer<B: Sync>(&self, request: &Request<B>) -> Response<Body> {
        let denied = match &self.auth {
            Some(auth) => auth.check(request).await.err(),
            None => None,
        };
        let mut response = match denied {
            Some(failure) => text(StatusCode::UNAUTHORIZED, format!("{}\n", failure.message())),
            None => self.health(request),
        };
        response.headers_mut().extend(self.headers.iter().cloned());
        response
    }

    fn health<B>(&self, request: &Request<B>) -> Response<Body> {
        let (path, asked) = (self.config.path.as_str(), request.uri().path());
        // A path that ends with a slash stands for all below it.
        if asked != path && !(path.ends_with('/') && asked.starts_with(path)) {
            return text(StatusCode::NOT_FOUND, "404 page not found\n");
        }
        let healthy = self.host.health() == Health::Ready;
        let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        if request.method() == Method::HEAD {
            return text(status, "");
        }
        match self.config.response_body.as_ref() {
            Some(body) if healthy => text(status, body.healthy.clone()),
            Some(body) => text(status, body.unhealthy.clone()),
            None => respond(status, "application/json", self.json(healthy)),
        }
    }

    fn json(&self, healthy: bool) -> String {
        if !healthy {
            return r#"{"status":"Server not available","upSince":"0001-01-01T00:00:00Z","uptime":""}"#
                .to_owned();
        }
        let started = self.host.started();
        let uptime = i64::try_from(self.clock.unix_nanos().saturating_sub(started)).unwrap_or(i64::MAX);
        let (since, uptime) = (rfc3339::format(started), GoDuration::from_nanos(uptime).to_string());
        serde_json::json!({"status": "Server available", "upSince": since, "uptime": uptime}).to_string()
    }
}

#[cfg(test)]
mod tests;

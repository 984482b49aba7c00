//! Says over HTTP whether the agent is ready: 200 while its receivers take data, 503 before and after.

mod later;
mod rfc3339;

use std::future::ready;
use std::pin::pin;

use futures_util::future::select;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use weir_component::{
    Build, BuildError, Clock, Extension, ExtensionContext, ExtensionFactory, Failure, Health, Host,
    Stability, async_trait,
};
use weir_config::net::HttpServerConfig;
use weir_config::{GoDuration, Issues, Optional, Options, Validate};
use weir_otlp::Body;
use weir_otlp::http_server::{respond, text};
use weir_otlp::pages::PageServer;

use later::Later;

/// Makes `health_check` extensions.
pub const FACTORY: ExtensionFactory = ExtensionFactory {
    kind: "health_check",
    aliases: &[],
    stability: Stability::Alpha,
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    offers: &[],
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
    #[serde(rename = "+later")]
    later: Later,
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
            // The times that the Collector's extension has not, and connections for one request each.
            server: HttpServerConfig {
                read_header_timeout: GoDuration::ZERO,
                write_timeout: GoDuration::ZERO,
                idle_timeout: GoDuration::ZERO,
                keep_alives_enabled: false,
                ..HttpServerConfig::with_endpoint("localhost:13133")
            },
            path: "/".to_owned(),
            response_body: Optional::None,
            check_collector_pipeline: PipelineCheck::default(),
            later: Later::default(),
        }
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        if self.server.address.endpoint.is_empty() {
            issues.at("endpoint", "http endpoint required");
        }
        if !self.path.starts_with('/') {
            issues.at("path", "path must start with /");
        }
        self.server.validate(issues);
        self.later.validate(issues);
    }
}

fn create(build: &Build<'_>) -> Result<Box<dyn Extension>, BuildError> {
    let config: Config = weir_config::load(build.node, &build.path)?;
    PageServer::check(&config.server).map_err(|e| build.invalid(e))?;
    Ok(Box::new(HealthCheck { config, bound: None }))
}

struct HealthCheck {
    config: Config,
    bound: Option<PageServer>,
}

#[async_trait]
impl Extension for HealthCheck {
    async fn start(&mut self, cx: &ExtensionContext) -> Result<(), Failure> {
        let server = &self.config.server;
        self.bound = Some(PageServer::bind(server, cx).await?);
        tracing::info!(
            otelcol.component.id = %cx.id,
            otelcol.component.kind = "extension",
            endpoint = %server.address.endpoint,
            "Starting health_check extension"
        );
        Ok(())
    }

    async fn run(self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure> {
        let Some(server) = self.bound else { return Err(Failure::permanent("was not started")) };
        let said = pin!(say_changes(&cx));
        let page = Page { config: self.config, host: cx.host.clone(), clock: cx.clock.clone() };
        let served = pin!(server.serve(cx.stop.clone(), move |request| ready(page.health(&request))));
        // The last change is said before the server has ended.
        select(said, served).await;
        Ok(())
    }

    fn needs(&self) -> Vec<String> {
        PageServer::needs(&self.config.server)
    }
}

/// Logs each change of what is answered, for ever.
async fn say_changes(cx: &ExtensionContext) {
    let mut known = Health::NotReady;
    loop {
        known = cx.host.health_after(known).await;
        let status = if known == Health::Ready { "ready" } else { "unavailable" };
        tracing::info!(
            otelcol.component.id = %cx.id,
            otelcol.component.kind = "extension",
            status,
            "Health Check state change"
        );
    }
}

struct Page {
    config: Config,
    host: Host,
    clock: Clock,
}

impl Page {
    fn health<B>(&self, request: &Request<B>) -> Response<Body> {
        let (path, asked) = (self.config.path.as_str(), request.uri().path());
        if path.strip_suffix('/').is_some_and(|without| !without.is_empty() && asked == without) {
            return redirect(asked, request.uri().query());
        }
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

/// To the same path with a slash behind it, as Go's servers answer.
fn redirect(asked: &str, query: Option<&str>) -> Response<Body> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let Ok(to) = HeaderValue::try_from(format!("{asked}/{query}")) else {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    };
    let mut response = text(StatusCode::TEMPORARY_REDIRECT, "");
    response.headers_mut().insert(header::LOCATION, to);
    response
}

#[cfg(test)]
mod tests;

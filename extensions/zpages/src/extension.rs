//! The server behind the pages.

use std::future::ready;
use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use weir_component::{
    Build, BuildError, Clock, Extension, ExtensionContext, ExtensionFactory, Failure, Host, Stability,
    async_trait,
};
use weir_config::net::HttpServerConfig;
use weir_config::{Issues, Options, Validate};
use weir_connection::board::Board;
use weir_connection::report::{Report, Source};
use weir_otlp::Body;
use weir_otlp::http_server::{respond, text};
use weir_otlp::pages::PageServer;

use crate::{page, views};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    #[serde(rename = "+server")]
    server: HttpServerConfig,
    expvar: Expvar,
}

/// Accepted for compatibility: there are no Go variables here.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Expvar {
    enabled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { server: HttpServerConfig::with_endpoint("localhost:55679"), expvar: Expvar::default() }
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        if self.server.address.endpoint.is_empty() {
            issues.at("endpoint", "\"endpoint\" is required when using the \"zpages\" extension");
        }
        self.server.validate(issues);
    }
}

/// Makes `zpages` extensions.
pub const FACTORY: ExtensionFactory = ExtensionFactory {
    kind: "zpages",
    aliases: &[],
    stability: Stability::Beta,
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    offers: &[],
    create,
};

fn create(build: &Build<'_>) -> Result<Box<dyn Extension>, BuildError> {
    let config: Config = weir_config::load(build.node, &build.path)?;
    PageServer::check(&config.server).map_err(|e| build.invalid(e))?;
    Ok(Box::new(Zpages { config, bound: None }))
}

struct Zpages {
    config: Config,
    bound: Option<PageServer>,
}

#[async_trait]
impl Extension for Zpages {
    async fn start(&mut self, cx: &ExtensionContext) -> Result<(), Failure> {
        let server = PageServer::bind(&self.config.server, cx).await?;
        tracing::info!(
            otelcol.component.id = %cx.id,
            otelcol.component.kind = "extension",
            endpoint = %server.address(&self.config.server),
            "Starting zPages extension"
        );
        self.bound = Some(server);
        Ok(())
    }

    async fn run(self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure> {
        let Some(server) = self.bound else { return Err(Failure::permanent("was not started")) };
        let pages = Pages { host: cx.host.clone(), clock: cx.clock.clone(), board: cx.host.shared() };
        server.serve(cx.stop, move |r| ready(pages.answer(r.method(), r.uri().path()))).await;
        Ok(())
    }

    fn needs(&self) -> Vec<String> {
        PageServer::needs(&self.config.server)
    }
}

struct Pages {
    host: Host,
    clock: Clock,
    board: Arc<Board>,
}

impl Pages {
    fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed, supported: [GET, HEAD]\n");
        }
        let service = || views::service(&self.host, self.clock.unix_nanos());
        match path {
            "/leaks" => html(page::leaks_html(&self.report(), self.now())),
            "/leaks.json" => self.json(),
            "/" | "/debug" | "/debug/" => html(page::index_html(&service())),
            "/debug/servicez" => html(page::service_html(&service())),
            "/debug/pipelinez" => html(page::pipelines_html(&service(), &views::pipelines(&self.host))),
            "/debug/extensionz" => html(page::extensions_html(&service(), &views::extensions(&self.host))),
            "/debug/featurez" => html(page::features_html(&service(), &[])),
            _ => text(StatusCode::NOT_FOUND, "404 page not found; pages: /leaks /leaks.json /debug\n"),
        }
    }

    fn now(&self) -> f64 {
        self.clock.unix_nanos() as f64 / 1e9
    }

    fn report(&self) -> Report {
        let sources = self.host.sources().into_iter().map(|(id, s)| Source {
            id,
            kind: s.kind.to_owned(),
            state: s.state.to_owned(),
            last: s.last as f64 / 1e9,
            message: s.message,
        });
        let started = self.host.started() as f64 / 1e9;
        let topology = self.host.topology();
        self.board.retain(|id| topology.processes_with(id));
        self.board.report(self.now(), started, self.host.version(), sources.collect())
    }

    fn json(&self) -> Response<Body> {
        match serde_json::to_vec(&self.report()) {
            Ok(body) => no_store(respond(StatusCode::OK, "application/json", body)),
            Err(error) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("report cannot be written: {error}\n"))
            }
        }
    }
}

fn html(document: String) -> Response<Body> {
    let mut response = no_store(respond(StatusCode::OK, "text/html; charset=utf-8", document));
    if let Ok(policy) = HeaderValue::from_str(page::content_security_policy()) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn no_store(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use weir_component::{PipelineInfo, Topology};
    use weir_connection::board::Complaints;
    use weir_connection::report::{Finding, State};
    use weir_testkit::Simulation;

    use super::*;

    #[test]
    fn what_a_detector_found_that_a_reload_has_renamed_is_reported_no_more_though_it_speaks_when_it_ends() {
        let simulation = Simulation::new(1);
        let host = weir_testkit::host(&simulation);
        let pages = Pages { clock: simulation.clock(), board: host.shared(), host };
        let finds = |id: &str| {
            let finding = Finding { id: id.to_owned(), state: State::Leaking, ..Finding::default() };
            pages.board.put(id, vec![finding], Complaints::default());
        };
        let reported = |processors: &[&str]| {
            let processors = processors.iter().map(|id| (*id).to_owned()).collect();
            let pipelines = vec![PipelineInfo { processors, ..PipelineInfo::default() }];
            pages.host.set_topology(Topology { pipelines, ..Topology::default() });
            pages.report().series.into_iter().map(|finding| finding.id).collect::<Vec<_>>()
        };
        finds("leak_detection");
        assert_eq!(reported(&["batch", "leak_detection"]), ["leak_detection"]);
        finds("leak_detection/new");
        for _ in 0..2 {
            assert_eq!(reported(&["batch", "leak_detection/new"]), ["leak_detection/new"]);
            finds("leak_detection");
        }
    }
}

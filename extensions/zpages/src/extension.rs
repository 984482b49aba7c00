//! The server behind the pages.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use weir_component::{
    Build, BuildError, Clock, Extension, ExtensionContext, ExtensionFactory, Failure, Host, Stability,
    async_trait,
};
use weir_config::Options;
use weir_connection::board::Board;
use weir_connection::report::{Report, Source};
use weir_otlp::http_server::{self, ServerLimits, respond, text};
use weir_otlp::{Body, Listener};

use crate::{page, views};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    endpoint: String,
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
        Config { endpoint: "localhost:55679".to_owned(), expvar: Expvar::default() }
    }
}

/// Makes `zpages` extensions.
pub const FACTORY: ExtensionFactory = ExtensionFactory {
    kind: "zpages",
    aliases: &[],
    stability: Stability::Beta,
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

fn create(build: &Build<'_>) -> Result<Box<dyn Extension>, BuildError> {
    let config: Config = build.config()?;
    if config.endpoint.is_empty() {
        return Err(build.invalid("\"endpoint\" is required when using the \"zpages\" extension"));
    }
    Ok(Box::new(Zpages { config, listener: None }))
}

struct Zpages {
    config: Config,
    listener: Option<Listener>,
}

#[async_trait]
impl Extension for Zpages {
    async fn start(&mut self, cx: &ExtensionContext) -> Result<(), Failure> {
        let listener = Listener::owned_tcp(&cx.host, &cx.id, &self.config.endpoint).await?;
        let address = listener.local_addr().map_or_else(|| self.config.endpoint.clone(), |a| a.to_string());
        tracing::info!(
            otelcol.component.id = %cx.id,
            otelcol.component.kind = "extension",
            endpoint = %address,
            "Starting zPages extension"
        );
        self.listener = Some(listener);
        Ok(())
    }

    async fn run(mut self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure> {
        let Some(listener) = self.listener.take() else { return Err(Failure::permanent("was not started")) };
        let limits = ServerLimits { check_host: true, max_connections: 256, ..ServerLimits::default() };
        let pages =
            Arc::new(Pages { host: cx.host.clone(), clock: cx.clock.clone(), board: cx.host.shared() });
        let handler = move |request: Request<Incoming>, _: &Arc<http_server::Peer>| {
            let pages = Arc::clone(&pages);
            async move { pages.answer(request.method(), request.uri().path()) }
        };
        http_server::serve(listener, None, limits, cx.stop, handler).await;
        Ok(())
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

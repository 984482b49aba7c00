//! Servers of pages: the options that HTTP servers share around a function from requests to answers.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use weir_component::{ExtensionContext, Failure, Status, Stop};
use weir_config::net::HttpServerConfig;

use crate::auth::Authenticator;
use crate::body::Body;
use crate::config as shared;
use crate::http_server::{self, ServerLimits, text};
use crate::listen::Listener;
use crate::response_headers::{add, response_headers};
use crate::server::Cors;
use crate::status;
use crate::tls::TlsAcceptor;

/// A server of pages that is bound and not serving yet. On a loopback address requests that name another host are
/// refused, so that a web site cannot read pages through a name that it has rebound to this machine.
pub struct PageServer {
    listener: Listener,
    tls: Option<TlsAcceptor>,
    limits: ServerLimits,
    door: Door,
}

/// What a request passes before it comes to a page, and an answer on its way back.
struct Door {
    auth: Option<Authenticator>,
    cors: Option<Cors>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl PageServer {
    /// What of the options cannot be honoured, before anything is bound.
    ///
    /// # Errors
    /// Names the header of answers that HTTP cannot carry.
    pub fn check(server: &HttpServerConfig) -> Result<(), String> {
        response_headers(&server.response_headers).map(|_| ())
    }

    /// The extensions without which it cannot start.
    pub fn needs(server: &HttpServerConfig) -> Vec<String> {
        let auth = server.auth.as_ref().and_then(|auth| auth.auth.authenticator.as_ref());
        auth.map(ToString::to_string).into_iter().collect()
    }

    /// Binds the address of an extension.
    ///
    /// # Errors
    /// An extension that is not there, a certificate that cannot be read, an address that is taken; with the cure.
    pub async fn bind(server: &HttpServerConfig, cx: &ExtensionContext) -> Result<PageServer, Failure> {
        let door = Door {
            auth: Authenticator::of_http(server.auth.as_ref(), &cx.host)?,
            cors: shared::cors(server),
            headers: response_headers(&server.response_headers).map_err(Failure::permanent)?,
        };
        let tls = shared::server_tls(&server.tls).map_err(Failure::permanent)?;
        let tls = tls.map(|tls| tls.acceptor(&["h2", "http/1.1"])).transpose();
        let tls = tls.map_err(|e| Failure::permanent(format!("failed to load TLS config: {e}")))?;
        let limits = shared::server_limits(ServerLimits::of_pages(), server);
        let listener = shared::listen(&cx.host, &cx.id, &server.address).await?;
        Ok(PageServer { listener, tls, limits, door })
    }

    /// Where it listens; for a Unix socket what is configured.
    pub fn address(&self, server: &HttpServerConfig) -> String {
        self.listener.local_addr().map_or_else(|| server.address.endpoint.clone(), |at| at.to_string())
    }

    /// Serves `page` until `stop` is requested.
    pub async fn serve<P, F>(self, stop: Stop, page: P)
    where
        P: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let PageServer { listener, tls, limits, door } = self;
        let shared = Arc::new((door, page));
        let handler = move |request: Request<Incoming>, _: &Arc<http_server::Peer>| {
            let shared = Arc::clone(&shared);
            async move {
                let (door, page) = &*shared;
                door.answer(request, page).await
            }
        };
        http_server::serve(listener, tls, limits, stop, handler).await;
    }
}

impl Door {
    /// The order is the Collector's: headers of answers, web pages of other origins, callers.
    async fn answer<F>(
        &self,
        request: Request<Incoming>,
        page: impl Fn(Request<Incoming>) -> F,
    ) -> Response<Body>
    where
        F: Future<Output = Response<Body>>,
    {
        let mut response = match self.cors.as_ref().and_then(|cors| cors.preflight(&request)) {
            Some(permission) => permission,
            None => {
                let origin = request.headers().get(header::ORIGIN).cloned();
                let denied = match &self.auth {
                    Some(auth) => auth.check(&request).await.err(),
                    None => None,
                };
                let mut response = match denied {
                    Some(failure) => denial(&failure),
                    None => page(request).await,
                };
                if let Some(cors) = &self.cors {
                    cors.mark(origin.as_ref(), response.headers_mut());
                }
                response
            }
        };
        add(&self.headers, response.headers_mut());
        response
    }
}

/// 401, unless the authenticator says something else.
fn denial(failure: &Failure) -> Response<Body> {
    let code = status::to_http(failure.status().unwrap_or(Status::Unauthenticated));
    text(code, format!("{}\n", failure.message()))
}

//! What the connection pool connects with.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::client::connect::{self, Target};
use crate::io::Io;

/// Connects to the host of a URL, with TLS for `https`.
#[derive(Clone)]
pub(super) struct Connector(Arc<Inner>);

struct Inner {
    tls: Option<TlsConnector>,
    server_name: Option<String>,
}

impl Connector {
    pub(super) fn new(tls: Option<TlsConnector>, server_name: Option<String>) -> Connector {
        Connector(Arc::new(Inner { tls, server_name }))
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct ConnectError(String);

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConnectError {}

impl Service<Uri> for Connector {
    type Response = TokioIo<Io>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<TokioIo<Io>, ConnectError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.connect(&uri).await.map(TokioIo::new).map_err(ConnectError) })
    }
}

impl Inner {
    async fn connect(&self, uri: &Uri) -> Result<Io, String> {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let io = connect::connect(&Target::Tcp(host.to_owned(), port)).await?;
        match (&self.tls, https) {
            (Some(tls), true) => connect::secure(io, tls, self.server_name.as_deref().unwrap_or(host)).await,
            (None, true) => Err("TLS is not set up".to_owned()),
            (_, false) => Ok(io),
        }
    }
}

impl Connection for Io {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.negotiated_http2() { connected.negotiated_h2() } else { connected }
    }
}

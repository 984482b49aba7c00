//! What the connection pool connects with.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use crate::client::connect::{self, Target};
use crate::client::proxy::Proxy;
use crate::io::Io;
use crate::tls::TlsConnector;

/// Connects to the host of a URL, with TLS for `https`. Cheap to clone.
#[derive(Clone)]
pub struct Connector(Arc<Inner>);

struct Inner {
    tls: Option<TlsConnector>,
    server_name: Option<String>,
    proxy: Option<Proxy>,
}

impl Connector {
    /// For clients of other libraries, without a proxy. Without `tls` it connects to no `https`.
    pub fn direct(tls: Option<TlsConnector>) -> Connector {
        Connector::new(tls, None, None)
    }

    pub(super) fn new(
        tls: Option<TlsConnector>,
        server_name: Option<String>,
        proxy: Option<Proxy>,
    ) -> Connector {
        Connector(Arc::new(Inner { tls, server_name, proxy }))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub struct ConnectError(String);

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConnectError {}

impl Service<Uri> for Connector {
    type Response = Line;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Line, ConnectError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.connect(&uri).await.map_err(ConnectError) })
    }
}

impl Inner {
    async fn connect(&self, uri: &Uri) -> Result<Line, String> {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        // An empty host is this machine, as in Go.
        let host = if host.is_empty() { "localhost" } else { host };
        let server = Target::Tcp(host.to_owned(), port);
        // Requests in clear text are forwarded by the proxy, the others go through a tunnel.
        let io = match &self.proxy {
            None => connect::connect(&server).await?,
            Some(proxy) if https || !proxy.forwards() => proxy.tunnel(&server).await?,
            Some(proxy) => return proxy.connect().await.map(|io| Line::new(io, true)),
        };
        match (&self.tls, https) {
            (Some(tls), true) => {
                let name = self.server_name.as_deref().unwrap_or(host);
                connect::secure(io, tls, name).await.map(|io| Line::new(io, false))
            }
            (None, true) => Err("TLS is not set up".to_owned()),
            (_, false) => Ok(Line::new(io, false)),
        }
    }
}

/// A connection to a server, or to a proxy that forwards requests.
pub struct Line {
    io: TokioIo<Io>,
    forwards: bool,
}

impl Line {
    fn new(io: Io, forwards: bool) -> Line {
        Line { io: TokioIo::new(io), forwards }
    }
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.forwards);
        if self.io.inner().negotiated_http2() { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

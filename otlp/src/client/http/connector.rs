//! What the connection pool connects with.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tower_service::Service;

use super::cut::Cut;
use crate::client::connect::{self, CONNECT_TIMEOUT, Target};
use crate::client::proxy::Proxy;
use crate::io::Io;
use crate::lifetime::Activity;
use crate::sending::Sending;
use crate::tls::TlsConnector;

/// Connects to the host of a URL, with TLS for `https`. Cheap to clone.
#[derive(Clone)]
pub struct Connector(Arc<Inner>);

struct Inner {
    tls: Option<TlsConnector>,
    server_name: Option<String>,
    proxy: Option<Proxy>,
    patience: Duration,
}

/// How long a peer may take nothing of what it is sent, where a request may not last longer.
const PATIENCE: Duration = Duration::from_secs(60);

impl Connector {
    /// For clients of other libraries, without a proxy. Without `tls` it connects to no `https`.
    pub fn direct(tls: Option<TlsConnector>) -> Connector {
        Connector::new(tls, None, None, None)
    }

    /// `timeout`: how long a request may last.
    pub(super) fn new(
        tls: Option<TlsConnector>,
        server_name: Option<String>,
        proxy: Option<Proxy>,
        timeout: Option<Duration>,
    ) -> Connector {
        let patience = timeout.unwrap_or_default().max(PATIENCE);
        Connector(Arc::new(Inner { tls, server_name, proxy, patience }))
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
        Box::pin(async move {
            // The library waits on for a connection when its request has found another one.
            let connected = timeout(CONNECT_TIMEOUT, inner.connect(&uri)).await;
            let late = |_| Err(format!("no connection within {CONNECT_TIMEOUT:?}"));
            connected.unwrap_or_else(late).map_err(ConnectError)
        })
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
        let tls = match (&self.tls, https) {
            (Some(tls), true) => Some((tls, self.server_name.as_deref().unwrap_or(host))),
            (None, true) => return Err("TLS is not set up".to_owned()),
            (_, false) => None,
        };
        // Requests in clear text are forwarded by the proxy, the others go through a tunnel.
        let io = match (&self.proxy, tls) {
            (None, tls) => connect::connect(&server, tls).await?,
            (Some(proxy), None) if proxy.forwards() => {
                return proxy.connect().await.map(|io| Line::new(io, true, self.patience));
            }
            (Some(proxy), None) => proxy.tunnel(&server).await?,
            (Some(proxy), Some((tls, name))) => {
                connect::secure(proxy.tunnel(&server).await?, tls, name).await?
            }
        };
        Ok(Line::new(io, false, self.patience))
    }
}

/// A connection to a server, or to a proxy that forwards requests.
pub struct Line {
    io: TokioIo<Sending>,
    forwards: bool,
    is_http2: bool,
    cut: Cut,
}

impl Line {
    fn new(io: Io, forwards: bool, patience: Duration) -> Line {
        let is_http2 = io.negotiated_http2();
        let io = TokioIo::new(Sending::new(io, patience, Activity::default()));
        Line { io, forwards, is_http2, cut: Cut::default() }
    }

    /// What `poll` gives, unless it would wait and the connection was cut.
    fn unless_cut<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut TokioIo<Sending>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let polled = poll(Pin::new(&mut self.io), cx);
        if polled.is_ready() || !self.cut.is_cut(cx) {
            return polled;
        }
        self.io.inner().forget_what_was_sent();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "its request was given up")))
    }
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.forwards);
        // Over HTTP/2 a request that is given up ends its stream.
        if self.is_http2 { connected.negotiated_h2() } else { connected.extra(self.cut.clone()) }
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.unless_cut(cx, |io, cx| io.poll_read(cx, buf))
    }
}

impl Write for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.unless_cut(cx, |io, cx| io.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_cut(cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_cut(cx, |io, cx| io.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unless_cut(cx, |io, cx| io.poll_write_vectored(cx, bufs))
    }
}

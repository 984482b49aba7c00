//! One connection to a target, HTTP/1.1, driven by whoever uses it: when the use is dropped, everything stops.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Fuse, poll_fn};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use weir_otlp::tls::TlsConnector;

use crate::address::resolve;
use crate::budget::{Budget, Reservation};
use crate::endpoint::Endpoint;
use crate::error::FetchError;

/// The most of an answer's head.
const MAX_HEAD: usize = 64 << 10;
/// Header lines of an answer.
const MAX_HEADERS: usize = 100;
/// How much of an answer is read that is no success, to have the connection free again.
const MAX_ERROR_BODY: usize = 64 << 10;
/// The most that is reserved for a body on the word of the target.
const MAX_TRUSTED_LENGTH: usize = 1 << 20;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How to speak TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) connector: TlsConnector,
    /// The name that the certificate must have; that of the endpoint by default.
    pub(crate) name: Option<String>,
}

/// A connection.
pub(crate) struct Session {
    sender: SendRequest<Empty<Bytes>>,
    driver: Fuse<BoxFuture<'static, ()>>,
    /// Its addresses.
    pub(crate) ends: Ends,
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    local: SocketAddr,
    peer: SocketAddr,
}

impl Ends {
    /// The address of the listener, when it is on this machine: the kernel gives both ends of such a connection the
    /// same address.
    pub(crate) fn local_listener(&self) -> Option<SocketAddr> {
        let (local, peer) = (self.local.ip().to_canonical(), self.peer.ip().to_canonical());
        (peer.is_loopback() || local == peer).then_some(SocketAddr::new(peer, self.peer.port()))
    }
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// What the body takes of the budget.
    pub(crate) reservation: Reservation,
    /// Whether the body was read to its end, so that the connection can be used again.
    pub(crate) whole: bool,
}

impl Session {
    /// Connects to the first address that takes the connection.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(crate) async fn connect(endpoint: &Endpoint, tls: Option<&Tls>) -> Result<Session, FetchError> {
        let mut failure = FetchError::Connect("no address".to_owned());
        for address in resolve(&endpoint.host, endpoint.port).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Session::open(stream, endpoint, tls).await,
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => failure = FetchError::Refused,
                Err(e) => failure = FetchError::Connect(e.to_string()),
            }
        }
        Err(failure)
    }

    async fn open(stream: TcpStream, endpoint: &Endpoint, tls: Option<&Tls>) -> Result<Session, FetchError> {
        let unconnected = |e: std::io::Error| FetchError::Connect(e.to_string());
        let ends = Ends {
            local: stream.local_addr().map_err(unconnected)?,
            peer: stream.peer_addr().map_err(unconnected)?,
        };
        let stream: Box<dyn Stream> = match (endpoint.https, tls) {
            (false, _) => Box::new(stream),
            (true, None) => return Err(FetchError::Tls("it is not set up".to_owned())),
            (true, Some(tls)) => {
                let failed = |e: &dyn std::fmt::Display| FetchError::Tls(e.to_string());
                let name = tls.name.as_ref().unwrap_or(&endpoint.host).clone();
                let name = ServerName::try_from(name).map_err(|e| failed(&e))?;
                Box::new(tls.connector.connect(name, stream).await.map_err(|e| failed(&e))?)
            }
        };
        let mut builder = http1::Builder::new();
        builder.max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // An error of the connection is also one of the request that is under way.
        let driver = connection.map(drop).boxed().fuse();
        Ok(Session { sender, driver, ends })
    }

    /// Sends one request and reads its answer, of which a success may have `limit` bytes.
    ///
    /// # Errors
    /// What broke, or that the answer is too large. The session must not be used again then, nor when the future was
    /// dropped before its end.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Empty<Bytes>>,
        limit: usize,
        budget: &Budget,
    ) -> Result<Reply, FetchError> {
        let Session { sender, driver, .. } = self;
        let mut exchange = pin!(async move {
            sender.ready().await.map_err(broken)?;
            let response = sender.send_request(request).await.map_err(broken)?;
            let (head, body) = response.into_parts();
            let (status, headers) = (head.status, head.headers);
            let mut reservation = Reservation::default();
            if !status.is_success() {
                let (body, whole) = read_start(body).await;
                return Ok(Reply { status, headers, body, reservation, whole });
            }
            let announced = headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
            let body = read(body, announced.unwrap_or(0), limit, budget, &mut reservation).await?;
            Ok(Reply { status, headers, body, reservation, whole: true })
        });
        poll_fn(|cx| {
            // First the connection, so that what it has read is there for the exchange.
            // Its end is seen by the exchange as well.
            let (Poll::Ready(()) | Poll::Pending) = Pin::new(&mut *driver).poll(cx);
            exchange.as_mut().poll(cx)
        })
        .await
    }
}

async fn read(
    mut body: Incoming,
    announced: usize,
    limit: usize,
    budget: &Budget,
    reservation: &mut Reservation,
) -> Result<Vec<u8>, FetchError> {
    if announced > limit {
        return Err(FetchError::TooLarge { limit });
    }
    let mut bytes = Vec::with_capacity(announced.min(MAX_TRUSTED_LENGTH));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(FetchError::TooLarge { limit });
        }
        budget.reserve(reservation, bytes.len() + data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// At most [`MAX_ERROR_BODY`] bytes of an answer, and whether these were all.
async fn read_start(mut body: Incoming) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (bytes, false) };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > MAX_ERROR_BODY {
            return (bytes, false);
        }
        bytes.extend_from_slice(&data);
    }
    (bytes, true)
}

/// What the library said, with its causes.
fn broken(error: hyper::Error) -> FetchError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    FetchError::Broken(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(local: &str, peer: &str) -> Ends {
        Ends { local: local.parse().expect("address"), peer: peer.parse().expect("address") }
    }

    #[test]
    fn a_listener_on_this_machine_is_told_from_one_elsewhere() {
        let here = |local, peer| ends(local, peer).local_listener().map(|a| a.to_string());
        assert_eq!(here("127.0.0.1:40000", "127.0.0.1:6060").as_deref(), Some("127.0.0.1:6060"));
        assert_eq!(here("127.0.0.1:40000", "127.0.0.2:6060").as_deref(), Some("127.0.0.2:6060"));
        assert_eq!(here("[::1]:40000", "[::1]:6060").as_deref(), Some("[::1]:6060"));
        assert_eq!(here("10.0.0.5:40000", "10.0.0.5:6060").as_deref(), Some("10.0.0.5:6060"));
        assert_eq!(here("10.0.0.5:40000", "10.0.0.6:6060"), None);
    }
}

//! The unary `Export` call over HTTP/2.
//!
//! Connections are made when they are first needed, one to each address that a name has. When one is lost, the next
//! attempt makes a new one; after a failure to connect the attempts of the next moments fail at once (or wait, with
//! `wait_for_ready`) unless another address works. Two attempts in a row that were given up without an answer replace the
//! connection too: a peer that vanished without a word keeps a connection "established" for a quarter of an hour.

mod balancer;
mod call;
mod channel;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use weir_component::{Accepted, ClientAuth, Context, Failure, Status, Telemetry};
use weir_pdata::{Payload, Signal};

use super::proxy::Proxy;
use super::{Compression, Plain, Target, framing};
use crate::client::pieces::Pieces;
use crate::encoding::{ACCEPTED_GRPC, Encoding};
use crate::message::FRAME_HEADER;
use crate::observed::Calls;
use crate::tls::TlsConnector;
use balancer::Balancer;
pub use balancer::Balancing;
use call::Attempt;

/// Settings of a client.
#[derive(Clone)]
pub struct GrpcSettings {
    /// Where to connect.
    pub target: Target,
    /// TLS, which has to offer `h2` by ALPN; `None`: clear text.
    pub tls: Option<TlsConnector>,
    /// The name that the server's certificate must have. Default: the host of `target`.
    pub server_name: Option<String>,
    /// `:authority` of the requests. Default: `target`.
    pub authority: Option<String>,
    /// Signs each request. Default none.
    pub auth: Option<Arc<dyn ClientAuth>>,
    /// Further metadata.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `user-agent`.
    pub user_agent: String,
    /// Compression of requests.
    pub compression: Compression,
    /// How calls are spread over the addresses of a name. Default in turn.
    pub balancing: Balancing,
    /// Wait for a connection instead of failing while there is none. Default false.
    pub wait_for_ready: bool,
    /// Pings. Default none.
    pub keep_alive: Option<KeepAlive>,
    /// Largest response, decompressed; a larger one is a failure, as in grpc-go. Default 4 MiB.
    pub max_response: usize,
    /// With what calls are measured and traced. Default not at all.
    pub telemetry: Telemetry,
}

/// Pings on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Time between two pings.
    pub time: Duration,
    /// Without an answer within that time the connection is replaced.
    pub timeout: Duration,
    /// Ping while no request is under way too.
    pub permit_without_stream: bool,
}

impl GrpcSettings {
    /// Clear text, gzip, no pings.
    pub fn new(target: Target) -> GrpcSettings {
        GrpcSettings {
            target,
            tls: None,
            server_name: None,
            authority: None,
            auth: None,
            headers: Vec::new(),
            user_agent: super::user_agent("weir", env!("CARGO_PKG_VERSION")),
            compression: Compression::GZIP,
            balancing: Balancing::default(),
            wait_for_ready: false,
            keep_alive: None,
            max_response: 4 << 20,
            telemetry: Telemetry::default(),
        }
    }
}

/// A client of the OTLP/gRPC services of one server.
pub struct GrpcClient {
    settings: GrpcSettings,
    uris: [Uri; 4],
    headers: HeaderMap,
    observed: Option<Calls>,
    balancer: Balancer,
}

impl GrpcClient {
    /// A client; it connects when it is first used, through the proxy that the environment names for `https`.
    ///
    /// # Errors
    /// An authority or user agent that cannot stand in a header, a proxy that cannot be used.
    pub fn new(settings: GrpcSettings) -> Result<GrpcClient, String> {
        let authority = settings.authority.clone().unwrap_or_else(|| match &settings.target {
            Target::Unix(_) => "localhost".to_owned(),
            tcp => tcp.to_string(),
        });
        let scheme = if settings.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let mut uris: [Uri; 4] = Default::default();
        for signal in Signal::ALL {
            let path = format!("/{}/Export", signal.service());
            let uri =
                Uri::builder().scheme(scheme.clone()).authority(authority.as_str()).path_and_query(path);
            uris[signal.index()] = uri.build().map_err(|e| format!("authority {authority:?}: {e}"))?;
        }
        let headers = headers(&settings)?;
        let proxy = Proxy::for_grpc(&settings.target)?;
        let observed = Calls::new(&settings.telemetry);
        let balancer = Balancer::new(&settings, proxy);
        Ok(GrpcClient { settings, uris, headers, observed, balancer })
    }

    /// One attempt to send a payload. Dropping the future cancels the call.
    ///
    /// # Errors
    /// Retryable as OTLP says: the statuses Canceled, DeadlineExceeded, Aborted, OutOfRange, Unavailable and DataLoss,
    /// ResourceExhausted with RetryInfo, and everything that happened to the connection. All else is permanent. A stream that
    /// was reset has the status that gRPC gives the reason.
    pub async fn export(&self, payload: &Payload) -> Result<Accepted, Failure> {
        self.export_for(payload, &Context::default()).await
    }

    /// As [`GrpcClient::export`], signed for the sender that `context` tells of.
    ///
    /// # Errors
    /// As [`GrpcClient::export`], and those of the authenticator.
    pub async fn export_for(&self, payload: &Payload, context: &Context) -> Result<Accepted, Failure> {
        let call = self.call(payload, context);
        match &self.observed {
            None => call.await,
            Some(observed) => {
                let signal = payload.signal();
                observed.grpc(&self.uris[signal.index()], signal, call).await
            }
        }
    }

    async fn call(&self, payload: &Payload, context: &Context) -> Result<Accepted, Failure> {
        let message = self.message(payload).await?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uris[payload.signal().index()].clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers.clone();
        self.settings.telemetry.inject(context.span.as_ref(), request.headers_mut());
        if let Some(auth) = &self.settings.auth {
            auth.sign(request.headers_mut(), context).await?;
            framing::restore(request.headers_mut(), &self.headers, framing::OF_GRPC);
        }
        loop {
            let channel = self.balancer.pick().await?;
            let mut attempt = Attempt::begin(&channel);
            let result = attempt.run(request.clone(), message.clone(), self.settings.max_response).await;
            if attempt.lost_connection() {
                self.balancer.forget(&channel);
            }
            // The connection had ended before anything was sent: the next one is new. A new one that ends at once too
            // has been answered by nobody, so that its end is the result.
            if !attempt.found_it_ended() || channel.is_new() {
                return result;
            }
        }
    }

    /// The framed message: large chunks as they are when nothing is compressed, else one piece.
    async fn message(&self, payload: &Payload) -> Result<Pieces, Failure> {
        let compression = self.settings.compression;
        if compression.encoding == Encoding::Identity {
            return Ok(Pieces::of(&frame_header(false, payload.encoded_len())?, payload));
        }
        let mut out = compression.apply(Plain::Protobuf(payload.clone()), FRAME_HEADER).await?;
        let header = frame_header(true, out.len() - FRAME_HEADER)?;
        out[..FRAME_HEADER].copy_from_slice(&header);
        Ok(Pieces::one(Bytes::from(out)))
    }
}

/// There is no connection, in grpc-go's words.
fn unconnected(error: &str) -> Failure {
    let what = match error.starts_with("tls") {
        true => "transport: authentication handshake failed",
        false => "transport: Error while dialing",
    };
    unavailable(&format!("desc = {:?}", format!("{what}: {error}")))
}

/// gRPC's word for "there is no connection".
fn unavailable(error: &str) -> Failure {
    Failure::retry(format!("rpc error: code = Unavailable desc = connection error: {error}"))
        .with_status(Status::Unavailable)
}

fn frame_header(compressed: bool, length: usize) -> Result<[u8; FRAME_HEADER], Failure> {
    let length = u32::try_from(length).map_err(|_| {
        Failure::permanent(format!("a request of {length} bytes is larger than gRPC can carry (4 GiB)"))
    })?;
    let [a, b, c, d] = length.to_be_bytes();
    Ok([u8::from(compressed), a, b, c, d])
}

fn headers(settings: &GrpcSettings) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let destination = settings.target.to_string();
    for (name, value) in framing::allowed(&settings.headers, framing::OF_GRPC, &destination) {
        headers.append(name.clone(), value.clone());
    }
    let agent = &settings.user_agent;
    headers.insert(
        header::USER_AGENT,
        agent.parse().map_err(|_| format!("user agent {agent:?} is not a header value"))?,
    );
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED_GRPC));
    if settings.compression.encoding != Encoding::Identity {
        headers.insert("grpc-encoding", HeaderValue::from_static(settings.compression.encoding.grpc_name()));
    }
    Ok(headers)
}

//! The sender: requests made beforehand, over gRPC or HTTP, at a fixed rate or as fast as they are acknowledged.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use weir_otlp::encoding::Encoding;
use weir_pdata::Signal;

use crate::now;
use crate::sample::{self, Sample};

/// What carries the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP, protobuf, over HTTP/1.1.
    Http,
}

/// Requests as they go over the wire.
pub(crate) struct Requests {
    signal: Signal,
    protocol: Protocol,
    encoding: Encoding,
    /// Of each request.
    items: usize,
    /// Before compression.
    pub(crate) bytes_per_item: f64,
    bodies: Vec<Body>,
}

struct Body {
    bytes: Bytes,
    /// Where the time of sending goes; nowhere once it is compressed.
    stamp_at: Option<usize>,
}

/// What to send, and how.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) port: u16,
    pub(crate) requests: Arc<Requests>,
    /// Each with one request under way.
    pub(crate) connections: usize,
    /// Items per second of all connections together; none: as fast as possible.
    pub(crate) rate: Option<f64>,
    pub(crate) time: Duration,
    /// At most that many requests on each connection.
    pub(crate) most: Option<u32>,
    /// Write the time of sending into the first span.
    pub(crate) stamped: bool,
}

/// What became of the requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Items that were acknowledged.
    pub(crate) items: u64,
    /// Bytes of all bodies.
    pub(crate) bytes: u64,
    /// Requests with any other answer.
    pub(crate) refused: u64,
}

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

impl Requests {
    pub(crate) fn new(sample: &Sample, protocol: Protocol, encoding: Encoding) -> Result<Requests, String> {
        let body = |request: &Vec<u8>| -> Result<Body, String> {
            let mut content = Vec::new();
            encoding.compress(request, None, &mut content)?;
            let mut bytes = Vec::new();
            if protocol == Protocol::Grpc {
                let length = u32::try_from(content.len()).map_err(|e| e.to_string())?;
                bytes.push(u8::from(encoding != Encoding::Identity));
                bytes.extend_from_slice(&length.to_be_bytes());
            }
            bytes.extend_from_slice(&content);
            Ok(Body { stamp_at: sample::stamp_at(&bytes), bytes: bytes.into() })
        };
        let bodies = sample.requests.iter().map(body).collect::<Result<_, _>>()?;
        let bytes: usize = sample.requests.iter().map(Vec::len).sum();
        let bytes_per_item = bytes as f64 / (sample.requests.len() * sample.items).max(1) as f64;
        Ok(Requests {
            signal: sample.signal,
            protocol,
            encoding,
            items: sample.items,
            bytes_per_item,
            bodies,
        })
    }
}

impl Load {
    /// Sends until the time is up and every answer is there.
    pub(crate) async fn run(self) -> Result<Sent, String> {
        let load = Arc::new(self);
        let mut connections = JoinSet::new();
        for i in 0..load.connections {
            connections.spawn(Arc::clone(&load).connection(i));
        }
        let mut sum = Sent::default();
        while let Some(ended) = connections.join_next().await {
            let sent = ended.map_err(|e| e.to_string())??;
            sum.items += sent.items;
            sum.bytes += sent.bytes;
            sum.refused += sent.refused;
        }
        Ok(sum)
    }

    async fn connection(self: Arc<Load>, index: usize) -> Result<Sent, String> {
        let Requests { items, bodies, .. } = &*self.requests;
        let mut sender = Sender::connect(&self).await?;
        let (begin, unix) = (Instant::now(), now());
        let pace = self.rate.map(|rate| Duration::from_secs_f64(*items as f64 / rate));
        // Each connection at another place, so that a batch of all of them has no request twice.
        let mut next = bodies.iter().cycle().skip(index * bodies.len() / self.connections);
        let (mut sum, mut sent) = (Sent::default(), 0u32);
        while begin.elapsed() < self.time && self.most.is_none_or(|most| sent < most) {
            let mut late = None;
            if let Some(pace) = pace {
                let turn = pace * (sent * self.connections as u32 + index as u32);
                if begin.elapsed() > turn {
                    // The answer before it came late: who waits has waited since its turn.
                    late = Some(unix + u64::try_from(turn.as_nanos()).unwrap_or(u64::MAX));
                } else {
                    sleep_until(begin + turn).await;
                }
            }
            let Some(Body { bytes, stamp_at }) = next.next() else { break };
            let body = match stamp_at.filter(|_| self.stamped) {
                None => bytes.clone(),
                Some(at) => {
                    let mut stamped = bytes.to_vec();
                    stamped[at..at + 8].copy_from_slice(&late.unwrap_or_else(now).to_le_bytes());
                    Bytes::from(stamped)
                }
            };
            sum.bytes += body.len() as u64;
            let answer = timeout(PATIENCE, sender.send(self.request(body)?)).await;
            match answer.map_err(|_| "no answer within a minute".to_owned())?? {
                true => sum.items += *items as u64,
                false => {
                    sum.refused += 1;
                    // The next request comes a little later, as OTLP asks for.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            sent += 1;
        }
        Ok(sum)
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let Requests { signal, protocol, encoding, .. } = *self.requests;
        let request = match protocol {
            Protocol::Grpc => {
                let uri = format!("http://127.0.0.1:{}/{}/Export", self.port, signal.service());
                let request = Request::post(uri).header("content-type", "application/grpc");
                let request = request.header("te", "trailers").header("user-agent", "weir-bench");
                match encoding {
                    Encoding::Identity => request,
                    encoding => request.header("grpc-encoding", encoding.name()),
                }
            }
            Protocol::Http => {
                let request = Request::post(signal.path()).header("host", "127.0.0.1");
                let request = request.header("content-type", "application/x-protobuf");
                match encoding {
                    Encoding::Identity => request,
                    encoding => request.header("content-encoding", encoding.name()),
                }
            }
        };
        request.body(Full::new(body)).map_err(|e| e.to_string())
    }
}

/// One connection.
struct Sender {
    kind: Kind,
    _driver: JoinSet<()>,
}

enum Kind {
    Two(http2::SendRequest<Full<Bytes>>),
    One(http1::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn connect(load: &Load) -> Result<Sender, String> {
        let stream = TcpStream::connect(("127.0.0.1", load.port)).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let io = TokioIo::new(stream);
        let mut driver = JoinSet::new();
        let kind = match load.requests.protocol {
            Protocol::Grpc => {
                let shake = http2::handshake(TokioExecutor::new(), io).await;
                let (sender, connection) = shake.map_err(|e| e.to_string())?;
                driver.spawn(async { drop(connection.await) });
                Kind::Two(sender)
            }
            Protocol::Http => {
                let (sender, connection) = http1::handshake(io).await.map_err(|e| e.to_string())?;
                driver.spawn(async { drop(connection.await) });
                Kind::One(sender)
            }
        };
        Ok(Sender { kind, _driver: driver })
    }

    /// Whether the request was acknowledged.
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<bool, String> {
        let response: Response<Incoming> = match &mut self.kind {
            Kind::Two(sender) => {
                sender.ready().await.map_err(|e| e.to_string())?;
                sender.send_request(request).await
            }
            Kind::One(sender) => {
                sender.ready().await.map_err(|e| e.to_string())?;
                sender.send_request(request).await
            }
        }
        .map_err(|e| format!("{e:?}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| e.to_string())?;
        let status = head.headers.get("grpc-status").or_else(|| body.trailers()?.get("grpc-status")).cloned();
        Ok(match &self.kind {
            Kind::Two(_) => status.is_some_and(|status| status == "0"),
            Kind::One(_) => head.status == StatusCode::OK,
        })
    }
}

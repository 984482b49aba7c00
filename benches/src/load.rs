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

use crate::now;
use crate::sample::Sample;

/// What carries the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP, protobuf, over HTTP/1.1.
    Http,
}

/// What to send, and how.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) encoding: Encoding,
    pub(crate) sample: Arc<Sample>,
    /// Each with one request under way.
    pub(crate) connections: usize,
    /// Items per second of all connections together; none: as fast as possible.
    pub(crate) rate: Option<f64>,
    pub(crate) time: Duration,
    /// At most that many requests on each connection.
    pub(crate) requests: Option<u32>,
    /// Write the time of sending into the first span.
    pub(crate) stamped: bool,
}

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

impl Load {
    /// Sends until the time is up and every answer is there; returns the items that were acknowledged.
    pub(crate) async fn run(self) -> Result<u64, String> {
        let load = Arc::new(self);
        let mut connections = JoinSet::new();
        for i in 0..load.connections {
            connections.spawn(Arc::clone(&load).connection(i));
        }
        let mut items = 0;
        while let Some(ended) = connections.join_next().await {
            items += ended.map_err(|e| e.to_string())??;
        }
        Ok(items)
    }

    async fn connection(self: Arc<Load>, index: usize) -> Result<u64, String> {
        let mut sender = Sender::connect(&self).await?;
        let body = self.body()?;
        let stamp_at = if self.stamped { self.sample.stamp_at().map(|at| at + self.head()) } else { None };
        let begin = Instant::now();
        let items = self.sample.items as f64;
        let pace = self.rate.map(|rate| Duration::from_secs_f64(items / rate));
        let (mut acknowledged, mut sent) = (0, 0u32);
        while begin.elapsed() < self.time && self.requests.is_none_or(|most| sent < most) {
            if let Some(pace) = pace {
                let turn = sent * self.connections as u32 + index as u32;
                sleep_until(begin + pace * turn).await;
            }
            let body = match stamp_at {
                None => body.clone(),
                Some(at) => {
                    let mut stamped = body.to_vec();
                    stamped[at..at + 8].copy_from_slice(&now().to_le_bytes());
                    Bytes::from(stamped)
                }
            };
            let answer = timeout(PATIENCE, sender.send(self.request(body)?)).await;
            match answer.map_err(|_| "no answer within a minute".to_owned())?? {
                true => acknowledged += self.sample.items as u64,
                // A refusal by a full queue: the next request comes a little later, as OTLP asks for.
                false => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            sent += 1;
        }
        Ok(acknowledged)
    }

    /// Bytes of gRPC in front of the request.
    fn head(&self) -> usize {
        if self.protocol == Protocol::Grpc { 5 } else { 0 }
    }

    fn body(&self) -> Result<Bytes, String> {
        let content = self.sample.encoded(self.encoding)?;
        if self.protocol == Protocol::Http {
            return Ok(content.into());
        }
        let length = u32::try_from(content.len()).map_err(|e| e.to_string())?;
        let mut body = vec![u8::from(self.encoding != Encoding::Identity)];
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(&content);
        Ok(body.into())
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let signal = self.sample.signal;
        let request = match self.protocol {
            Protocol::Grpc => {
                let uri = format!("http://127.0.0.1:{}/{}/Export", self.port, signal.service());
                let request = Request::post(uri).header("content-type", "application/grpc");
                let request = request.header("te", "trailers").header("user-agent", "weir-bench");
                match self.encoding {
                    Encoding::Identity => request,
                    encoding => request.header("grpc-encoding", encoding.name()),
                }
            }
            Protocol::Http => {
                let request = Request::post(signal.path()).header("host", "127.0.0.1");
                let request = request.header("content-type", "application/x-protobuf");
                match self.encoding {
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
        let kind = match load.protocol {
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

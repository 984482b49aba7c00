//! A connection that hyper serves, in the version of HTTP that its first bytes are of.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout_at;

use crate::body::Body;
use crate::clock::after;
use crate::guarded::Guarded;
use crate::http_server::{Http, ServerLimits};

/// Answers requests.
pub(super) trait Answers:
    Service<Request<Incoming>, Response = Response<Body>, Error = Late, Future: Send + 'static> + Unpin
{
}

impl<S> Answers for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Late, Future: Send + 'static> + Unpin
{
}

/// An answer took longer than it may.
#[derive(Debug)]
pub(super) struct Late;

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer took too long")
    }
}

impl std::error::Error for Late {}

/// How a connection ended that did not end well.
type Broken = Box<dyn std::error::Error + Send + Sync>;

pub(super) struct Served<S: Answers> {
    /// What was spawned.
    streams: FuturesUnordered<BoxFuture<'static, ()>>,
    spawned: OwnTask,
    state: State<S>,
    one: http1::Builder,
    two: http2::Builder<OwnTask>,
}

enum State<S: Answers> {
    /// The peer has not said enough to know the version.
    New(Box<(Guarded, S)>),
    One(Box<http1::Connection<TokioIo<Guarded>, S>>),
    Two(Box<http2::Connection<TokioIo<Guarded>, S, OwnTask>>),
    Over,
}

/// Collects the futures that hyper wants to have run: each is a stream of HTTP/2, from its head to the end of its answer.
#[derive(Clone)]
struct OwnTask {
    streams: Arc<Mutex<Vec<BoxFuture<'static, ()>>>>,
    /// How long one may take. Dropping it resets the stream.
    within: Option<Duration>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for OwnTask {
    fn execute(&self, stream: F) {
        let stream: BoxFuture<'static, ()> = match self.within.map(after) {
            Some(end) => Box::pin(timeout_at(end, stream).map(drop)),
            None => Box::pin(stream),
        };
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
    }
}

impl OwnTask {
    fn take(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut *self.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Answers> Served<S> {
    pub(super) fn new(limits: &ServerLimits, io: Guarded, service: S) -> Served<S> {
        let spawned = OwnTask { streams: Arc::default(), within: limits.answer_timeout };
        let (one, two) = (http1_builder(limits), http2_builder(limits, spawned.clone()));
        let state = State::New(Box::new((io, service)));
        let mut served = Served { streams: FuturesUnordered::new(), spawned, state, one, two };
        match limits.http {
            Http::One => served.begin(Version::HTTP_11),
            Http::Two => served.begin(Version::HTTP_2),
            Http::Both => {}
        }
        served
    }

    fn begin(&mut self, version: Version) {
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::New(new) if version == Version::HTTP_2 => {
                let (mut io, service) = *new;
                io.expect_http2();
                State::Two(Box::new(self.two.serve_connection(TokioIo::new(io), service)))
            }
            State::New(new) => {
                let (io, service) = *new;
                State::One(Box::new(self.one.serve_connection(TokioIo::new(io), service)))
            }
            begun => begun,
        };
    }

    /// Ends when the requests under way are answered.
    pub(super) fn graceful_shutdown(&mut self) {
        match &mut self.state {
            State::New(..) => self.state = State::Over,
            State::One(connection) => Pin::new(&mut **connection).graceful_shutdown(),
            State::Two(connection) => Pin::new(&mut **connection).graceful_shutdown(),
            State::Over => {}
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            // Streams first, so that what they answer leaves with this poll of the connection.
            while let Poll::Ready(Some(())) = self.streams.poll_next_unpin(cx) {}
            if let Poll::Ready(result) = self.poll_connection(cx) {
                return Poll::Ready(result);
            }
            let new = self.spawned.take();
            if new.is_empty() {
                return Poll::Pending;
            }
            self.streams.extend(new);
        }
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if let State::New(new) = &mut self.state {
            let version = ready!(new.0.poll_version(cx))?;
            self.begin(version);
        }
        match &mut self.state {
            State::One(connection) => Pin::new(&mut **connection).poll(cx).map_err(Broken::from),
            State::Two(connection) => Pin::new(&mut **connection).poll(cx).map_err(Broken::from),
            State::New(..) | State::Over => Poll::Ready(Ok(())),
        }
    }
}

fn http1_builder(limits: &ServerLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .keep_alive(limits.keep_alive)
        .max_header_size(limits.max_header_bytes as usize + H1_LINES)
        .max_buf_size(H1_BUFFER);
    builder
}

fn http2_builder(limits: &ServerLimits, executor: OwnTask) -> http2::Builder<OwnTask> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(limits.max_header_bytes)
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_frame_size(H2_FRAME)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout)
        .auto_date_header(false);
    builder
}

/// What the head of a request may have beside its names and values: the request line, colons and ends of lines.
const H1_LINES: usize = 4 << 10;
/// Largest buffer of a read: a request of a hundred spans is one piece. A connection keeps what it once needed.
const H1_BUFFER: usize = 64 << 10;
/// Largest frame that peers may send, the smallest limit that there is: the library keeps a frame until it is whole.
const H2_FRAME: u32 = 16 << 10;
/// What a peer may send ahead on one stream and on a connection. Bytes that were read but not yet taken by a request are
/// bounded by the second.
pub(crate) const H2_STREAM_WINDOW: u32 = 1 << 20;
const H2_CONNECTION_WINDOW: u32 = 4 << 20;

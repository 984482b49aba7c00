//! Serving one connection in one task.
//!
//! hyper wants to spawn a task for each HTTP/2 stream. Here they are futures of the connection's own task instead: a
//! request then costs no wake-up of another thread, the answers of one round leave in one write, and ending the
//! connection's task ends everything. The number of streams is bounded by `max_concurrent_streams`.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, poll_fn};
use futures_util::stream::FuturesUnordered;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use weir_component::Stop;

use crate::body::Body;
use crate::http_server::{Http, ServerLimits};
use crate::http2::Guarded;
use crate::io::Io;
use crate::lifetime::{Activity, End, Lifetime, Timer, timer};

/// Collects the futures that hyper wants to have run.
#[derive(Clone, Default)]
struct OwnTask(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for OwnTask {
    fn execute(&self, future: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(future));
    }
}

impl OwnTask {
    fn take(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How a server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The port is closed: idle connections are closed at once.
    Closed,
    /// Somebody else serves the port: an idle HTTP/1.1 connection ends with the answer to its next request, or after
    /// [`PATIENCE`] without one, so that no request runs into a connection that is being closed.
    HandedOver,
}

const PATIENCE: Duration = Duration::from_secs(5);

/// How long a peer that was told to go and has no request under way may take to go: it may be gone already.
const GONE: Duration = Duration::from_secs(1);

/// Serves a connection until the peer leaves or, after `stop`, until the requests under way are answered.
pub(crate) async fn drive<H, F>(
    io: Io,
    limits: &ServerLimits,
    stop: &Stop,
    leaving: impl Fn() -> Leaving,
    handler: H,
) where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let spawned = OwnTask::default();
    let builder = builder(limits, spawned.clone());
    let activity = Activity::default();
    let last = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request: Request<Incoming>| {
        let version = request.version();
        let open = activity.begin(version);
        let answer = handler(request);
        let last = Arc::clone(&last);
        async move {
            let mut response = answer.await;
            drop(open);
            if last.load(Ordering::Relaxed) && version != Version::HTTP_2 {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(Guarded::new(io, activity.clone())), service));
    let mut streams = FuturesUnordered::new();
    let mut stop_requested = pin!(stop.requested());
    let mut lifetime = pin!(Lifetime::new(limits, activity.clone()));
    let mut stopping = false;
    let mut patience: Option<Timer> = None;
    let mut idle_end: Option<Timer> = None;
    let served = poll_fn(|cx| {
        let end = match lifetime.as_mut().poll_next(cx) {
            Poll::Ready(End::Now) => return Poll::Ready(Ok(())),
            Poll::Ready(End::Orderly) => true,
            Poll::Pending => false,
        };
        let asked = patience.is_none() && !stopping && stop_requested.as_mut().poll(cx).is_ready();
        if asked && leaving() == Leaving::HandedOver && !activity.can_be_sent_away() {
            last.store(true, Ordering::Relaxed);
            patience = Some(timer(PATIENCE));
        }
        let waited = patience.as_mut().is_none_or(|timer| timer.as_mut().poll(cx).is_ready());
        if !stopping && (end || (asked || patience.is_some()) && waited) {
            stopping = true;
            patience = None;
            idle_end = Some(timer(GONE));
            connection.as_mut().graceful_shutdown();
        }
        if idle_end.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
            if !activity.is_open() {
                return Poll::Ready(Ok(()));
            }
            idle_end = Some(timer(GONE));
            cx.waker().wake_by_ref();
        }
        loop {
            // Streams first, so that what they answer leaves with this poll of the connection.
            while let Poll::Ready(Some(())) = streams.poll_next_unpin(cx) {}
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            let new = spawned.take();
            if new.is_empty() {
                return Poll::Pending;
            }
            streams.extend(new);
        }
    });
    if let Err(e) = served.await {
        tracing::debug!(error = %e, "connection ended");
    }
}

fn builder(limits: &ServerLimits, executor: OwnTask) -> Builder<OwnTask> {
    let mut builder = Builder::new(executor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .keep_alive(limits.keep_alive)
        .max_buf_size(H1_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.max_header_bytes)
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_frame_size(H2_FRAME)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout)
        .auto_date_header(false);
    match limits.http {
        Http::One => builder.http1_only(),
        Http::Two => builder.http2_only(),
        Http::Both => builder,
    }
}

/// Read buffer of HTTP/1.1; heads are held to `max_header_bytes` beside it.
const H1_BUFFER: usize = 256 << 10;
/// Largest DATA frame that peers may send: a request in one frame is never copied. A peer can make a connection hold one
/// frame that is not complete, hence no more.
const H2_FRAME: u32 = 256 << 10;
/// What a peer may send ahead on one stream and on a connection. Bytes that were read but not yet taken by a request are
/// bounded by the second.
const H2_STREAM_WINDOW: u32 = 1 << 20;
const H2_CONNECTION_WINDOW: u32 = 4 << 20;

//! Serving one connection in one task.
//!
//! hyper wants to spawn a task for each HTTP/2 stream. Here they are futures of the connection's own task instead: a
//! request then costs no wake-up of another thread, the answers of one round leave in one write, and ending the
//! connection's task ends everything. The number of streams is bounded by `max_concurrent_streams`.

mod served;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::poll_fn;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use weir_component::{Budget, Stop};

use crate::body::Body;
use crate::clock::{Timer, timer};
use crate::guarded::Guarded;
use crate::http_server::ServerLimits;
use crate::io::Io;
use crate::lifetime::{Activity, End, Lifetime};
use served::Served;

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

/// Serves a connection until the peer leaves or, after `stop`, until the requests under way are answered. What it holds
/// before it is a request is reserved in `budget`.
pub(crate) async fn drive<H, F>(
    io: Io,
    limits: &ServerLimits,
    budget: &Budget,
    stop: &Stop,
    leaving: impl Fn() -> Leaving,
    handler: H,
) where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let activity = Activity::default();
    let last = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request: Request<Incoming>| {
        let version = request.version();
        let open = activity.begin(version);
        let answer = handler(request);
        let last = Arc::clone(&last);
        async move {
            let mut response = answer.await;
            open.answered(response.status());
            if last.load(Ordering::Relaxed) && version != Version::HTTP_2 {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let io = Guarded::new(io, limits, budget, activity.clone());
    let mut connection = Served::new(limits, io, service);
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
            connection.graceful_shutdown();
        }
        if idle_end.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
            if !activity.is_open() {
                return Poll::Ready(Ok(()));
            }
            idle_end = Some(timer(GONE));
            cx.waker().wake_by_ref();
        }
        connection.poll(cx)
    });
    if let Err(e) = served.await {
        tracing::debug!(error = %e, "connection ended");
    }
}

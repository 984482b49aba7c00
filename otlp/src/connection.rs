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
use tokio::time::timeout_at;
use weir_component::{Budget, Stop};

use crate::body::Body;
use crate::clock::after;
use crate::departure::{Departure, Step};
use crate::guarded::Guarded;
use crate::http_server::ServerLimits;
use crate::io::Io;
use crate::lifetime::{Activity, End, Lifetime};
use served::{Answers, Late, Served};

pub(crate) use served::H2_STREAM_WINDOW;

/// How a server stops.
#[derive(Debug, Clone)]
pub(crate) enum Leaving {
    /// The port is closed: idle connections are closed at once.
    Closed,
    /// Somebody else serves the port: nobody may notice until that is requested, when it is closed, too.
    HandedOver(Stop),
}

/// An HTTP/1.1 connection that has to go although its port is open ends with the answer to its next request, or after this
/// time without one, so that no request runs into a connection that is being closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves a connection until the peer leaves or, after `stop`, until the requests under way are answered. What it holds
/// before it is a request is reserved in `budget`.
pub(crate) async fn drive<H, F>(
    io: Io,
    activity: Activity,
    limits: &ServerLimits,
    budget: &Budget,
    stop: &Stop,
    leaving: impl Fn() -> Leaving,
    handler: H,
) where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let last = Arc::new(AtomicBool::new(false));
    let io = Guarded::new(io, limits, budget, activity.clone());
    let mut connection = Served::new(limits, io, service(&handler, &activity, limits.answer_timeout, &last));
    let mut stop_requested = pin!(stop.requested());
    let mut lifetime = pin!(Lifetime::new(limits, activity.clone()));
    let (mut departure, mut stopping) = (Departure::default(), false);
    let mut closed = pin!(None);
    let leave_in_peace = |departure: &mut Departure| {
        if activity.can_be_sent_away() {
            departure.leave();
        } else {
            last.store(true, Ordering::Relaxed);
            departure.leave_after(PATIENCE);
        }
    };
    let served = poll_fn(|cx| {
        match lifetime.as_mut().poll_next(cx) {
            Poll::Ready(End::Now) => return Poll::Ready(Ok(())),
            Poll::Ready(End::Orderly) => leave_in_peace(&mut departure),
            Poll::Pending => {}
        }
        if !stopping && stop_requested.as_mut().poll(cx).is_ready() {
            stopping = true;
            match leaving() {
                Leaving::Closed => departure.leave(),
                Leaving::HandedOver(until) => {
                    leave_in_peace(&mut departure);
                    closed.set(Some(requested(until)));
                }
            }
        }
        if let Some(port) = closed.as_mut().as_pin_mut()
            && port.poll(cx).is_ready()
        {
            closed.set(None);
            departure.leave();
        }
        loop {
            while let Poll::Ready(step) = departure.poll(activity.is_open(), cx) {
                match step {
                    Step::Tell => connection.graceful_shutdown(),
                    Step::End => return Poll::Ready(Ok(())),
                }
            }
            let polled = connection.poll(cx);
            let is_http2 = activity.can_be_sent_away();
            if polled.is_pending() && is_http2 && lifetime.as_mut().poll_untaken(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            // HTTP/1.1 closes behind the answer by itself.
            let had_its_request = !limits.keep_alive && is_http2;
            if polled.is_ready() || !had_its_request || !departure.is_staying() {
                return polled;
            }
            departure.leave();
        }
    });
    if let Err(e) = served.await {
        tracing::debug!(error = %e, "connection ended");
    }
}

async fn requested(stop: Stop) {
    stop.requested().await;
}

/// Has `handler` answer, counts requests in `activity`, and has HTTP/1.1 close behind an answer once `last` is set, and
/// instead of one that takes longer than `within`. HTTP/2 limits its streams itself, and what waits for their windows is
/// counted.
fn service<'a, H, F>(
    handler: &'a H,
    activity: &'a Activity,
    within: Option<Duration>,
    last: &'a Arc<AtomicBool>,
) -> impl Answers + use<'a, H, F>
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    service_fn(move |request: Request<Incoming>| {
        let version = request.version();
        let open = activity.begin(version);
        let end = within.filter(|_| version != Version::HTTP_2).map(after);
        if let Some(end) = end {
            activity.expect_answer_by(end);
        }
        let answer = handler(request);
        let last = Arc::clone(last);
        let offers = (version == Version::HTTP_2).then(|| activity.clone());
        async move {
            let mut response = match end {
                Some(end) => timeout_at(end, answer).await.map_err(|_| Late)?,
                None => answer.await,
            };
            open.answered(response.status());
            if last.load(Ordering::Relaxed) && version != Version::HTTP_2 {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(match offers {
                Some(activity) => response.map(|body| body.offered_on(&activity)),
                None => response,
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::time::timeout;
    use weir_component::Stopper;

    use super::*;
    use crate::clock::pause;

    const SECOND: Duration = Duration::from_secs(1);

    /// Serves one connection, which `peer` has the other end of, with what stops the server.
    async fn serve(leaving: Leaving, peer: impl AsyncFnOnce(UnixStream, Stopper)) {
        serve_within(ServerLimits::default(), leaving, Bytes::new(), peer).await;
    }

    /// The same, with answers.
    async fn serve_within(
        limits: ServerLimits,
        leaving: Leaving,
        content: Bytes,
        peer: impl AsyncFnOnce(UnixStream, Stopper),
    ) {
        let (stream, io) = UnixStream::pair().expect("a pair");
        let (stopper, stop) = Stop::new();
        let budget = Budget::default();
        let answer = |_: Request<Incoming>| std::future::ready(Response::new(Body::full(content.clone())));
        let leave = || leaving.clone();
        let served = drive(Io::Unix(io), Activity::default(), &limits, &budget, &stop, leave, answer);
        tokio::join!(served, peer(stream, stopper));
    }

    async fn ask(peer: &mut UnixStream) -> String {
        peer.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert!(peer.read_buf(&mut answer).await.expect("read") > 0, "it was closed");
        }
        String::from_utf8(answer).expect("text")
    }

    async fn is_closed(peer: &mut UnixStream, within: Duration) -> bool {
        timeout(within, peer.read(&mut [0])).await.is_ok_and(|read| read.expect("read") == 0)
    }

    #[tokio::test(start_paused = true)]
    async fn who_rests_is_closed_at_once_when_the_port_closes_and_after_a_while_when_it_is_handed_over() {
        let (_agent, agent_ends) = Stop::new();
        for (leaving, at_once) in [(Leaving::Closed, true), (Leaving::HandedOver(agent_ends), false)] {
            serve(leaving, async |mut peer, stopper| {
                assert!(!ask(&mut peer).await.contains("close"));
                drop(stopper);
                assert_eq!(is_closed(&mut peer, PATIENCE - SECOND).await, at_once);
                assert!(is_closed(&mut peer, 2 * SECOND).await);
            })
            .await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_rests_when_the_agent_ends_is_closed_at_once_although_the_port_was_handed_over() {
        let (agent, agent_ends) = Stop::new();
        serve(Leaving::HandedOver(agent_ends), async |mut peer, stopper| {
            assert!(!ask(&mut peer).await.contains("close"));
            drop(stopper);
            assert!(!is_closed(&mut peer, SECOND).await);
            drop(agent);
            assert!(is_closed(&mut peer, SECOND / 100).await);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_again_after_the_port_was_handed_over_is_answered_and_told_that_it_was_the_last_time() {
        let (_agent, agent_ends) = Stop::new();
        serve(Leaving::HandedOver(agent_ends), async |mut peer, stopper| {
            assert!(!ask(&mut peer).await.contains("close"));
            drop(stopper);
            assert!(!is_closed(&mut peer, SECOND).await);
            assert!(ask(&mut peer).await.contains("connection: close"));
            assert!(is_closed(&mut peer, SECOND).await);
        })
        .await;
    }

    /// Gives `peer` a connection that has had a request and became old since, up to four and a half seconds ago.
    async fn serve_old(peer: impl AsyncFnOnce(UnixStream, Stopper)) {
        // Give or take 20 %.
        let limits = ServerLimits { max_connection_age: Some(10 * SECOND), ..ServerLimits::default() };
        serve_within(limits, Leaving::Closed, Bytes::new(), async |mut stream, stopper| {
            assert!(!ask(&mut stream).await.contains("close"));
            pause(25 * SECOND / 2).await;
            peer(stream, stopper).await;
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_on_an_old_connection_is_answered_and_told_that_it_was_the_last_time() {
        serve_old(async |mut peer, _stopper| {
            assert!(ask(&mut peer).await.contains("connection: close"));
            assert!(is_closed(&mut peer, SECOND / 100).await);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_connection_on_which_nothing_comes_is_closed_after_a_while_and_at_once_when_the_port_closes()
     {
        serve_old(async |mut peer, _stopper| assert!(is_closed(&mut peer, PATIENCE).await)).await;
        serve_old(async |mut peer, stopper| {
            assert!(!is_closed(&mut peer, SECOND / 100).await);
            drop(stopper);
            assert!(is_closed(&mut peer, SECOND / 100).await);
        })
        .await;
    }

    /// No other limit ends a connection.
    fn only_writing(limit: Duration) -> ServerLimits {
        ServerLimits {
            write_timeout: limit,
            ping_interval: None,
            max_connection_age: None,
            ..ServerLimits::default()
        }
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&[a, b, c, kind, flags], &stream.to_be_bytes()[..], payload].concat()
    }

    /// Requests of HTTP/2 for `/`, of a peer that lets each answer begin with so many bytes.
    fn requests(streams: u32, window: u32) -> Vec<u8> {
        let settings = frame(4, 0, 0, &[&[0, 4], &window.to_be_bytes()[..]].concat());
        let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat();
        (0..streams).fold(hello, |all, n| [all, frame(1, 5, 2 * n + 1, &[0x82, 0x86, 0x84])].concat())
    }

    /// What comes within that time, and whether the connection is closed then.
    async fn hear(peer: &mut UnixStream, within: Duration) -> (usize, bool) {
        let (mut heard, mut taken) = (0, vec![0; 64 << 10]);
        let closed = timeout(within, async {
            while let Ok(more @ 1..) = peer.read(&mut taken).await {
                heard += more;
            }
        });
        let closed = closed.await.is_ok();
        (heard, closed)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_over_http2_is_pinged_every_minute_and_has_20_seconds_for_the_answer() {
        serve_within(ServerLimits::default(), Leaving::Closed, Bytes::new(), async |mut peer, _stopper| {
            peer.write_all(&requests(1, 65_535)).await.expect("written");
            assert!(!hear(&mut peer, 59 * SECOND).await.1);
            for answers in [true, false] {
                let mut ping = [0; 17];
                timeout(2 * SECOND, peer.read_exact(&mut ping))
                    .await
                    .expect("after a minute")
                    .expect("asked");
                assert_eq!(ping[3..5], [6, 0]);
                if answers {
                    peer.write_all(&frame(6, 1, 0, &ping[9..])).await.expect("written");
                    assert_eq!(hear(&mut peer, 59 * SECOND).await, (0, false));
                }
            }
            assert!(!hear(&mut peer, 19 * SECOND).await.1, "it has its time");
            assert!(hear(&mut peer, 2 * SECOND).await.1);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_over_http2_and_opens_no_window_for_the_answers_is_cut_off() {
        for window in [0, 1] {
            let content = Bytes::from(vec![b'x'; 30_000]);
            serve_within(only_writing(10 * SECOND), Leaving::Closed, content, async |mut peer, _stopper| {
                peer.write_all(&requests(100, window)).await.expect("written");
                assert!(!hear(&mut peer, 9 * SECOND).await.1, "it has its time");
                assert!(hear(&mut peer, 2 * SECOND).await.1, "{window}");
            })
            .await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_an_answer_over_http2_piece_by_piece_gets_all_of_it_and_keeps_the_connection() {
        const LENGTH: usize = 200_000;
        let content = Bytes::from(vec![b'x'; LENGTH]);
        serve_within(only_writing(10 * SECOND), Leaving::Closed, content, async |mut peer, _stopper| {
            peer.write_all(&requests(1, 65_535)).await.expect("written");
            let mut heard = 0;
            for _ in 0..4 {
                let (more, closed) = hear(&mut peer, 8 * SECOND).await;
                heard += more;
                assert!(!closed, "after {heard} bytes");
                for stream in [0, 1] {
                    peer.write_all(&frame(8, 0, stream, &65_535_u32.to_be_bytes())).await.expect("written");
                }
            }
            assert!((LENGTH..LENGTH + 5000).contains(&heard), "{heard}");
            assert!(!hear(&mut peer, 100 * SECOND).await.1, "nothing waits");
        })
        .await;
    }
}

//! One HTTP/2 connection, and when to make the next.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::KeepAlive;
use crate::client::unanswered::Unanswered;
use crate::clock::{jitter, now, pause};
use crate::io::Io;

const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Fields of an answer, with a message and details as long as servers make them.
const MAX_HEADERS: u32 = 1 << 20;
/// What one request may hand to the connection before the peer has taken any of it.
const SEND_BUFFER: usize = 1 << 20;

/// A connection. It is closed when this is dropped.
pub(super) struct Channel {
    sender: SendRequest<Bytes>,
    under_way: Arc<AtomicUsize>,
    unanswered: Unanswered,
    answered: AtomicBool,
    driver: AbortHandle,
    _tasks: JoinSet<()>,
}

impl Channel {
    /// Speaks HTTP/2 over `io`, once the peer does.
    pub(super) async fn open(io: Io, keep_alive: Option<KeepAlive>) -> Result<Channel, String> {
        let (sender, mut connection) = h2::client::Builder::new()
            // Until it says how many, see `greeted`.
            .initial_max_send_streams(0)
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADERS)
            .max_send_buffer_size(SEND_BUFFER)
            .handshake(io)
            .await
            .map_err(|e| format!("http2: {e}"))?;
        greeted(&mut connection).await?;
        let under_way = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let driver = tasks.spawn(drive(connection, keep_alive, Arc::clone(&under_way)));
        Ok(Channel {
            sender,
            under_way,
            unanswered: Unanswered::default(),
            answered: AtomicBool::new(false),
            driver,
            _tasks: tasks,
        })
    }

    /// Whether a new attempt should be made with it.
    pub(super) fn is_usable(&self) -> bool {
        !self.driver.is_finished() && !self.unanswered.is_gone()
    }

    /// Whether no attempt was ever answered on it.
    pub(super) fn is_new(&self) -> bool {
        !self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone()
    }

    pub(super) fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// An attempt is over; `answered` when the peer said anything about it.
    pub(super) fn end(&self, answered: bool) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        if answered {
            self.answered.store(true, Ordering::Relaxed);
            self.unanswered.answered();
        } else {
            self.unanswered.gave_up();
        }
    }
}

/// Waits for the peer's settings, the first that it says, and for those that allow a call: what takes connections and says
/// nothing is no server.
async fn greeted(connection: &mut Connection<Io, Bytes>) -> Result<(), String> {
    let allowed = poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err("it was closed".to_owned())),
        Poll::Ready(Err(e)) => Poll::Ready(Err(e.to_string())),
        Poll::Pending if connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    });
    allowed.await.map_err(|e| format!("error reading server preface: {e}"))
}

/// Moves the bytes of a connection until it ends or a ping is not answered.
async fn drive(
    mut connection: Connection<Io, Bytes>,
    keep_alive: Option<KeepAlive>,
    under_way: Arc<AtomicUsize>,
) {
    let pings = connection.ping_pong();
    let (Some(settings), Some(pings)) = (keep_alive, pings) else {
        ended(connection.await);
        return;
    };
    tokio::select! {
        result = connection => ended(result),
        () = unanswered_ping(settings, pings, &under_way) => {
            tracing::warn!("a ping was not answered, the connection is given up");
        }
    }
}

fn ended(result: Result<(), h2::Error>) {
    if let Err(e) = result {
        tracing::debug!(error = %e, "connection ended");
    }
}

async fn unanswered_ping(settings: KeepAlive, mut pings: PingPong, under_way: &AtomicUsize) {
    loop {
        pause(settings.time).await;
        if settings.permit_without_stream || under_way.load(Ordering::Relaxed) > 0 {
            let pong = tokio::time::timeout(settings.timeout, pings.ping(Ping::opaque())).await;
            if !matches!(pong, Ok(Ok(_))) {
                return;
            }
        }
    }
}

/// Rests between attempts to connect: 1 s after the first failure, growing to 5 s, each ± 20 %. No longer, because the
/// engine rests between its attempts too.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Option<Instant>,
    error: String,
}

const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(5);

impl Backoff {
    /// How long no attempt should be made, and why.
    pub(super) fn blocked(&self) -> Option<(Duration, &str)> {
        let left = self.until?.checked_duration_since(now()).filter(|left| !left.is_zero())?;
        Some((left, &self.error))
    }

    /// An attempt has failed.
    pub(super) fn failed(&mut self, error: &str) {
        let rest = (FIRST_REST * 2u32.saturating_pow(self.failures.min(8))).min(LONGEST_REST);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now() + rest.mul_f64(jitter()));
        error.clone_into(&mut self.error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_to_five_seconds_and_keep_the_reason() {
        let mut backoff = Backoff::default();
        assert!(backoff.blocked().is_none());
        for _ in 0..50 {
            backoff.failed("refused");
            let (rest, error) = backoff.blocked().expect("blocked");
            assert!(rest <= LONGEST_REST.mul_f64(1.2) && error == "refused");
        }
        assert!(backoff.blocked().is_some_and(|(rest, _)| rest > Duration::from_secs(3)));
    }
}

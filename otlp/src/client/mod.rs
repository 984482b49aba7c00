//! Sending OTLP: one attempt at a time over gRPC or HTTP.
//!
//! A client keeps its connections between attempts and makes new ones when they are lost. It neither retries nor times
//! out: the engine does both, the second by dropping the future, which cancels the request and leaves the client usable.

mod connect;
mod framing;
mod grpc;
mod http;
mod pieces;
mod proxy;
mod response;
mod unanswered;

pub use connect::Target;
pub use grpc::{Balancing, GrpcClient, GrpcSettings, KeepAlive};
#[cfg(feature = "fuzzing")]
pub use http::check::{answer as check_answer, url as check_url};
pub use http::{Connector, Format, HttpClient, HttpSettings};
#[cfg(feature = "fuzzing")]
pub use proxy::check::proxy as check_proxy;

use std::cell::RefCell;
use std::sync::LazyLock;

use tokio::sync::Semaphore;
use weir_component::Failure;
use weir_pdata::Payload;

use crate::encoding::Encoding;

/// How requests are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The encoding.
    pub encoding: Encoding,
    /// Its level, see [`Encoding::compress`].
    pub level: Option<i32>,
}

impl Compression {
    /// None.
    pub const NONE: Compression = Compression { encoding: Encoding::Identity, level: None };
    /// gzip at the level that is cheapest per byte.
    pub const GZIP: Compression = Compression { encoding: Encoding::Gzip, level: None };

    /// `plain` in compressed form behind `head` zero bytes, with no room to spare: it may wait long for its answer. What
    /// takes long is done on a thread for blocking work, so that requests move on meanwhile, and becomes one piece there
    /// when its turn comes, so that what waits for it is not in memory twice.
    async fn apply(self, plain: Plain, head: usize) -> Result<Vec<u8>, Failure> {
        let large = plain.len() > AT_ONCE;
        let compress = move || {
            let mut out = vec![0; head];
            let compressed = plain.read(|plain| self.encoding.compress(plain, self.level, &mut out));
            compressed.map_err(Failure::permanent)?;
            out.shrink_to_fit();
            Ok(out)
        };
        if !large {
            return compress();
        }
        // It is never closed.
        let turn = TURNS.acquire().await;
        #[expect(clippy::disallowed_methods, reason = "awaited here; the request's own deadline bounds it")]
        let ended = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            compress()
        });
        ended.await.unwrap_or_else(|e| Err(Failure::retry(format!("compression was broken off: {e}"))))
    }
}

/// As many large inputs are compressed at once as there are processors that move no requests. More would only take memory:
/// each needs its input in one piece.
static TURNS: LazyLock<Semaphore> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Semaphore::new(processors.div_ceil(2))
});

/// What is compressed.
enum Plain {
    Protobuf(Payload),
    Json(Vec<u8>),
}

impl Plain {
    fn len(&self) -> usize {
        match self {
            Plain::Protobuf(payload) => payload.encoded_len(),
            Plain::Json(text) => text.len(),
        }
    }

    /// Gives all of it in one piece.
    fn read<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        let payload = match self {
            Plain::Protobuf(payload) => payload,
            Plain::Json(text) => return read(text),
        };
        let mut requests = payload.requests();
        match (requests.next(), requests.next()) {
            (None, _) => read(&[]),
            (Some(only), None) => read(only),
            (Some(_), Some(_)) => PIECE.with_borrow_mut(|piece| {
                piece.clear();
                piece.reserve_exact(payload.encoded_len());
                payload.requests().for_each(|request| piece.extend_from_slice(request));
                let result = read(piece);
                if piece.capacity() > KEPT_PIECE {
                    *piece = Vec::new();
                }
                result
            }),
        }
    }
}

thread_local! {
    // Where what is in several pieces becomes one: kept, because memory of that size that comes and goes leaves gaps.
    static PIECE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The most that a thread keeps for that; about a batch of the default size.
const KEPT_PIECE: usize = 4 << 20;

/// Inputs up to this size are compressed in the task of the request: at most about 200 µs.
const AT_ONCE: usize = 64 << 10;

/// The name under which the clients introduce themselves, such as `weir/0.1.0 (linux/x86_64)`.
pub fn user_agent(name: &str, version: &str) -> String {
    format!("{name}/{version} ({}/{})", std::env::consts::OS, std::env::consts::ARCH)
}

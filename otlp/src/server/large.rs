//! Work on large requests, beside the threads that move requests.
//!
//! A thread that decompresses 20 MiB moves nothing else meanwhile, and there are few such threads. What would take more
//! than a few milliseconds is done elsewhere, by as many at once as would have been before, so that what is being read
//! takes no more memory; others wait with what they sent, which is reserved. Everything else is done in place: handing it
//! over would cost small requests more than the work itself.

use bytes::Bytes;
use tokio::sync::Semaphore;
use weir_component::Host;

use crate::encoding::{DecodeError, Encoding};

/// Compressed bytes up to which a request is not large.
const COMPRESSED: usize = 64 << 10;
/// Decompressed bytes up to which that holds, whatever the sender says of them.
const DECOMPRESSED: usize = 1 << 20;

/// Where large requests are worked on.
pub(super) struct Large {
    host: Option<Host>,
    at_once: Semaphore,
}

impl Large {
    /// By the threads of `host` for blocking work; without one all is done in place.
    pub(super) fn new(host: Option<Host>) -> Large {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Large { host, at_once: Semaphore::new((threads / 2).max(1)) }
    }

    /// [`Encoding::decompress`].
    pub(super) async fn decompress(
        &self,
        encoding: Encoding,
        input: Bytes,
        limit: usize,
    ) -> Result<Bytes, DecodeError> {
        if encoding == Encoding::Identity || self.host.is_none() {
            return encoding.decompress(input, limit);
        }
        if input.len() <= COMPRESSED {
            match encoding.decompress(input.clone(), limit.min(DECOMPRESSED)) {
                Err(DecodeError::TooLarge) if limit > DECOMPRESSED => {}
                result => return result,
            }
        }
        let result = self.work(true, move || encoding.decompress(input, limit)).await;
        result.unwrap_or_else(|| Err(DecodeError::Corrupt("reading it failed".to_owned())))
    }

    /// Does `work`, elsewhere when it is large. None when it panicked there.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        is_large: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let Some(host) = self.host.as_ref().filter(|_| is_large) else { return Some(work()) };
        // It is never closed.
        let _turn = self.at_once.acquire().await;
        host.blocking(work).await
    }
}

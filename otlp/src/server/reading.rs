//! From the bytes of a request to its payload.
//!
//! A thread that decompresses 20 MiB moves nothing else meanwhile, and there are few such threads. What would take more
//! than a few milliseconds is done elsewhere, by as many at once as would have been before. Everything else is done in
//! place: handing it over would cost small requests more than the work itself.
//!
//! A large request has one turn, from what was sent to the payload, and waits for it with what was sent. What it becomes
//! can be 300 times as much: it is reserved in the turn, as far as its size is announced before it is made. So there are
//! never more of those that are not reserved than there are turns. The work keeps its turn and its room when the sender
//! does not wait for its end.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use weir_component::{Count, Failure, Host, Reservation};
use weir_pdata::edit::AttributeLimits;
use weir_pdata::json::{self, JsonError};
use weir_pdata::validate::Malformed;
use weir_pdata::{Payload, Signal};

use crate::encoding::{DecodeError, Encoding};

/// Compressed bytes up to which a request is not large.
const COMPRESSED: usize = 64 << 10;
/// Decompressed bytes up to which that holds, whatever the sender says of them.
const DECOMPRESSED: usize = 1 << 20;
/// Bytes of a request, decompressed, up to which it is not large as it is encoded.
const PROTOBUF: usize = 4 << 20;
const JSON: usize = 256 << 10;

/// How a request is encoded.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Format {
    Protobuf,
    Json,
}

/// Why a request was not taken.
pub(super) enum Refused {
    /// It could not be decompressed.
    NotDecompressed(DecodeError),
    /// It is not well formed.
    Malformed(Malformed),
    /// It is not the JSON of its signal.
    NotJson(JsonError),
    /// There is no memory for what it becomes, now or for that much at all.
    NoRoom(Failure),
    /// What the receipt said.
    Failed(Failure),
}

/// A request that has come whole.
pub(super) struct Arrived {
    pub(super) signal: Signal,
    pub(super) format: Format,
    /// How `content` is compressed.
    pub(super) encoding: Encoding,
    /// The most that it may decompress to.
    pub(super) limit: usize,
    /// As it came; it should not be part of a much larger buffer.
    pub(super) content: Bytes,
    /// What is reserved for it and what is held `beside` it. It lasts as long as anything of the request is held.
    pub(super) room: Reservation,
    /// Bytes that it holds beside its content.
    pub(super) beside: usize,
}

/// Reads requests.
pub(super) struct Reader {
    host: Option<Host>,
    attributes: Option<Arc<LimitedAttributes>>,
    at_once: Arc<Semaphore>,
}

/// Attribute limits, and what counts what is beyond them.
#[derive(Debug, Clone, Default)]
pub struct LimitedAttributes {
    /// The limits.
    pub limits: AttributeLimits,
    /// Attributes that were dropped.
    pub dropped: Count,
    /// Texts and byte strings that were cut.
    pub truncated: Count,
}

impl Reader {
    /// Large ones by the threads of `host` for blocking work; without one all is done in place.
    pub(super) fn new(host: Option<Host>, attributes: Option<Arc<LimitedAttributes>>) -> Reader {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Reader { host, attributes, at_once: Arc::new(Semaphore::new((threads / 2).max(1))) }
    }

    /// The payload of a request, which holds what is reserved for it.
    pub(super) async fn read(&self, mut request: Arrived) -> Result<Payload, Refused> {
        let attributes = self.attributes.as_deref();
        let Some(host) = &self.host else { return request.read(attributes) };
        if !request.is_large() && request.decompress_if_small()? && !request.is_large() {
            return request.read(attributes);
        }
        // It is never closed.
        let turn = Arc::clone(&self.at_once).acquire_owned().await;
        let attributes = self.attributes.clone();
        let read = host.blocking(move || {
            let _turn = turn;
            request.read(attributes.as_deref())
        });
        read.await.unwrap_or_else(|| Err(Refused::Failed(Failure::permanent("reading the request failed"))))
    }
}

impl LimitedAttributes {
    fn apply(&self, payload: &mut Payload) {
        let beyond = payload.limit_attributes(self.limits);
        self.dropped.add(beyond.dropped);
        self.truncated.add(beyond.truncated);
    }
}

impl Arrived {
    /// Whether reading it takes more than a few milliseconds, as far as can be seen.
    fn is_large(&self) -> bool {
        match (self.encoding, self.format) {
            (Encoding::Identity, Format::Protobuf) => self.content.len() > PROTOBUF,
            (Encoding::Identity, Format::Json) => self.content.len() > JSON,
            _ => self.content.len() > COMPRESSED || self.announced() > DECOMPRESSED,
        }
    }

    /// The size that it will have, as the sender says; 0 when he does not.
    fn announced(&self) -> usize {
        self.encoding.announced(&self.content).unwrap_or(0).min(self.limit)
    }

    /// Whether it is decompressed now; if not, it is as it was.
    fn decompress_if_small(&mut self) -> Result<bool, Refused> {
        match self.decompress(self.limit.min(DECOMPRESSED)) {
            Err(Refused::NotDecompressed(DecodeError::TooLarge)) if self.limit > DECOMPRESSED => Ok(false),
            done => done.map(|()| true),
        }
    }

    fn decompress(&mut self, limit: usize) -> Result<(), Refused> {
        if self.encoding == Encoding::Identity {
            return Ok(());
        }
        let content = self.encoding.decompress(self.content.clone(), limit);
        self.content = content.map_err(Refused::NotDecompressed)?;
        self.encoding = Encoding::Identity;
        self.fit()
    }

    /// Reserves what its content takes, no more and no less.
    fn fit(&mut self) -> Result<(), Refused> {
        self.room.fit(self.content.len() + self.beside).map_err(Refused::NoRoom)
    }

    fn read(mut self, attributes: Option<&LimitedAttributes>) -> Result<Payload, Refused> {
        self.room.grow(self.announced()).map_err(Refused::NoRoom)?;
        self.decompress(self.limit)?;
        if self.format == Format::Json {
            self.content = json::to_protobuf(self.signal, &self.content).map_err(Refused::NotJson)?;
        }
        self.fit()?;
        let Some(attributes) = attributes else {
            return Payload::from_request(self.signal, self.room.hold(self.content))
                .map_err(Refused::Malformed);
        };
        let mut payload =
            Payload::from_request(self.signal, self.content.clone()).map_err(Refused::Malformed)?;
        attributes.apply(&mut payload);
        self.content = payload.to_bytes();
        self.fit()?;
        let content = self.room.hold(self.content);
        Ok(payload.owned_by(|_| content.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};

    use futures_util::future::BoxFuture;
    use futures_util::poll;
    use tokio::sync::oneshot;
    use weir_component::{Blocking, Budget, Telemetry};
    use weir_pdata::otlp::kv;

    use super::*;

    /// Does work on threads of its own, whoever waits for it, once somebody says so for each.
    struct Threads {
        begun: AtomicUsize,
        released: Arc<std::sync::Mutex<mpsc::Receiver<()>>>,
    }

    impl Blocking for Threads {
        fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
            self.begun.fetch_add(1, Ordering::Relaxed);
            let released = Arc::clone(&self.released);
            let (ended, end) = oneshot::channel();
            std::thread::spawn(move || {
                released.lock().expect("lock").recv().expect("released");
                work();
                ended.send(()).ok();
            });
            Box::pin(async { drop(end.await) })
        }
    }

    fn gzip(content: &[u8]) -> Bytes {
        let mut out = Vec::new();
        Encoding::Gzip.compress(content, None, &mut out).expect("compressed");
        out.into()
    }

    fn arrived(content: Bytes, budget: &Budget) -> Arrived {
        let room = budget.reserve(content.len()).expect("room");
        let (signal, format, encoding) = (Signal::Logs, Format::Json, Encoding::Gzip);
        Arrived { signal, format, encoding, limit: 20 << 20, content, room, beside: 0 }
    }

    #[tokio::test]
    async fn work_keeps_its_turn_and_its_room_when_the_sender_has_left() {
        let (release, released) = mpsc::sync_channel(1000);
        let released = Arc::new(std::sync::Mutex::new(released));
        let threads = Arc::new(Threads { begun: AtomicUsize::new(0), released });
        let blocking = Arc::<Threads>::clone(&threads);
        let reader = Reader::new(Some(Host::new("1.0.0", 0, Telemetry::default(), blocking)), None);
        let turns = reader.at_once.available_permits();
        let large = gzip(&[&b"{}"[..], &vec![b' '; 2 << 20]].concat());
        let budget = Budget::default();
        for _ in 0..turns + 20 {
            let mut reading = Box::pin(reader.read(arrived(large.clone(), &budget)));
            assert!(poll!(&mut reading).is_pending());
        }
        assert_eq!(threads.begun.load(Ordering::Relaxed), turns, "those who waited went without a turn");
        assert_eq!(budget.held(), turns * large.len());
        (0..=turns).for_each(|_| release.send(()).expect("somebody waits"));
        assert!(reader.read(arrived(large, &budget)).await.is_ok(), "turns come back");
        assert_eq!(threads.begun.load(Ordering::Relaxed), turns + 1);
    }

    #[test]
    fn what_a_request_says_it_becomes_is_reserved_before_it_is_made() {
        let budget = Budget::default();
        budget.set_limit(1 << 20);
        let mut damaged = gzip(&vec![b' '; 5 << 20]).to_vec();
        damaged[20] ^= 0xff;
        let damaged = Bytes::from(damaged);
        let no_room = || {
            let refused = arrived(damaged.clone(), &budget).read(None).err();
            let Some(Refused::NoRoom(failure)) = refused else { unreachable!("whatever is in it") };
            failure
        };
        assert!(!no_room().is_retryable(), "there never is");
        budget.set_limit(10 << 20);
        let others = budget.reserve(6 << 20).expect("room");
        assert!(no_room().is_retryable(), "there is when the others are through");
        drop(others);
        let refused = arrived(damaged, &budget).read(None).err();
        assert!(matches!(refused, Some(Refused::NotDecompressed(DecodeError::Corrupt(_)))));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn what_is_cut_away_is_not_held_and_what_is_left_is() {
        let attribute = |text: &str| format!(r#"{{"key": "k", "value": {{"stringValue": "{text}"}}}}"#);
        let records = |text: &str| {
            let (long, short) = (attribute(text), attribute("ab"));
            format!(
                r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [
                    {{"attributes": [{long}, {short}]}}, {{"attributes": [{short}]}}]}}]}}]}}"#
            )
        };
        let budget = Budget::default();
        let limits = AttributeLimits { count: 1, value_length: 3, ..AttributeLimits::default() };
        let attributes = LimitedAttributes { limits, ..LimitedAttributes::default() };
        for (text, left) in [("abc", "abc"), (&"a".repeat(1 << 20), "aaa")] {
            let request = arrived(gzip(records(text).as_bytes()), &budget);
            let payload = request.read(Some(&attributes)).ok().expect("read");
            let records = &payload.decode_logs().resource_logs[0].scope_logs[0].log_records;
            let kept = [("k", left), ("k", "ab")].map(|(key, text)| vec![kv(key, text)]);
            assert_eq!([&records[0].attributes, &records[1].attributes], [&kept[0], &kept[1]]);
            assert_eq!(budget.held(), payload.encoded_len());
            drop(payload);
            assert_eq!(budget.held(), 0);
        }
        assert_eq!((attributes.dropped.get(), attributes.truncated.get()), (2, 1));
    }
}

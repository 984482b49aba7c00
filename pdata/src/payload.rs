//! A payload: validated requests of one signal on their way through the pipelines.
//!
//! # Design
//! OTLP export requests of traces, metrics and logs consist of one repeated field, so the concatenation of two encoded
//! requests is the encoded union of both. A payload is therefore a list of *chunks*, each the bytes of one whole,
//! validated request as it was received. Merging moves chunks, nothing is copied or decoded, and an exporter writes the
//! chunks one after the other. Only profiles, whose dictionary is shared by index, are copied on a merge, so that a payload
//! of them is one chunk; many are merged at once by a [`Gathering`](crate::Gathering).
//!
//! Readers go over [`Payload::requests`] with the views of [`crate::view`].

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::edit::{self, AttributeLimits, Beyond, Editor};
use crate::otlp::{LogsRequest, MetricsRequest, ProfilesRequest, TracesRequest};
use crate::validate::{Malformed, validate};
use crate::{Limit, Signal, profiles, split};

/// Telemetry of one signal as encoded, validated OTLP requests. Cloning copies references, not bytes.
#[derive(Debug, Clone)]
pub struct Payload {
    signal: Signal,
    chunks: Vec<Chunk>,
    items: usize,
    bytes: usize,
}

/// One whole request.
#[derive(Debug, Clone)]
struct Chunk {
    bytes: Bytes,
    items: usize,
    /// Made in this program, and in nobody's account yet ([`Payload::own_made`]).
    made: bool,
}

impl Payload {
    /// A payload without items.
    pub fn empty(signal: Signal) -> Payload {
        Payload { signal, chunks: Vec::new(), items: 0, bytes: 0 }
    }

    /// Validates one encoded export request and takes it as it is.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are not a well-formed request of that signal.
    pub fn from_request(signal: Signal, request: Bytes) -> Result<Payload, Malformed> {
        let items = validate(signal, &request)?;
        Ok(Payload::trusted(signal, request, items))
    }

    /// A request that this program checked itself.
    pub(crate) fn trusted(signal: Signal, bytes: Bytes, items: usize) -> Payload {
        Payload::of(signal, Chunk { bytes, items, made: false })
    }

    /// A request that this program encoded.
    pub(crate) fn made(signal: Signal, bytes: Bytes, items: usize) -> Payload {
        Payload::of(signal, Chunk { bytes, items, made: true })
    }

    fn of(signal: Signal, chunk: Chunk) -> Payload {
        let (items, bytes) = (chunk.items, chunk.bytes.len());
        Payload { signal, chunks: if bytes == 0 { Vec::new() } else { vec![chunk] }, items, bytes }
    }

    /// The kind of telemetry.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// Number of spans, data points, log records or samples.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Encoded size in bytes.
    pub fn encoded_len(&self) -> usize {
        self.bytes
    }

    /// Whether there is no item in it.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// The whole requests in it, in order: each can be read on its own.
    pub fn requests(&self) -> impl Iterator<Item = &Bytes> {
        self.chunks.iter().map(|c| &c.bytes)
    }

    /// Everything as one encoded request; copies only when it was merged from several.
    pub fn to_bytes(&self) -> Bytes {
        match &self.chunks[..] {
            [] => Bytes::new(),
            [only] => only.bytes.clone(),
            several => {
                let mut out = BytesMut::with_capacity(self.bytes);
                several.iter().for_each(|c| out.extend_from_slice(&c.bytes));
                out.freeze()
            }
        }
    }

    /// Adds the items of `other` behind its own. Both must be of the same signal; a payload of another signal is
    /// handed back. Of profiles both are copied: to add many, see [`Gathering`](crate::Gathering).
    ///
    /// # Errors
    /// `other` itself when its signal differs.
    pub fn append(&mut self, other: Payload) -> Result<(), Payload> {
        self.gather(other)?;
        if self.signal == Signal::Profiles {
            *self = profiles::merge(std::mem::replace(self, Payload::empty(Signal::Profiles)));
        }
        Ok(())
    }

    /// As [`append`](Payload::append), but profiles stay requests of their own, which are to be merged before others see them.
    pub(crate) fn gather(&mut self, other: Payload) -> Result<(), Payload> {
        if other.signal != self.signal {
            return Err(other);
        }
        self.items += other.items;
        self.bytes += other.bytes;
        self.chunks.extend(other.chunks);
        Ok(())
    }

    /// Cuts it into parts that are as large as a limit lets them be, in order; one part when it is within the limit. Whole
    /// resources are not copied, and one that is in several parts has its attributes in each. All parts together cost
    /// little more than one.
    pub fn split(self, limit: Limit) -> Vec<Payload> {
        let is_within = match limit {
            Limit::Items(max) => self.items <= max,
            Limit::Bytes(max) => self.bytes <= max,
        };
        if is_within || self.items <= 1 { vec![self] } else { split::split(self, limit) }
    }

    /// Leads `editor` through everything and keeps what it makes of it; see [`edit`](crate::edit).
    pub fn edit<E: Editor>(&mut self, editor: &mut E) {
        for chunk in &mut self.chunks {
            if let Some(new) = edit::rewrite(self.signal, &chunk.bytes, editor) {
                let items = chunk.items.saturating_sub(new.dropped);
                *chunk = Chunk { bytes: new.bytes.into(), items, made: true };
            }
        }
        self.chunks.retain(|c| !c.bytes.is_empty());
        self.items = self.chunks.iter().map(|c| c.items).sum();
        self.bytes = self.chunks.iter().map(|c| c.bytes.len()).sum();
    }

    /// Cuts the attributes of spans, their events and links, and log records down to limits; metrics and profiles stay as
    /// they are. What was beyond the limits is counted in what comes back and, where attributes are gone, in their message.
    pub fn limit_attributes(&mut self, limits: AttributeLimits) -> Beyond {
        let mut all = Beyond::default();
        for chunk in &mut self.chunks {
            if let Some((bytes, beyond)) = edit::limit(self.signal, &chunk.bytes, limits) {
                self.bytes = self.bytes + bytes.len() - chunk.bytes.len();
                (chunk.bytes, chunk.made) = (bytes.into(), true);
                all.dropped += beyond.dropped;
                all.truncated += beyond.truncated;
            }
        }
        all
    }

    /// The same with its bytes in the hands of others: `own` gives back the bytes that it gets, which then carry something
    /// until the last piece of them is gone. Bytes that are not the same are not taken.
    #[must_use]
    pub fn owned_by(mut self, mut own: impl FnMut(Bytes) -> Bytes) -> Payload {
        self.chunks.iter_mut().for_each(|chunk| chunk.own(&mut own));
        self
    }

    /// The same for what was made since it came in, by an edit, a cut or a merge of profiles, and is in nobody's hands yet.
    pub fn own_made(&mut self, mut own: impl FnMut(Bytes) -> Bytes) {
        self.chunks.iter_mut().filter(|chunk| chunk.made).for_each(|chunk| chunk.own(&mut own));
    }

    /// Adds a whole request, which was validated before, behind the others.
    pub(crate) fn push(&mut self, bytes: Bytes, items: usize, made: bool) {
        self.items += items;
        self.bytes += bytes.len();
        self.chunks.push(Chunk { bytes, items, made });
    }

    /// The requests in it with their items, and whether they are made and in nobody's hands.
    pub(crate) fn into_requests(self) -> impl Iterator<Item = (Bytes, usize, bool)> {
        self.chunks.into_iter().map(|chunk| (chunk.bytes, chunk.items, chunk.made))
    }

    /// Decodes everything into owned messages: the rare path, for code that edits deeply.
    pub fn decode_traces(&self) -> TracesRequest {
        TracesRequest::decode(self.to_bytes()).unwrap_or_default()
    }

    /// See [`Payload::decode_traces`].
    pub fn decode_metrics(&self) -> MetricsRequest {
        MetricsRequest::decode(self.to_bytes()).unwrap_or_default()
    }

    /// See [`Payload::decode_traces`].
    pub fn decode_logs(&self) -> LogsRequest {
        LogsRequest::decode(self.to_bytes()).unwrap_or_default()
    }

    /// See [`Payload::decode_traces`].
    pub fn decode_profiles(&self) -> ProfilesRequest {
        ProfilesRequest::decode(self.to_bytes()).unwrap_or_default()
    }
}

impl Chunk {
    fn own(&mut self, own: &mut impl FnMut(Bytes) -> Bytes) {
        let owned = own(self.bytes.clone());
        if std::ptr::eq(&raw const owned[..], &raw const self.bytes[..]) {
            (self.bytes, self.made) = (owned, false);
        }
    }
}

macro_rules! from_owned {
    ($($request:ty => $signal:expr;)*) => {$(
        impl From<$request> for Payload {
            fn from(request: $request) -> Payload {
                let bytes = Bytes::from(request.encode_to_vec());
                // What prost encodes is well formed except for ids of odd lengths, which count as no items.
                let items = validate($signal, &bytes);
                debug_assert!(items.is_ok(), "own telemetry is malformed: {items:?}");
                items.map_or_else(|_| Payload::empty($signal), |n| Payload::made($signal, bytes, n))
            }
        }
    )*};
}
from_owned! {
    TracesRequest => Signal::Traces;
    MetricsRequest => Signal::Metrics;
    LogsRequest => Signal::Logs;
    ProfilesRequest => Signal::Profiles;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn merging_is_concatenation_and_keeps_every_byte() {
        let mut a = Payload::from(testing::logs(3));
        let b = Payload::from(testing::logs(4));
        let mut expected = a.decode_logs();
        expected.resource_logs.extend(b.decode_logs().resource_logs);
        a.append(b).expect("same signal");
        assert_eq!((a.items(), a.requests().count()), (7, 2));
        assert_eq!(a.decode_logs(), expected);
        assert_eq!(a.to_bytes().len(), a.encoded_len());
    }

    #[test]
    fn payloads_of_different_signals_do_not_merge() {
        let mut logs = Payload::from(testing::logs(1));
        assert_eq!(logs.append(Payload::from(testing::traces(2))).expect_err("refused").items(), 2);
        assert_eq!(logs.items(), 1);
    }

    /// How many bytes of it were in nobody's hands until now.
    fn unowned(payload: &mut Payload) -> usize {
        let look = |payload: &mut Payload| {
            let mut unowned = 0;
            payload.own_made(|bytes| {
                unowned += bytes.len();
                bytes
            });
            unowned
        };
        let unowned = look(payload);
        assert_eq!(look(payload), 0, "once");
        unowned
    }

    #[test]
    fn what_is_made_of_a_request_is_in_nobodys_hands_and_its_slices_are_in_those_of_the_request() {
        let received = |request: Payload| {
            let bytes = request.to_bytes();
            Payload::from_request(request.signal(), bytes).expect("well formed")
        };
        let mut whole = received(Payload::from(testing::logs(3)));
        assert_eq!(unowned(&mut whole), 0);
        let bytes = whole.encoded_len();
        for items in [1, 2] {
            let mut parts = whole.clone().split(Limit::Items(items));
            let made: usize = parts.iter_mut().map(unowned).sum();
            assert!(made > bytes / 2, "{made} of {bytes}: resources were cut");
        }
        let limits = AttributeLimits { count: 1, ..AttributeLimits::default() };
        whole.limit_attributes(limits);
        assert_eq!(unowned(&mut whole), whole.encoded_len());
        let mut profiles = received(Payload::from(testing::profiles("a", 2)));
        profiles.append(received(Payload::from(testing::profiles("b", 3)))).expect("same signal");
        assert_eq!(unowned(&mut profiles), profiles.encoded_len());
    }

    #[test]
    fn malformed_requests_do_not_become_payloads() {
        assert!(Payload::from_request(Signal::Traces, Bytes::from_static(&[0x0a, 9, 1])).is_err());
    }
}

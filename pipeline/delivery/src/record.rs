//! A batch as a record on disk: a version, the signal, the context of the sender as protobuf with its length in front,
//! and the OTLP request as it was received. Of what an authenticator found out the names are kept, by which an exporter may tell
//! tenants apart (the Collector keeps none), and what is sent as credentials is not.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use weir_component::{Batch, Context, Record};
use weir_pdata::{Payload, Signal};

/// Version of this format.
const VERSION: u8 = 1;

/// What is kept of who sent it.
#[derive(Clone, PartialEq, Message)]
struct Origin {
    #[prost(message, repeated, tag = "1")]
    metadata: Vec<Entry>,
    #[prost(string, tag = "2")]
    peer: String,
    #[prost(string, tag = "3")]
    transport: String,
    #[prost(message, repeated, tag = "4")]
    auth: Vec<Entry>,
}

/// The name under which `basicauth` has user and password as they were sent.
const CREDENTIALS: &str = "raw";

/// One key of the metadata.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, repeated, tag = "2")]
    values: Vec<String>,
}

/// The record of a batch; the payload is not copied.
pub(crate) fn encode(batch: &Batch) -> Record {
    let context = &batch.context;
    let entry = |(key, values): &(String, Vec<String>)| Entry { key: key.clone(), values: values.clone() };
    let origin = Origin {
        metadata: context.metadata.iter().map(entry).collect(),
        peer: context.peer.map(|peer| peer.to_string()).unwrap_or_default(),
        transport: context.transport.to_owned(),
        auth: context.auth.iter().filter(|(key, _)| key != CREDENTIALS).map(entry).collect(),
    };
    let head = origin.encode_to_vec();
    let mut out = BytesMut::with_capacity(6 + head.len());
    out.put_u8(VERSION);
    out.put_u8(number(batch.payload.signal()));
    out.put_u32_le(u32::try_from(head.len()).unwrap_or(u32::MAX));
    out.put_slice(&head);
    let parts = std::iter::once(out.freeze()).chain(batch.payload.requests().cloned()).collect();
    Record { parts, items: u32::try_from(batch.payload.items()).unwrap_or(u32::MAX) }
}

/// Numbers that never change, whatever the order in the program.
fn number(signal: Signal) -> u8 {
    match signal {
        Signal::Traces => 1,
        Signal::Metrics => 2,
        Signal::Logs => 3,
        Signal::Profiles => 4,
    }
}

/// What [`encode`] was given, for a queue of `signal`.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(crate) fn decode(signal: Signal, record: &Bytes) -> Result<(Payload, Context), String> {
    let mut rest = record.clone();
    if rest.len() < 6 {
        return Err(format!("the record has only {} bytes", rest.len()));
    }
    let (version, of) = (rest.get_u8(), rest.get_u8());
    if version != VERSION {
        return Err(format!("the record has the version {version}, this program reads {VERSION}"));
    }
    if of != number(signal) {
        return Err(format!("the record is not of the signal {signal} but of number {of}"));
    }
    let length = usize::try_from(rest.get_u32_le()).unwrap_or(usize::MAX);
    if length > rest.len() {
        return Err(format!("the head of the record has {length} bytes of {}", rest.len()));
    }
    let origin = Origin::decode(rest.split_to(length)).map_err(|e| format!("the head of the record: {e}"))?;
    let payload = Payload::from_request(signal, rest).map_err(|e| format!("the telemetry: {e}"))?;
    let transport = ["grpc", "http"].into_iter().find(|t| *t == origin.transport).unwrap_or_default();
    let context = Context {
        metadata: origin.metadata.into_iter().map(|e| (e.key, e.values)).collect(),
        peer: origin.peer.parse().ok(),
        transport,
        auth: origin.auth.into_iter().filter(|e| e.key != CREDENTIALS).map(|e| (e.key, e.values)).collect(),
        ..Context::default()
    };
    Ok((payload, context))
}

/// A record that is read is the same when it is written and read again; for tests and for fuzzing.
#[cfg(any(test, feature = "fuzzing"))]
#[expect(clippy::expect_used, reason = "a check that does not hold is a fault")]
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn check(record: &[u8]) {
    let record = Bytes::copy_from_slice(record);
    for signal in Signal::ALL {
        let Ok((payload, context)) = decode(signal, &record) else { continue };
        let context = std::sync::Arc::new(context);
        let batch = Batch { payload, receipt: weir_component::Receipt::unattended(), context };
        let again = encode(&batch).parts.concat().into();
        let (payload, context) = decode(signal, &again).expect("what is written is read");
        assert_eq!((payload.to_bytes(), payload.items()), (batch.payload.to_bytes(), batch.payload.items()));
        assert_eq!(context, *batch.context);
        batch.receipt.settle(Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_component::Receipt;
    use weir_testkit::payload;

    use super::*;

    fn joined(record: &Record) -> Bytes {
        record.parts.concat().into()
    }

    #[test]
    fn a_batch_comes_back_as_it_was_with_all_that_is_known_of_its_sender() {
        let context = Context {
            metadata: vec![("tenant".to_owned(), vec!["a".to_owned(), "ü".to_owned()])],
            peer: "[::1]:4317".parse().ok(),
            transport: "grpc",
            auth: vec![("username".to_owned(), vec!["alice".to_owned()])],
            ..Context::default()
        };
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
            let sent = payload(signal, 7, 30);
            let batch = Batch {
                payload: sent.clone(),
                receipt: Receipt::unattended(),
                context: Arc::new(context.clone()),
            };
            let record = encode(&batch);
            assert_eq!(record.items, 30);
            let (read, back) = decode(signal, &joined(&record)).expect("readable");
            assert_eq!((read.to_bytes(), read.items(), &back), (sent.to_bytes(), 30, &context));
        }
    }

    #[test]
    fn credentials_are_not_written() {
        let secret = "YWxpY2U6c2VjcmV0";
        let auth = vec![
            ("raw".to_owned(), vec![secret.to_owned()]),
            ("username".to_owned(), vec!["alice".to_owned()]),
        ];
        let context = Arc::new(Context { auth, ..Context::default() });
        let batch = Batch { context, ..Batch::unattended(payload(Signal::Logs, 0, 1)) };
        let record = joined(&encode(&batch));
        assert!(!record.windows(secret.len()).any(|window| window == secret.as_bytes()));
        let (_, back) = decode(Signal::Logs, &record).expect("readable");
        assert_eq!(back.auth, [("username".to_owned(), vec!["alice".to_owned()])]);
    }

    #[test]
    fn records_of_the_corpus_are_the_same_when_they_are_written_again() {
        crate::corpus::corpus("queue_record").iter().for_each(|record| check(record));
    }

    #[test]
    fn what_is_not_a_record_is_refused_in_words() {
        let batch = Batch::unattended(payload(Signal::Logs, 0, 1));
        let good = joined(&encode(&batch));
        assert!(decode(Signal::Traces, &good).expect_err("refused").contains("signal"));
        for length in 0..good.len() {
            assert!(decode(Signal::Logs, &good.slice(..length)).is_err() || length == 6, "{length}");
        }
        let mut newer = good.to_vec();
        newer[0] = 9;
        assert!(decode(Signal::Logs, &newer.into()).expect_err("refused").contains("version 9"));
    }
}

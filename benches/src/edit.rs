//! Four edits of every span: one attribute inserted, one changed, one deleted, one renamed. Where the bytes lie, and by the
//! way that it saves.

use weir_pdata::Payload;
use weir_pdata::edit::{Editor, Encoded, Message, Then};
use weir_pdata::otlp::common::v1::any_value::Value;
use weir_pdata::otlp::common::v1::{AnyValue, KeyValue};
use weir_pdata::otlp::kv;
use weir_pdata::otlp::trace::v1::Span;

/// Inserts, updates, deletes and renames one attribute of every item.
struct FourEdits {
    environment: Encoded,
    port: Encoded,
}

impl Editor for FourEdits {
    fn item(&mut self, item: &mut Message<'_, '_>) -> Then {
        let Some(list) = item.attributes() else {
            return Then::Keep;
        };
        if !list.contains("deployment.environment.name") {
            let value = list.encoded(&self.environment);
            list.push("deployment.environment.name", value);
        }
        let port = list.encoded(&self.port);
        list.replace("server.port", port);
        list.remove("http.route");
        if let Some(value) = list.get("http.request.method") {
            list.set("http.method", value);
            list.remove("http.request.method");
        }
        Then::Keep
    }
}

fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

pub(crate) fn on_bytes(payload: &Payload) -> Payload {
    let mut payload = payload.clone();
    payload.edit(&mut FourEdits {
        environment: Encoded::from(&value(Value::StringValue("production".to_owned()))),
        port: Encoded::from(&value(Value::IntValue(443))),
    });
    payload
}

/// The same by decoding to owned messages.
pub(crate) fn on_owned(payload: &Payload) -> Payload {
    let mut request = payload.decode_traces();
    let spans = request.resource_spans.iter_mut().flat_map(|r| &mut r.scope_spans).flat_map(|s| &mut s.spans);
    for Span { attributes, .. } in spans {
        let at = |list: &[KeyValue], key: &str| list.iter().position(|kv| kv.key == key);
        if at(attributes, "deployment.environment.name").is_none() {
            attributes.push(kv("deployment.environment.name", "production"));
        }
        if let Some(i) = at(attributes, "server.port") {
            attributes[i].value = Some(value(Value::IntValue(443)));
        }
        if let Some(i) = at(attributes, "http.route") {
            attributes.remove(i);
        }
        if let Some(i) = at(attributes, "http.request.method") {
            let mut renamed = attributes.remove(i);
            renamed.key = "http.method".to_owned();
            attributes.push(renamed);
        }
    }
    Payload::from(request)
}

#[cfg(test)]
mod tests {
    use weir_pdata::Signal;

    use super::*;
    use crate::sample;

    #[test]
    fn both_ways_give_the_same() {
        let request = sample::request(Signal::Traces, 0, 100);
        let payload = Payload::from_request(Signal::Traces, request.into()).expect("well-formed");
        let (bytes, owned) = (on_bytes(&payload), on_owned(&payload));
        assert_eq!(bytes.decode_traces(), owned.decode_traces());
        assert!(bytes.decode_traces() != payload.decode_traces());
    }
}

//! What a backend says about a request it took. Of the text that it adds no more is kept than of an error's.

use std::fmt;

use prost::Message;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use weir_component::Accepted;

use crate::status::shorten;

/// `Export*ServiceResponse`: the same fields for all signals.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    /// Spans, data points, log records or profiles.
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    message: String,
}

/// Reads an answer in protobuf. One that cannot be read counts as plain success: the backend has accepted.
pub(super) fn from_protobuf(answer: &[u8]) -> Accepted {
    let partial = ExportResponse::decode(answer).ok().and_then(|r| r.partial_success).unwrap_or_default();
    Accepted { rejected: usize::try_from(partial.rejected).unwrap_or(0), message: shorten(&partial.message) }
}

/// An answer in JSON. What else it holds is passed over: as values it would take a hundred times its bytes.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JsonResponse {
    partial_success: Option<JsonPartialSuccess>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JsonPartialSuccess {
    rejected_spans: Count,
    rejected_data_points: Count,
    rejected_log_records: Count,
    rejected_profiles: Count,
    error_message: Option<String>,
}

/// An integer as JSON has those of 64 bits: a number, or one in quotes. What is below zero is none.
#[derive(Default)]
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Count, D::Error> {
        from.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a 64-bit integer as a string or number")
    }

    fn visit_unit<E: Error>(self) -> Result<Count, E> {
        Ok(Count(0))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Count, E> {
        Ok(Count(usize::try_from(value).unwrap_or(usize::MAX)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Count, E> {
        Ok(Count(usize::try_from(value).unwrap_or(0)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Count, E> {
        // 1e3 and 1.0 are integers in JSON.
        Ok(Count(value as usize))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Count, E> {
        self.visit_i64(text.parse().map_err(E::custom)?)
    }
}

/// Reads an answer in JSON, in the same way.
pub(super) fn from_json(answer: &[u8]) -> Accepted {
    let response: JsonResponse = serde_json::from_slice(answer).unwrap_or_default();
    let partial = response.partial_success.unwrap_or_default();
    let rejected = [
        partial.rejected_spans,
        partial.rejected_data_points,
        partial.rejected_log_records,
        partial.rejected_profiles,
    ];
    let rejected = rejected.into_iter().map(|count| count.0).max().unwrap_or(0);
    Accepted { rejected, message: shorten(&partial.error_message.unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::MAX_TEXT;

    fn protobuf(rejected: i64, message: String) -> Vec<u8> {
        ExportResponse { partial_success: Some(PartialSuccess { rejected, message }) }.encode_to_vec()
    }

    #[test]
    fn partial_success_is_read_from_both_formats() {
        let expected = Accepted { rejected: 3, message: "too old".into() };
        assert_eq!(from_protobuf(&protobuf(3, "too old".into())), expected);
        for number in ["3", r#""3""#, "3.0"] {
            let partial =
                format!(r#"{{"rejectedSpans":null,"rejectedDataPoints":{number},"errorMessage":"too old"}}"#);
            let json = format!(r#"{{"partialSuccess":{partial},"more":[{{}}]}}"#);
            assert_eq!(from_json(json.as_bytes()), expected, "{json}");
        }
    }

    #[test]
    fn any_other_answer_is_plain_success() {
        let others = [
            &b""[..],
            b"{}",
            b"null",
            b"\xff\xff",
            br#"{"partialSuccess":{}}"#,
            br#"{"partialSuccess":null}"#,
            br#"{"partialSuccess":{"rejectedSpans":-1}}"#,
            br#"[[0],[0],[0]]"#,
        ];
        for answer in others {
            assert_eq!(from_protobuf(answer), Accepted::default());
            assert_eq!(from_json(answer), Accepted::default());
        }
    }

    #[test]
    fn what_else_is_in_an_answer_in_json_is_passed_over_and_becomes_no_values() {
        // Deeper than values may be.
        let nested = "[".repeat(1000) + &"]".repeat(1000);
        let json = format!(r#"{{"more":{nested},"partialSuccess":{{"rejectedSpans":1}}}}"#);
        assert_eq!(from_json(json.as_bytes()).rejected, 1);
    }

    #[test]
    fn the_text_of_a_partial_success_is_shortened_as_that_of_an_error() {
        let text = "a\n".repeat(5000);
        let json = serde_json::json!({"partialSuccess": {"errorMessage": text}}).to_string();
        for accepted in [from_protobuf(&protobuf(0, text)), from_json(json.as_bytes())] {
            assert_eq!(accepted.message.len(), MAX_TEXT);
            assert!(!accepted.message.contains(char::is_control));
        }
    }
}

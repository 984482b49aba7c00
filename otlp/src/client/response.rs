//! What a backend says about a request it took.

use prost::Message;
use weir_component::Accepted;

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
    Accepted { rejected: usize::try_from(partial.rejected).unwrap_or(0), message: partial.message }
}

/// Reads an answer in JSON, in the same way.
pub(super) fn from_json(answer: &[u8]) -> Accepted {
    let value: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let partial = &value["partialSuccess"];
    let names = ["rejectedSpans", "rejectedDataPoints", "rejectedLogRecords", "rejectedProfiles"];
    let number = |v: &serde_json::Value| v.as_u64().or_else(|| v.as_str()?.parse().ok());
    let rejected = names.iter().find_map(|name| number(&partial[*name])).unwrap_or(0);
    let message = partial["errorMessage"].as_str().unwrap_or_default().to_owned();
    Accepted { rejected: usize::try_from(rejected).unwrap_or(0), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_success_is_read_from_both_formats() {
        let expected = Accepted { rejected: 3, message: "too old".into() };
        let partial = PartialSuccess { rejected: 3, message: "too old".into() };
        let answer = ExportResponse { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(from_protobuf(&answer), expected);
        let json = br#"{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"too old"}}"#;
        assert_eq!(from_json(json), expected);
    }

    #[test]
    fn any_other_answer_is_plain_success() {
        for answer in [&b""[..], b"{}", b"null", b"\xff\xff", br#"{"partialSuccess":{}}"#] {
            assert_eq!(from_protobuf(answer), Accepted::default());
            assert_eq!(from_json(answer), Accepted::default());
        }
    }
}

//! Telemetry to sample.

use weir_pdata::otlp::common::v1::AnyValue;
use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_pdata::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use weir_pdata::otlp::{LogsRequest, TracesRequest, kv, resource, scope};
use weir_pdata::{Payload, Signal};

/// Ids and trace states of many kinds, the same ones each time.
pub(super) fn sampled(signal: Signal) -> Payload {
    let states = [
        "",
        "a=1",
        "ot=th:8",
        "ot=th:c,x=y",
        "ot=rv:80000000000001",
        "ot=rv:ffffffffffffff;th:fff",
        "ot=th:0;k:v",
        "no state",
        "ot=th:123456789abcdef0",
        "  a=1 ,, b=2",
        "ot=rv:00000000000000;th:8",
    ];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let count = 600;
    let id = |n: usize, a: u64, b: u64| {
        if n % 40 == 7 { Vec::new() } else { [a.to_be_bytes(), b.to_be_bytes()].concat() }
    };
    let priority = |n: usize, key: &str| match n % 23 {
        3 => vec![kv(key, 0)],
        5 => vec![kv(key, 1)],
        7 => vec![kv(key, "1.5")],
        9 => vec![kv(key, 50.0)],
        11 => vec![kv(key, 100)],
        _ => Vec::new(),
    };
    if signal == Signal::Traces {
        let spans = (0..count).map(|n| Span {
            trace_id: id(n, next(), next()),
            span_id: (n as u64 + 1).to_be_bytes().to_vec(),
            trace_state: states[n % states.len()].to_owned(),
            name: format!("span {n}"),
            // A Collector writes what is empty out.
            status: Some(Status::default()),
            attributes: priority(n, "sampling.priority"),
            ..Span::default()
        });
        let scope_spans =
            vec![ScopeSpans { scope: Some(scope("", "")), spans: spans.collect(), ..Default::default() }];
        return TracesRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(resource(Vec::new())),
                scope_spans,
                ..Default::default()
            }],
        }
        .into();
    }
    let attributes = [
        vec![],
        vec![kv("sampling.threshold", "8")],
        vec![kv("sampling.randomness", "80000000000001")],
        vec![kv("sampling.threshold", "xyz")],
        vec![kv("sampling.threshold", "c"), kv("sampling.randomness", "10000000000000")],
    ];
    let log_records = (0..count).map(|n| LogRecord {
        trace_id: id(n, next(), next()),
        attributes: [
            priority(n, "priority"),
            attributes[n % 5].clone(),
            vec![kv("key", format!("k{}", next()))],
        ]
        .concat(),
        event_name: format!("record {n}"),
        body: Some(AnyValue::default()),
        ..LogRecord::default()
    });
    let scope_logs = vec![ScopeLogs {
        scope: Some(scope("", "")),
        log_records: log_records.collect(),
        ..Default::default()
    }];
    LogsRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource(Vec::new())),
            scope_logs,
            ..Default::default()
        }],
    }
    .into()
}

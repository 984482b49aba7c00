//! 29, 41: values that are deep, many, large or wrong.

use std::time::Duration;

use weir_pdata::otlp::metrics::v1 as metrics;
use weir_pdata::otlp::{self, MetricsRequest, kv};
use weir_pdata::{Payload, Signal};

use super::hostile::{codes, post, shown};
use super::siege::{Siege, begin};
use super::{Bench, Case, Extra, Outcome};
use crate::agent::{Kind, wait_until};
use crate::http::Client;
use crate::load::PROTOBUF;
use crate::oracle::alone;
use crate::rpc;

pub(crate) const CASES: [Case; 2] = [
    Case {
        number: 29,
        name: "values nested 64 to 1,900,000 levels deep: arrays and key-value lists, protobuf, JSON and gRPC",
        settings: "defaults",
        bar: "64 levels below a value pass, more get 400, over gRPC INTERNAL (13); at most 11 MiB more up to 1,000,000 arrays (a body of 9 MiB), 36 MiB in all (a body of 17.6 MiB)",
        run: nesting,
    },
    Case {
        number: 41,
        name: "a million attributes, a name of 1 MB, a name 10,000 times, NaN, histograms with a million buckets of 2^64 - 1 and with \
               absurd scales, invalid UTF-8",
        settings: "defaults",
        bar: "invalid UTF-8 gets 400, the others pass unchanged; at most 128 MiB more",
        run: attributes,
    },
];

/// What nests in itself: the tag of the list in a value, and those from a value out to such a list.
struct Nest {
    list: u8,
    between: &'static [u8],
}

/// AnyValue.array_value = 5 around ArrayValue.values = 1.
const ARRAYS: Nest = Nest { list: 0x2a, between: &[0x0a] };
/// AnyValue.kvlist_value = 6 around KeyValueList.values = 1 around KeyValue.value = 2.
const LISTS: Nest = Nest { list: 0x32, between: &[0x12, 0x0a] };

/// A request with one record whose body is that many arrays, each in the next.
pub(crate) fn nested(levels: usize) -> Vec<u8> {
    nest(levels, &ARRAYS)
}

/// Lengths are written from the inside out.
fn nest(levels: usize, nest: &Nest) -> Vec<u8> {
    let mut reversed: Vec<u8> = Vec::new();
    let mut wrap = |tag: u8| {
        let mut length = reversed.len();
        let mut varint = Vec::new();
        loop {
            let low = (length & 0x7f) as u8;
            length >>= 7;
            varint.push(if length > 0 { low | 0x80 } else { low });
            if length == 0 {
                break;
            }
        }
        reversed.extend(varint.iter().rev());
        reversed.push(tag);
    };
    for level in 0..levels {
        if level > 0 {
            nest.between.iter().copied().for_each(&mut wrap);
        }
        wrap(nest.list);
    }
    // LogRecord.body = 5, ScopeLogs.log_records = 2, ResourceLogs.scope_logs = 2, resource_logs = 1.
    [0x2a, 0x12, 0x12, 0x0a].into_iter().for_each(&mut wrap);
    reversed.reverse();
    reversed
}

pub(super) fn nested_json(levels: usize) -> String {
    let (open, close) = ("{\"arrayValue\":{\"values\":[".repeat(levels), "]}}".repeat(levels));
    format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"body\":{open}{close}}}]}}]}}]}}")
}

/// The lists of 64 levels below a value, which is the outermost.
const DEEPEST: usize = 65;
/// The gRPC status of what is no OTLP.
const INTERNAL: u16 = 13;

fn nesting(kind: Kind) -> Outcome {
    const JSON: &str = "Content-Type: application/json\r\n";
    let (mut outcome, siege) = begin(kind);
    let bench = &siege.bench;
    // They come without an id.
    bench.oracle.tolerate();
    // Each with the request that it is in protobuf.
    let protobuf = |levels, kind: &Nest| (PROTOBUF, nest(levels, kind), nest(levels, kind));
    let json = |levels| (JSON, nested_json(levels).into_bytes(), nested(levels));
    let mut taken = Vec::new();
    let mut send = |(headers, body, request): (&str, Vec<u8>, Vec<u8>)| {
        let answer = post(bench, headers, &body);
        taken.extend((answer == Some(200)).then_some(request));
        answer
    };
    let good = [protobuf(DEEPEST, &ARRAYS), protobuf(DEEPEST, &LISTS), json(DEEPEST)].map(&mut send);
    let mut heard = Vec::new();
    for levels in [DEEPEST + 1, 10_000, 1_000_000] {
        heard.push(send(protobuf(levels, &ARRAYS)));
    }
    let more = siege.more();
    outcome.see(format!("+{more} MiB up to 1,000,000"));
    outcome.measure(more <= 11, format!("{more} MiB more for 9 MiB"));
    heard.push(send(protobuf(1_900_000, &ARRAYS)));
    for levels in [DEEPEST + 1, 1_000_000] {
        heard.push(send(protobuf(levels, &LISTS)));
    }
    for levels in [DEEPEST + 1, 500_000] {
        heard.push(send(json(levels)));
    }
    let called = [DEEPEST + 1, 400_000].map(|levels| {
        let answer = rpc::export(bench.grpc, &[], &nested(levels));
        taken.extend((answer == Some(0)).then(|| nested(levels)));
        answer
    });
    codes(&mut outcome, &good, |code| code == 200);
    codes(&mut outcome, &heard, |code| code == 400);
    outcome.see(format!("gRPC {}", shown(&called)));
    outcome.require(called == [Some(INTERNAL); 2], "gRPC says something else");
    arrive(&mut outcome, bench, &taken);
    siege.end(outcome, 36)
}

/// A request with one record with these attributes.
pub(super) fn with_attributes(attributes: Vec<otlp::common::v1::KeyValue>) -> Vec<u8> {
    // What is empty is there, so that an agent that writes it changes nothing.
    alone(otlp::logs::v1::LogRecord { body: Some(Default::default()), attributes, ..Default::default() })
}

/// Requires that these records, each alone in a request, arrive as they were sent.
fn arrive(outcome: &mut Outcome, bench: &Bench, sent: &[Vec<u8>]) {
    let missing = || sent.iter().filter(|record| !bench.oracle.has_other(record)).count();
    wait_until(Duration::from_secs(60), || (missing() == 0).then_some(()));
    outcome
        .require(missing() == 0, format!("{} of {} do not arrive as they were sent", missing(), sent.len()));
}

/// Histograms that nobody has measured.
fn absurd_histograms() -> MetricsRequest {
    use metrics::metric::Data;
    const MANY: usize = 1_000_000;
    let explicit = |bounds: usize, buckets: usize| metrics::HistogramDataPoint {
        count: u64::MAX,
        sum: Some(f64::INFINITY),
        bucket_counts: vec![u64::MAX; buckets],
        explicit_bounds: (0..bounds).map(|n| n as f64).collect(),
        ..Default::default()
    };
    let exponential = |scale, offset| metrics::ExponentialHistogramDataPoint {
        count: u64::MAX,
        scale,
        zero_count: u64::MAX,
        negative: Some(Default::default()),
        positive: Some(metrics::exponential_histogram_data_point::Buckets {
            offset,
            bucket_counts: vec![u64::MAX; 1000],
        }),
        ..Default::default()
    };
    // The last one has more bounds than buckets.
    let histogram = metrics::Histogram {
        data_points: vec![explicit(MANY - 1, MANY), explicit(10, 3)],
        aggregation_temporality: 2,
    };
    let exponentials = metrics::ExponentialHistogram {
        data_points: vec![exponential(i32::MAX, i32::MAX), exponential(i32::MIN, i32::MIN)],
        aggregation_temporality: 2,
    };
    let metric =
        |name: &str, data| metrics::Metric { name: name.to_owned(), data: Some(data), ..Default::default() };
    let metrics = vec![
        metric("explicit", Data::Histogram(histogram)),
        metric("exponential", Data::ExponentialHistogram(exponentials)),
    ];
    let scope_metrics =
        vec![metrics::ScopeMetrics { scope: Some(Default::default()), metrics, ..Default::default() }];
    // What is empty is there, so that an agent that writes it changes nothing.
    let resource = Some(otlp::resource::v1::Resource::default());
    MetricsRequest {
        resource_metrics: vec![metrics::ResourceMetrics { resource, scope_metrics, ..Default::default() }],
    }
}

/// Whether histograms are taken and arrive as they were sent.
fn histograms_pass(bench: &Bench) -> bool {
    let sent = absurd_histograms();
    let payload: Payload = sent.clone().into();
    let taken = Client::new(bench.http).post("/v1/metrics", PROTOBUF, &payload.to_bytes()) == Some(200);
    let arrived = || {
        let request = bench.backend.metrics().into_iter().next()?;
        Some(Payload::from_request(Signal::Metrics, request.into()).is_ok_and(|p| p.decode_metrics() == sent))
    };
    taken && wait_until(Duration::from_secs(60), arrived) == Some(true)
}

fn attributes(kind: Kind) -> Outcome {
    let (mut outcome, siege) = Siege::around(Bench::edited(kind, true, Extra::default(), |yaml, _| {
        let metrics = "  pipelines:\n    metrics: {receivers: [otlp], exporters: [otlp_http]}\n";
        yaml.replace("  pipelines:\n", metrics)
    }));
    let bench = &siege.bench;
    bench.oracle.tolerate();
    let many = (0..1_000_000_i64).map(|n| kv(&format!("a{n}"), n)).collect();
    let valid = [
        with_attributes(many),
        with_attributes(vec![kv(&"a".repeat(1_000_000), 1_i64)]),
        with_attributes((0..10_000_i64).map(|n| kv("same", n)).collect()),
        with_attributes(vec![kv("nan", f64::NAN), kv("infinite", f64::INFINITY)]),
    ];
    let heard: Vec<_> = valid.iter().map(|body| post(bench, PROTOBUF, body)).collect();
    // A text of the same length that is none.
    let mut broken = with_attributes(vec![kv("a", "text")]);
    let at = broken.windows(4).position(|w| w == b"text").expect("it is in there");
    broken[at..at + 4].copy_from_slice(&[0xff, 0xfe, 0x80, 0xc0]);
    let refused = post(bench, PROTOBUF, &broken);
    let histograms = histograms_pass(bench);
    codes(&mut outcome, &heard, |code| code == 200);
    arrive(&mut outcome, bench, &valid);
    outcome.see(format!(
        "histograms {}; invalid UTF-8: {}",
        if histograms { "pass" } else { "do not pass" },
        shown(&[refused])
    ));
    outcome.require(histograms, "histograms do not pass unchanged");
    outcome.require(refused == Some(400), "invalid UTF-8 is taken");
    siege.end(outcome, 128)
}

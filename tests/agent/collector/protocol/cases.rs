//! Requests over HTTP, and where the answers differ.

use weir_otlp::encoding::Encoding;

/// A request.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const FROM_SHOP: (&str, &str) = ("Origin", "https://a.shop.example");

/// Case, status of the Collector, status of Weir, reason.
pub(super) const DIFFERENT: &[(&str, u16, u16, &str)] = &[
    ("//v1/logs", 307, 404, "no OTLP sender follows a redirect that its own URL needs"),
    ("JSON \u{feff}{}", 500, 400, "the Collector's message cannot be encoded"),
    ("JSON invalid UTF-8", 500, 400, "the Collector's message cannot be encoded"),
    (r#"record {"timeUnixNano":-1}"#, 500, 400, "the Collector's message cannot be encoded"),
    (r#"record {"flags":-1}"#, 500, 400, "the Collector's message cannot be encoded"),
    (r#"record {"timeUnixNano":1.0}"#, 400, 200, "protobuf's JSON takes whole numbers in any form"),
    (r#"record {"timeUnixNano":1e3}"#, 400, 200, "protobuf's JSON takes whole numbers in any form"),
    (r#"record {"body":{"intValue":1.0}}"#, 400, 200, "protobuf's JSON takes whole numbers in any form"),
    (r#"record {"timeUnixNano":null}"#, 400, 200, "protobuf's JSON takes null as the default"),
    (r#"record {"severityNumber":null}"#, 400, 200, "protobuf's JSON takes null as the default"),
    (r#"record {"traceId":null}"#, 400, 200, "protobuf's JSON takes null as the default"),
    (r#"record {"body":{"stringValue":"\ud800"}}"#, 200, 400, "half a character is no text"),
    ("protobuf invalid UTF-8", 200, 400, "what goes out is valid"),
    ("protobuf nested 70 levels", 200, 400, "at most 64 levels"),
    ("JSON nested 70 levels", 200, 400, "at most 64 levels"),
    ("encoding br, text/plain", 500, 415, "the Collector looks at the encoding first and fails to say so"),
    ("encoding br, GET", 400, 405, "the Collector looks at the encoding first"),
    ("encoding br, unknown path", 400, 404, "the Collector looks at the encoding first"),
    ("150 header fields", 200, 431, "at most 100 over HTTP/1.1"),
    ("too large JSON", 400, 413, "OTLP 1.11 says 413"),
    ("too large protobuf", 400, 413, "OTLP 1.11 says 413"),
    ("too large after gzip", 400, 413, "OTLP 1.11 says 413"),
];

fn case(
    name: impl Into<String>,
    method: &'static str,
    path: &'static str,
    kind: &str,
    body: impl Into<Vec<u8>>,
) -> Case {
    let headers = if kind.is_empty() { Vec::new() } else { vec![("Content-Type", kind.to_owned())] };
    Case { name: name.into(), method, path, headers, body: body.into() }
}

impl Case {
    fn with(mut self, (name, value): (&'static str, &str)) -> Case {
        self.headers.push((name, value.to_owned()));
        self
    }
}

pub(super) fn all() -> Vec<Case> {
    [routes(), json(), records(), protobuf(), encodings(), sizes(), cors()].into_iter().flatten().collect()
}

/// A request with one log record.
fn record(json: &str) -> String {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{json}]}}]}}]}}"#)
}

fn routes() -> Vec<Case> {
    let mut cases = vec![
        case("accepted", "POST", "/v1/logs", JSON, record("{}")),
        case("empty protobuf", "POST", "/v1/logs", PROTOBUF, ""),
        case("GET", "GET", "/v1/logs", JSON, ""),
        case("PUT", "PUT", "/v1/logs", JSON, ""),
        case("OPTIONS", "OPTIONS", "/v1/logs", JSON, ""),
        case("GET text/plain", "GET", "/v1/logs", "text/plain", ""),
        case("/v1/nothing", "POST", "/v1/nothing", JSON, "{}"),
        case("/v1/logs/", "POST", "/v1/logs/", JSON, "{}"),
        case("//v1/logs", "POST", "//v1/logs", JSON, "{}"),
        case("/", "GET", "/", "", ""),
        case("signal without a pipeline", "POST", "/v1/metrics", JSON, "{}"),
        case("query", "POST", "/v1/logs?a=b", JSON, "{}"),
        case("no content type", "POST", "/v1/logs", "", "{}"),
        (0..150).fold(case("150 header fields", "POST", "/v1/logs", JSON, "{}"), |case, _| {
            case.with(("X-A", "1"))
        }),
    ];
    for kind in [
        "text/plain",
        "application/xml",
        "application/grpc",
        "application/protobuf",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/json;",
        "application/json; a",
        "application/json, text/plain",
    ] {
        cases.push(case(format!("content type {kind}"), "POST", "/v1/logs", kind, "{}"));
    }
    cases.push(case("content type with parameter", "POST", "/v1/logs", "application/x-protobuf;x=y", ""));
    cases
}

fn json() -> Vec<Case> {
    let texts = [
        "",
        "{",
        "null",
        "[]",
        "{}",
        "\"\"",
        "1",
        "true",
        "{}garbage",
        "{} {}",
        " \n{}\n",
        "\u{feff}{}",
        "{'a':1}",
        r#"{"resourceLogs":null}"#,
        r#"{"resourceLogs":{}}"#,
        r#"{"resource_logs":[]}"#,
        r#"{"resourceLogs":[null]}"#,
        r#"{"resourceLogs":[1]}"#,
        r#"{"resourceLogs":"x"}"#,
        r#"{"resourceLogs":[],"resourceLogs":[]}"#,
        r#"{"resourceLogs":[],}"#,
        r#"{"unknown":[1,{"a":2}]}"#,
        r#"{"resourceLogs":[{"unknown":1}]}"#,
    ];
    let mut cases: Vec<_> =
        texts.map(|text| case(format!("JSON {text}"), "POST", "/v1/logs", JSON, text)).into();
    cases.push(case("JSON invalid UTF-8", "POST", "/v1/logs", JSON, b"\xff".to_vec()));
    cases
}

fn records() -> Vec<Case> {
    const RECORDS: &str = include_str!("records.txt");
    let logs =
        RECORDS.lines().map(|text| case(format!("record {text}"), "POST", "/v1/logs", JSON, record(text)));
    const SPANS: &str = include_str!("spans.txt");
    let spans = SPANS.lines().map(|text| {
        let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{text}]}}]}}]}}"#);
        case(format!("span {text}"), "POST", "/v1/traces", JSON, body)
    });
    let nested =
        [r#"{"body":"#, &r#"{"arrayValue":{"values":["#.repeat(70), "{}", &"]}}".repeat(70), "}"].concat();
    logs.chain(spans)
        .chain([case("JSON nested 70 levels", "POST", "/v1/logs", JSON, record(&nested))])
        .collect()
}

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length > 127 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

/// A request with one log record, or one span, of these fields.
pub(super) fn protobuf_item(fields: &[u8]) -> Vec<u8> {
    field(1, &field(2, &field(2, fields)))
}

/// A body (`LogRecord.body`) of arrays in arrays.
pub(super) fn nested(levels: usize) -> Vec<u8> {
    let value = (0..levels).fold(field(1, b"x"), |inner, _| field(5, &field(1, &inner)));
    protobuf_item(&field(5, &value))
}

fn protobuf() -> Vec<Case> {
    [
        ("protobuf garbage", "/v1/logs", b"\xff\xff\xff".to_vec()),
        ("protobuf unknown field", "/v1/logs", vec![0x98, 0x06, 0x01]),
        ("protobuf invalid UTF-8", "/v1/logs", protobuf_item(&field(3, b"a\xffb"))),
        ("protobuf id of a wrong length", "/v1/traces", protobuf_item(&field(1, &[1, 2]))),
        ("protobuf nested 70 levels", "/v1/logs", nested(70)),
        ("protobuf nested 60 levels", "/v1/logs", nested(60)),
    ]
    .map(|(name, path, body)| case(name, "POST", path, PROTOBUF, body))
    .into()
}

fn compressed(encoding: Encoding, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encoding.compress(text.as_bytes(), None, &mut out).unwrap();
    out
}

fn encodings() -> Vec<Case> {
    let mut cases = Vec::new();
    let all = [
        (Encoding::Gzip, "gzip"),
        (Encoding::Zlib, "zlib"),
        (Encoding::Zlib, "deflate"),
        (Encoding::Zstd, "zstd"),
        (Encoding::Snappy, "snappy"),
        (Encoding::SnappyFramed, "snappy"),
        (Encoding::SnappyFramed, "x-snappy-framed"),
        (Encoding::Snappy, "x-snappy-framed"),
        (Encoding::Lz4, "lz4"),
    ];
    for (encoding, name) in all {
        let body = compressed(encoding, &record("{}"));
        let of = |what: &str, body: Vec<u8>| {
            case(format!("{what} {encoding:?} as {name}"), "POST", "/v1/logs", JSON, body)
                .with(("Content-Encoding", name))
        };
        cases.push(of("whole", body.clone()));
        cases.push(of("damaged", b"no such thing".to_vec()));
        cases.push(of("half of", body[..body.len() / 2].to_vec()));
        cases.push(of("four bytes of", b"junk".to_vec()));
        let nothing = case(format!("nothing {encoding:?} as {name}"), "POST", "/v1/logs", PROTOBUF, "");
        cases.push(nothing.with(("Content-Encoding", name)));
    }
    for name in ["identity", "GZIP", "br", "gzip, zstd", "compress", ""] {
        let header = ("Content-Encoding", name);
        cases.push(case(format!("encoding {name}"), "POST", "/v1/logs", JSON, record("{}")).with(header));
    }
    let br = ("Content-Encoding", "br");
    cases.push(case("encoding br, protobuf", "POST", "/v1/logs", PROTOBUF, "").with(br));
    cases.push(case("encoding br, text/plain", "POST", "/v1/logs", "text/plain", "").with(br));
    cases.push(case("encoding br, GET", "GET", "/v1/logs", JSON, "").with(br));
    cases.push(case("encoding br, unknown path", "POST", "/v1/nothing", JSON, "{}").with(br));
    cases
}

fn sizes() -> Vec<Case> {
    let long = record(&format!(r#"{{"body":{{"stringValue":"{}"}}}}"#, "x".repeat(100_000)));
    let gzip = compressed(Encoding::Gzip, &long);
    vec![
        case("too large JSON", "POST", "/v1/logs", JSON, long),
        case("too large protobuf", "POST", "/v1/logs", PROTOBUF, vec![b'x'; 100_001]),
        case("too large after gzip", "POST", "/v1/logs", JSON, gzip).with(("Content-Encoding", "gzip")),
    ]
}

fn cors() -> Vec<Case> {
    let preflight = |name: &str, origin: &str, method: &str| {
        case(name, "OPTIONS", "/v1/logs", "", "")
            .with(("Origin", origin))
            .with(("Access-Control-Request-Method", method))
    };
    let (shop, wanted) = (FROM_SHOP.1, "Access-Control-Request-Headers");
    vec![
        preflight("preflight", shop, "POST"),
        preflight("preflight with an allowed header", shop, "POST").with((wanted, "x-a")),
        preflight("preflight with content-type", shop, "POST").with((wanted, "content-type,x-a")),
        preflight("preflight for PUT", shop, "PUT"),
        preflight("preflight for GET", shop, "GET"),
        preflight("preflight of another page", "https://evil.example", "POST"),
        case("preflight of nobody", "OPTIONS", "/v1/logs", "", "")
            .with(("Access-Control-Request-Method", "POST")),
        case("POST of an allowed page", "POST", "/v1/logs", JSON, "{}").with(FROM_SHOP),
        case("POST of another page", "POST", "/v1/logs", JSON, "{}").with(("Origin", "https://evil.example")),
        case("unknown path of an allowed page", "POST", "/nothing", JSON, "{}").with(FROM_SHOP),
    ]
}

//! temp
#![allow(clippy::all, missing_docs)]
use weir_otlp::client::*;
use weir_otlp::encoding::Encoding;
use weir_pdata::otlp::*;
use weir_pdata::{Payload, Signal};
fn logs(n: usize) -> Payload {
    let r = |i: usize| logs::v1::LogRecord { severity_text: format!("some text that is long enough {i}"), attributes: vec![kv("a", i as i64), kv("b", "value")], ..Default::default() };
    LogsRequest { resource_logs: vec![logs::v1::ResourceLogs { resource: Some(resource(vec![kv("service.name", "x")])), scope_logs: vec![logs::v1::ScopeLogs { log_records: (0..n).map(r).collect(), ..Default::default() }], ..Default::default() }] }.into()
}
#[tokio::main]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut total = 0;
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
        let compression = Compression { encoding, level: None };
        let mut s = GrpcSettings::new(Target::parse(&a[1]).unwrap());
        s.compression = compression;
        let c = GrpcClient::new(s).unwrap();
        for n in [1, 10, 1000, 10_000] {
            match c.export(&logs(n)).await { Ok(x) => { total += n; println!("grpc {encoding:?} {n} {x:?}") } Err(e) => println!("grpc {encoding:?} {n} FAILED {e}") }
        }
        for format in [Format::Protobuf, Format::Json] {
            let mut s = HttpSettings::new(&format!("http://{}/v1/logs", a[2]));
            s.compression = compression; s.format = format;
            let c = HttpClient::new(s).unwrap();
            for n in [1, 1000, 10_000] {
                match c.export(&logs(n)).await { Ok(x) => { total += n; println!("http {encoding:?} {format:?} {n} {x:?}") } Err(e) => println!("http FAILED {e}") }
            }
        }
    }
    let c = GrpcClient::new(GrpcSettings::new(Target::parse(&a[1]).unwrap())).unwrap();
    let bad = Payload::empty(Signal::Traces);
    println!("empty: {:?}", c.export(&bad).await);
    println!("sent {total}");
}

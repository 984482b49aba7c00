//! temp
#![allow(clippy::all, missing_docs)]
use weir_otlp::client::*;
use weir_otlp::encoding::Encoding;
use weir_pdata::otlp::*;
use weir_pdata::Payload;
fn logs(n: usize) -> Payload {
    let r = |i: usize| logs::v1::LogRecord { severity_text: format!("some text that is long enough {i} and even more text to make this record about as large as a span"), attributes: (0..10).map(|k| kv(&format!("attribute.{k}"), "value of it")).collect(), ..Default::default() };
    LogsRequest { resource_logs: vec![logs::v1::ResourceLogs { resource: Some(resource(vec![kv("service.name", "x")])), scope_logs: vec![logs::v1::ScopeLogs { log_records: (0..n).map(r).collect(), ..Default::default() }], ..Default::default() }] }.into()
}
#[tokio::main]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n: usize = a[2].parse().unwrap();
    let requests: usize = a[3].parse().unwrap();
    let encoding = Encoding::parse(&a[4]).unwrap();
    let p = logs(n);
    println!("{} bytes", p.encoded_len());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut s = GrpcSettings::new(Target::parse(&a[1]).unwrap());
        s.compression = Compression { encoding, level: None };
        let c = std::sync::Arc::new(GrpcClient::new(s).unwrap());
        for _ in 0..16 {
            let (c, p) = (c.clone(), p.clone());
            tasks.spawn(async move { for _ in 0..requests / 64 { c.export(&p).await.unwrap(); } });
        }
    }
    tasks.join_all().await;
}

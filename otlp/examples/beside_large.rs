//! What small requests wait for while others send large ones: a server with one thread for requests, as the agent has on two
//! processors. `cargo run --release -p weir-otlp --example beside_large`; the figures are in docs/performance.md.
#![expect(clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use weir_component::{Batch, Blocking, Consumer, Host, Output, Outputs, Port, Stop, Telemetry, async_trait};
use weir_otlp::Listener;
use weir_otlp::encoding::Encoding;
use weir_otlp::server::{ServerSettings, serve};
use weir_pdata::Signal;

const RUN: Duration = Duration::from_secs(5);

struct Accepts;

#[async_trait]
impl Consumer for Accepts {
    async fn consume(&self, batch: Batch) {
        batch.receipt.settle(Ok(()));
    }
}

struct Threads(tokio::runtime::Handle);

impl Blocking for Threads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> futures_util::future::BoxFuture<'static, ()> {
        let task = self.0.spawn_blocking(work);
        Box::pin(async move { drop(task.await) })
    }
}

fn main() {
    let json = large_json();
    let compressed = |input: &[u8]| {
        let mut out = Vec::new();
        Encoding::Gzip.compress(input, None, &mut out).expect("compressed");
        out
    };
    let gzip = compressed(&json);
    let bomb = compressed(&vec![0; 19 << 20]);
    println!("| beside | large requests a second | small: p50 | p99 | longest |\n|---|---|---|---|---|");
    for (name, headers, body) in [
        ("nothing", "", Vec::new()),
        ("JSON of 19 MiB", "", json),
        ("the same in gzip", "Content-Encoding: gzip\r\n", gzip),
        ("19 MiB of zeros in gzip", "Content-Encoding: gzip\r\n", bomb),
    ] {
        measure(name, headers, &body);
    }
}

fn large_json() -> Vec<u8> {
    let record = |n: usize| {
        format!(
            r#"{{"timeUnixNano":"17000000000000{n:05}","severityText":"INFO","body":{{"stringValue":"GET /items/{n} took {} ms"}},"attributes":[{{"key":"http.route","value":{{"stringValue":"/items/{{id}}"}}}},{{"key":"n","value":{{"intValue":"{n}"}}}}]}}"#,
            n * 7919 % 1000
        )
    };
    let mut records: Vec<String> = Vec::new();
    let mut size = 0;
    while size < 19 << 20 {
        records.push(record(records.len()));
        size += records.last().map_or(0, String::len) + 1;
    }
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#, records.join(",")).into_bytes()
}

fn measure(name: &str, headers: &str, body: &[u8]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let listener = runtime.block_on(Listener::tcp("127.0.0.1:0")).expect("bound");
    let address = listener.local_addr().expect("an address");
    let blocking = Arc::new(Threads(runtime.handle().clone()));
    let host = Host::new("0", 0, Telemetry::default(), blocking);
    let port =
        Port { signal: Signal::Logs, pipeline: "logs".to_owned(), output: Output::new(Arc::new(Accepts)) };
    let (_running, stop) = Stop::new();
    let settings = settings(host);
    runtime.spawn(serve(listener, settings, Outputs::new(vec![port]), stop));
    let (over, large) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut times = std::thread::scope(|scope| {
        for _ in 0..2 * usize::from(!body.is_empty()) {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).expect("connected");
                while !over.load(Ordering::Relaxed) {
                    post(&mut stream, headers, body);
                    large.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let times = small(address);
        over.store(true, Ordering::Relaxed);
        times
    });
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "| {name} | {:.1} | {:.2} ms | {:.1} ms | {:.0} ms |",
        large.into_inner() as f64 / RUN.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    runtime.shutdown_background();
}

fn settings(host: Host) -> ServerSettings {
    ServerSettings { host: Some(host), ..ServerSettings::default() }
}

/// Times of requests of one record, one every 2 ms.
fn small(address: SocketAddr) -> Vec<Duration> {
    let body = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#;
    let mut stream = TcpStream::connect(address).expect("connected");
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < RUN {
        let sent = Instant::now();
        post(&mut stream, "", body);
        times.push(sent.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    times
}

fn post(stream: &mut TcpStream, headers: &str, body: &[u8]) {
    let head = "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let head = format!("{head}{headers}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).expect("written");
    let (mut answer, mut part) = (Vec::new(), [0; 1024]);
    while !(answer.ends_with(b"}") || answer.ends_with(b"}}")) {
        let read = stream.read(&mut part).expect("an answer");
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..read]);
    }
}

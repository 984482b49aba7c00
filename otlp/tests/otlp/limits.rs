//! What a server takes of its machine at most.

use std::collections::BTreeSet;
use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use weir_component::{Blocking, Budget, Failure, Host, Status, Stop, Stopper, Telemetry};
use weir_otlp::Listener;
use weir_otlp::client::{Compression, GrpcClient, GrpcSettings, HttpClient, HttpSettings, Target};
use weir_otlp::encoding::Encoding;
use weir_otlp::http_server::{self, ServerLimits, text};
use weir_otlp::server::{Protocols, ServerSettings};
use weir_pdata::Signal;

use crate::floods::{HELLO, LOGS, PING, SETTINGS, frame, next_frame};
use crate::support::{
    BESIDE, Server, framed, grpc as raw_grpc, http as http_request, logs_request, noise, sample, serve,
    start, within,
};
use crate::tls::secured_with;

fn grpc(server: &Server, compression: Compression) -> GrpcClient {
    let target = Target::parse(&server.address.to_string()).expect("target");
    GrpcClient::new(GrpcSettings { compression, ..GrpcSettings::new(target) }).expect("client")
}

fn http(server: &Server, compression: Compression) -> HttpClient {
    HttpClient::new(HttpSettings { compression, ..HttpSettings::new(&server.url("/v1/logs")) })
        .expect("client")
}

#[tokio::test]
async fn what_is_held_is_counted_until_the_last_piece_is_gone() {
    let budget = Budget::default();
    let server = start(ServerSettings { budget: budget.clone(), ..ServerSettings::default() }).await;
    let payload = logs_request(1, |_| "x".repeat(100_000)).into();
    for compression in [Compression::NONE, Compression::GZIP] {
        within(grpc(&server, compression).export(&payload)).await.expect("accepted");
        within(http(&server, compression).export(&payload)).await.expect("accepted");
    }
    let held = server.pipeline.payloads().iter().map(|p| BESIDE + p.encoded_len()).sum::<usize>();
    // Connections hold something, too, until they have ended.
    let holds = async |expected: std::ops::Range<usize>| {
        while !expected.contains(&budget.held()) {
            tokio::task::yield_now().await;
        }
    };
    within(holds(held..held + 100)).await;
    server.pipeline.batches.lock().expect("lock").clear();
    assert_eq!(budget.held(), 0);
}

/// Of a server that keeps the headers of requests.
fn with_metadata(protocols: Protocols, budget: &Budget) -> ServerSettings {
    ServerSettings { protocols, include_metadata: true, budget: budget.clone(), ..ServerSettings::default() }
}

#[tokio::test]
async fn metadata_is_held_with_its_request_and_counts() {
    const LENGTH: usize = 10_000;
    let tenant = ("x-tenant", "t".repeat(LENGTH));
    for protocols in [Protocols::Grpc, Protocols::Both] {
        let budget = Budget::default();
        budget.set_limit(LENGTH + 5_000);
        let server = start(with_metadata(protocols, &budget)).await;
        let call = async || {
            let message = framed(false, &sample(Signal::Logs, 1).to_bytes());
            raw_grpc(server.address, LOGS, &[(tenant.0, &tenant.1)], &message).await.1["grpc-status"].clone()
        };
        assert_eq!(within(call()).await, "0");
        assert!((LENGTH..LENGTH + 5_000).contains(&budget.held()), "{}", budget.held());
        assert_eq!(within(call()).await, "14", "two are too much");
        if protocols == Protocols::Both {
            let request = Request::post(server.url("/v1/logs")).header(tenant.0, &tenant.1);
            let request = request.header("content-type", "application/json");
            assert_eq!(within(http_request(request, json(false, 1, 1))).await.0.as_u16(), 503);
        }
        server.pipeline.batches.lock().expect("lock").clear();
        assert_eq!(budget.held(), 0);
    }
}

#[tokio::test]
async fn what_a_request_takes_beside_its_content_counts_so_that_many_small_ones_do_not_pass_the_budget() {
    for (protocols, many) in [(Protocols::Grpc, 200), (Protocols::Both, 80)] {
        let budget = Budget::default();
        let server = start(with_metadata(protocols, &budget)).await;
        let send = async |names: usize| {
            let names: Vec<_> = (0..names).map(|n| format!("x{n}")).collect();
            if protocols == Protocols::Both {
                let request =
                    Request::post(server.url("/v1/logs")).header("content-type", "application/json");
                let request = names.iter().fold(request, |request, name| request.header(name, ""));
                assert!(within(http_request(request, json(false, 1, 1))).await.0.is_success());
            } else {
                let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
                let message = framed(false, &sample(Signal::Logs, 1).to_bytes());
                assert_eq!(
                    within(raw_grpc(server.address, LOGS, &headers, &message)).await.1["grpc-status"],
                    "0"
                );
            }
        };
        send(many).await;
        assert!(budget.held() >= many * 100, "tiny headers: {}", budget.held());
        let before = budget.held();
        for _ in 0..10 {
            send(0).await;
        }
        assert!(budget.held() >= before + 10 * BESIDE, "tiny requests: {}", budget.held());
        server.pipeline.batches.lock().expect("lock").clear();
        assert_eq!(budget.held(), 0);
    }
}

#[tokio::test]
async fn a_request_for_which_there_is_no_memory_may_be_sent_again_later_unless_there_never_is() {
    let budget = Budget::default();
    let server = start(ServerSettings { budget: budget.clone(), ..ServerSettings::default() }).await;
    // 100 KB, of which gzip leaves a few hundred bytes: too much only after decompression.
    let payload = logs_request(1, |_| "x".repeat(100_000)).into();
    let refused = async |failures: &mut Vec<Failure>| {
        for compression in
            [Compression::NONE, Compression::GZIP, Compression { encoding: Encoding::Zstd, level: None }]
        {
            for result in [
                within(grpc(&server, compression).export(&payload)).await,
                within(http(&server, compression).export(&payload)).await,
            ] {
                failures.push(result.expect_err("refused"));
            }
        }
    };
    let (mut later, mut never) = (Vec::new(), Vec::new());
    budget.set_limit(150_000);
    let others = budget.reserve(100_000).expect("room");
    refused(&mut later).await;
    budget.set_limit(50_000);
    drop(others);
    refused(&mut never).await;
    for failure in later {
        assert!(failure.is_retryable() && failure.status() == Some(Status::Unavailable), "{failure}");
        assert!(failure.message().contains("data refused due to high memory usage"), "{failure}");
    }
    for failure in never {
        assert!(!failure.is_retryable(), "{failure}");
        assert!(failure.message().contains("50000 are allowed for all telemetry"), "{failure}");
    }
    assert!(server.pipeline.payloads().is_empty());
    assert_eq!((budget.held(), budget.refused()), (0, 12));
    within(grpc(&server, Compression::NONE).export(&sample(Signal::Logs, 1))).await.expect("accepted");
}

#[tokio::test]
async fn a_request_that_never_fits_is_refused_as_too_large_by_what_it_announces() {
    let budget = Budget::default();
    budget.set_limit(150_000);
    let _others = budget.reserve(100_000).expect("room");
    for protocols in [Protocols::Grpc, Protocols::Both] {
        let settings = ServerSettings { protocols, budget: budget.clone(), ..ServerSettings::default() };
        let server = start(settings).await;
        // It finds that little memory when it has brought less than it may.
        for (length, status, code) in [(100_000, "14", 503), (160_000, "8", 413)] {
            let trailers =
                within(raw_grpc(server.address, LOGS, &[], &framed(false, &vec![0; length]))).await.1;
            assert_eq!(trailers["grpc-status"], status);
            assert!(!trailers.contains_key("grpc-status-details-bin"), "no RetryInfo");
            if protocols == Protocols::Both {
                let request =
                    Request::post(server.url("/v1/logs")).header("content-type", "application/x-protobuf");
                assert_eq!(within(http_request(request, vec![0; length])).await.0.as_u16(), code);
            }
        }
        assert!(server.pipeline.payloads().is_empty());
    }
    assert_eq!(budget.held(), 100_000);
}

#[tokio::test]
async fn a_tls_handshake_that_stalls_is_given_up() {
    let limits = ServerLimits { handshake_timeout: Duration::from_millis(50), ..ServerLimits::default() };
    let (server, _) = secured_with("localhost", limits).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    let mut answer = Vec::new();
    let read = within(stream.read_to_end(&mut answer)).await;
    assert!(read.is_err() || answer.is_empty());
}

#[tokio::test]
async fn an_old_connection_is_left_without_losing_a_request() {
    let limits =
        ServerLimits { max_connection_age: Some(Duration::from_millis(30)), ..ServerLimits::default() };
    let server = start(ServerSettings { limits, ..ServerSettings::default() }).await;
    let client = grpc(&server, Compression::NONE);
    for _ in 0..50 {
        // A request that meets the end of its connection may be sent again, because nobody has worked on it.
        while let Err(failure) = within(client.export(&sample(Signal::Logs, 1))).await {
            assert!(failure.is_retryable(), "{failure}");
        }
        // Long enough for some connections to grow old while nothing and while something is under way.
        drop(tokio::time::timeout(Duration::from_millis(2), std::future::pending::<()>()).await);
    }
    assert_eq!(server.pipeline.payloads().len(), 50);
    let batches = server.pipeline.batches.lock().expect("lock");
    let connections: BTreeSet<_> = batches.iter().map(|(_, context)| context.peer).collect();
    assert!(connections.len() > 1, "{connections:?}");
}

/// Work that waits for leave.
struct Patient {
    begun: AtomicUsize,
    leave: watch::Sender<bool>,
}

impl Blocking for Patient {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let mut leave = self.leave.subscribe();
        Box::pin(async move {
            drop(leave.wait_for(|leave| *leave).await);
            work();
        })
    }
}

fn json(compressed: bool, records: usize, pad: usize) -> Vec<u8> {
    let record = format!(r#"{{"body":{{"stringValue":"{}"}}}}"#, "x".repeat(pad));
    let records = vec![record; records].join(",");
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#).into_bytes();
    let mut out = Vec::new();
    if compressed {
        Encoding::Gzip.compress(&json, None, &mut out).expect("compressed");
    }
    if compressed { out } else { json }
}

#[tokio::test]
async fn large_requests_are_read_elsewhere_while_small_ones_are_answered() {
    let patient = Arc::new(Patient { begun: AtomicUsize::new(0), leave: watch::Sender::new(false) });
    let host = Host::new("1.0.0", 0, Telemetry::default(), Arc::<Patient>::clone(&patient));
    let server = start(ServerSettings { host: Some(host), ..ServerSettings::default() }).await;
    let post = |body: Vec<u8>, is_compressed: bool| {
        let request = Request::post(server.url("/v1/logs")).header("content-type", "application/json");
        let request = if is_compressed { request.header("content-encoding", "gzip") } else { request };
        async move { http_request(request, body).await.0.as_u16() }
    };
    let mut waiting = JoinSet::new();
    // Large as it came; a few bytes that become 2 MiB, then large in its decompressed form too.
    for (body, is_compressed) in [(json(false, 3000, 100), false), (json(true, 20, 100_000), true)] {
        let begun = patient.begun.load(Ordering::Relaxed);
        waiting.spawn(post(body, is_compressed));
        while patient.begun.load(Ordering::Relaxed) == begun && waiting.len() == 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(within(post(json(is_compressed, 1, 1), is_compressed)).await, 200);
    }
    let small = within(grpc(&server, Compression::GZIP).export(&sample(Signal::Logs, 100))).await;
    small.expect("answered");
    assert_eq!(server.pipeline.payloads().len(), 3, "the large ones wait");
    patient.leave.send_replace(true);
    assert_eq!(within(waiting.join_all()).await, [200, 200]);
    assert_eq!(patient.begun.load(Ordering::Relaxed), 2, "each has one turn, from what came to its payload");
    assert_eq!(server.pipeline.payloads().len(), 5);
}

#[tokio::test]
async fn a_large_message_of_grpc_is_read_elsewhere_too_and_what_is_wrong_with_it_is_said() {
    let patient = Arc::new(Patient { begun: AtomicUsize::new(0), leave: watch::Sender::new(true) });
    let host = Host::new("1.0.0", 0, Telemetry::default(), Arc::<Patient>::clone(&patient));
    for protocols in [Protocols::Grpc, Protocols::Both] {
        let host = Some(host.clone());
        let server = start(ServerSettings { protocols, host, ..ServerSettings::default() }).await;
        let begun = patient.begun.load(Ordering::Relaxed);
        let client = grpc(&server, Compression::GZIP);
        let large = logs_request(1, |_| noise(400_000)).into();
        within(client.export(&large)).await.expect("accepted");
        assert_eq!(patient.begun.load(Ordering::Relaxed), begun + 1);
        let bomb = logs_request(1, |_| "x".repeat(5 << 20)).into();
        let refused = within(client.export(&bomb)).await.expect_err("refused");
        assert!(refused.message().contains("after decompression larger than max"), "{refused}");
        assert_eq!(patient.begun.load(Ordering::Relaxed), begun + 2);
        assert_eq!(server.pipeline.payloads().len(), 1);
    }
}

/// What the log says.
#[derive(Clone, Default)]
pub(crate) struct Log(pub(crate) Arc<Mutex<String>>);

impl Log {
    /// What is logged on this thread from now on, until the guard is dropped.
    pub(crate) fn listen() -> (Log, DefaultGuard) {
        // Of one subscriber alone a thread without any would decide that nobody listens to what it is the first to log.
        static ELSEWHERE: Once = Once::new();
        ELSEWHERE.call_once(|| tracing::subscriber::set_global_default(Log::default()).expect("the first"));
        let log = Log::default();
        (log.clone(), tracing::subscriber::set_default(log))
    }
}

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let said = format!("{}={value:?} ", field.name());
        self.0.lock().expect("lock").push_str(&said);
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN && metadata.target().starts_with("weir")
    }
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
        tracing::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}
    fn enter(&self, _: &tracing::Id) {}
    fn exit(&self, _: &tracing::Id) {}
}

/// An address of this machine that is not loopback: the one it would send from. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("bound");
    socket.connect("203.0.113.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_the_log_names_it_once() {
    let Some(own) = own_address() else {
        // Said aloud: connections over loopback are not counted.
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    let (log, _logging) = Log::listen();
    let limits = ServerLimits { max_connections_per_address: 2, ..ServerLimits::default() };
    let listener = Listener::tcp("0.0.0.0:0").await.expect("bound");
    let server = serve(listener, ServerSettings { limits, ..ServerSettings::default() }, &Signal::ALL);
    let connect = || TcpStream::connect((own, server.address.port()));
    let first = connect().await.expect("connected");
    let _second = connect().await.expect("connected");
    for _ in 0..3 {
        let mut closed = connect().await.expect("in the backlog at least");
        assert!(within(closed.read_u8()).await.is_err(), "the server says nothing and closes");
    }
    let said = log.0.lock().expect("lock").clone();
    assert_eq!(said.matches("an address has as many connections as it may").count(), 1, "{said}");
    assert!(said.contains(&format!("address={own} limit=2 closed=1 ")), "{said}");
    drop(first);
    let answered = async {
        // Its place is free once the server has seen it go.
        loop {
            let mut third = connect().await.expect("connected");
            let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            if third.write_all(request).await.is_ok() && third.read_u8().await.is_ok() {
                break;
            }
        }
    };
    within(answered).await;
}

/// A page that says `up`, with what keeps it running.
#[expect(clippy::disallowed_methods, reason = "a test stands in for the engine")]
async fn page(limits: ServerLimits) -> (SocketAddr, Stopper) {
    let listener = Listener::tcp("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let (stopper, stop) = Stop::new();
    let answer = |_: Request<_>, _: &Arc<_>| ready(text(StatusCode::OK, "up"));
    tokio::spawn(http_server::serve(listener, None, limits, stop, answer));
    (address, stopper)
}

/// A connection of HTTP/2 that had its one answer, and what ends with it.
#[expect(clippy::disallowed_methods, reason = "a test stands in for a client")]
async fn asked_once(address: SocketAddr) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let stream = TcpStream::connect(address).await.expect("connected");
    let (mut sender, connection) = within(h2::client::handshake(stream)).await.expect("HTTP/2");
    let over = tokio::spawn(async move { drop(connection.await) });
    let request = Request::get(format!("http://{address}/")).body(()).expect("a request");
    let (answer, _) = sender.send_request(request, true).expect("sent");
    assert_eq!(within(answer).await.expect("an answer").status(), StatusCode::OK);
    (sender, over)
}

#[tokio::test]
async fn a_page_answers_though_others_hold_all_its_places_in_silence() {
    let (log, _logging) = Log::listen();
    let (address, _running) = page(ServerLimits { max_connections: 4, ..ServerLimits::of_pages() }).await;
    let (mut silent, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        silent.push(TcpStream::connect(address).await.expect("connected"));
        asked.push(asked_once(address).await);
        let answer = within(http_request(Request::get(format!("http://{address}/")), Bytes::new())).await;
        assert_eq!(answer.0, StatusCode::OK);
    }
    for mut first in silent.drain(..4) {
        assert_eq!(within(first.read(&mut [0])).await.ok(), Some(0), "it made room");
    }
    let said = log.0.lock().expect("lock").clone();
    assert_eq!(said.matches("the port of a page has as many connections as it may").count(), 1, "{said}");
    assert!(said.contains(&format!("endpoint=\"{address}\" limit=4 ")), "{said}");
}

#[tokio::test]
async fn a_connection_to_a_page_has_few_requests_at_once() {
    let (address, _running) = page(ServerLimits::of_pages()).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(&[HELLO, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("written");
    let mut head = [0; 9];
    within(stream.read_exact(&mut head)).await.expect("a frame");
    assert_eq!(head[3], SETTINGS);
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    within(stream.read_exact(&mut settings)).await.expect("its content");
    // SETTINGS_MAX_CONCURRENT_STREAMS.
    assert!(settings.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 4]), "{settings:?}");
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_cut_off() {
    // No other limit may end it.
    let hour = Duration::from_secs(3600);
    for protocols in [Protocols::Grpc, Protocols::Http, Protocols::Both] {
        let limits = ServerLimits {
            head_timeout: hour,
            ping_interval: Some(Duration::from_millis(20)),
            ping_timeout: Duration::from_millis(20),
            ..ServerLimits::default()
        };
        let server = start(ServerSettings { protocols, limits, ..ServerSettings::default() }).await;
        let mut silent = TcpStream::connect(server.address).await.expect("connected");
        let hello = [HELLO, &frame(SETTINGS, 0, 0, &[])].concat();
        silent.write_all(&hello).await.expect("written");
        while next_frame(&mut silent).await.0 != PING {}
        drop(within(silent.read_to_end(&mut Vec::new())).await);
    }
}

#[tokio::test]
async fn without_keep_alives_http2_too_has_one_request_on_a_connection() {
    let (address, _running) = page(ServerLimits { keep_alive: false, ..ServerLimits::of_pages() }).await;
    let (_sender, over) = asked_once(address).await;
    within(over).await.expect("the server has sent it away");
}

#[tokio::test]
async fn the_log_says_that_a_port_is_full() {
    let (log, _logging) = Log::listen();
    let limits = ServerLimits { max_connections: 1, ..ServerLimits::default() };
    let server = start(ServerSettings { limits, ..ServerSettings::default() }).await;
    let _only = TcpStream::connect(server.address).await.expect("connected");
    let said = async {
        while !log.0.lock().expect("lock").contains("the port has as many connections as it may") {
            tokio::task::yield_now().await;
        }
    };
    within(said).await;
}

//! Load generator and sink for comparing agents: `scripts/bench.sh` starts an agent between the two and divides what the
//! sink counted by the CPU time of the agent alone.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand};
use weir_component::{Batch, Consumer, Output, Outputs, Port, Stop, async_trait};
use weir_otlp::Listener;
use weir_otlp::client::{GrpcClient, GrpcSettings, Target};
use weir_otlp::server::{ServerSettings, serve};
use weir_pdata::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span};
use weir_pdata::otlp::{TracesRequest, kv, resource, scope};
use weir_pdata::{Payload, Signal};

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Takes OTLP over gRPC and HTTP; prints how many spans came when it is interrupted.
    Sink {
        /// Address to listen on.
        endpoint: String,
    },
    /// Sends as fast as the agent takes; prints how many spans it acknowledged.
    Load {
        /// Address of the agent (OTLP/gRPC).
        endpoint: String,
        /// Seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Spans per request.
        #[arg(long, default_value_t = 100)]
        spans: usize,
        /// Connections, one request under way on each.
        #[arg(long, default_value_t = 8)]
        connections: usize,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Sink { endpoint } => sink(&endpoint).await,
        Command::Load { endpoint, seconds, spans, connections } => {
            load(&endpoint, seconds, spans, connections).await
        }
    };
    match ended {
        Ok(count) => {
            println(&count.to_string());
            ExitCode::SUCCESS
        }
        Err(message) => {
            println(&message);
            ExitCode::FAILURE
        }
    }
}

fn println(text: &str) {
    use std::io::Write;
    // A closed stream leaves nobody to tell.
    drop(writeln!(std::io::stdout(), "{text}"));
}

struct Counter(AtomicU64);

#[async_trait]
impl Consumer for Counter {
    async fn consume(&self, batch: Batch) {
        self.0.fetch_add(batch.payload.items() as u64, Ordering::Relaxed);
        batch.receipt.settle(Ok(()));
    }
}

async fn sink(endpoint: &str) -> Result<u64, String> {
    let listener = Listener::tcp(endpoint).await.map_err(|e| e.to_string())?;
    let counter = Arc::new(Counter(AtomicU64::new(0)));
    let shared: Arc<dyn Consumer> = Arc::<Counter>::clone(&counter);
    let port = |signal| Port { signal, pipeline: String::new(), output: Output::new(Arc::clone(&shared)) };
    let outputs = Outputs::new(Signal::ALL.into_iter().map(port).collect());
    let (_running, stop) = Stop::new();
    let settings = ServerSettings { max_message: 64 << 20, ..ServerSettings::default() };
    tokio::select! {
        () = serve(listener, settings, outputs, stop) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(counter.0.load(Ordering::Relaxed))
}

async fn load(endpoint: &str, seconds: u64, spans: usize, connections: usize) -> Result<u64, String> {
    let payload = Payload::from(request(spans));
    let sent = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let client = GrpcClient::new(GrpcSettings::new(Target::parse(endpoint)?))?;
        let (payload, sent) = (payload.clone(), Arc::clone(&sent));
        tasks.spawn(async move {
            loop {
                if client.export(&payload).await.is_ok() {
                    sent.fetch_add(payload.items() as u64, Ordering::Relaxed);
                }
            }
        });
    }
    tokio::time::timeout(Duration::from_secs(seconds), tasks.join_next()).await.ok();
    tasks.abort_all();
    Ok(sent.load(Ordering::Relaxed))
}

/// Spans of about 410 bytes.
fn request(n: usize) -> TracesRequest {
    let span = |i: usize| Span {
        trace_id: vec![1 + (i % 250) as u8; 16],
        span_id: vec![2 + (i % 250) as u8; 8],
        parent_span_id: vec![3; 8],
        name: format!("GET /api/orders/{{id}} {i}"),
        kind: 2,
        start_time_unix_nano: 1_767_225_600_000_000_000 + i as u64,
        end_time_unix_nano: 1_767_225_600_012_000_000 + i as u64,
        attributes: vec![
            kv("http.request.method", "GET"),
            kv("http.route", "/api/orders/{id}"),
            kv("http.response.status_code", 200),
            kv("server.address", "orders.internal.example"),
            kv("server.port", 8443),
            kv("network.protocol.version", "1.1"),
            kv("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101"),
            kv("order.id", format!("ord-{i:012}")),
        ],
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans {
        scope: Some(scope("bench", "1")),
        spans: (0..n).map(span).collect(),
        ..ScopeSpans::default()
    }];
    let resource = Some(resource(vec![kv("service.name", "bench"), kv("host.name", "bench-1")]));
    TracesRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
}

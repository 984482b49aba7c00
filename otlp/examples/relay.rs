//! Takes OTLP on one port and sends it on to another: `relay <listen> [<grpc target>]`.
#![allow(clippy::all, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods, missing_docs)]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_component::*;
use weir_otlp::client::*;
use weir_pdata::Signal;

struct Relay { client: Option<GrpcClient>, items: AtomicU64 }
#[async_trait]
impl Consumer for Relay {
    async fn consume(&self, batch: Batch) {
        self.items.fetch_add(batch.payload.items() as u64, Ordering::Relaxed);
        let outcome = match &self.client { None => Ok(()), Some(c) => c.export(&batch.payload).await.map(drop) };
        batch.receipt.settle(outcome);
    }
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let client = args.get(2).map(|t| {
        let mut s = GrpcSettings::new(Target::parse(t).expect("target"));
        if let Some(c) = args.get(3) { s.compression = weir_otlp::config::compression(match c.as_str() {"none"=>weir_config::net::Compression::None,"zstd"=>weir_config::net::Compression::Zstd,_=>weir_config::net::Compression::Gzip}, 0).expect("c"); }
        GrpcClient::new(s).expect("client") });
    let relay = Arc::new(Relay { client, items: AtomicU64::new(0) });
    let listener = weir_otlp::Listener::tcp(&args[1]).await.expect("bound");
    let output = Output::new(relay.clone());
    let ports = Signal::ALL.map(|signal| Port { signal, pipeline: String::new(), output: output.clone() }).to_vec();
    let (stopper, stop) = Stop::new();
    tokio::spawn(async move { let _ = tokio::signal::ctrl_c().await; stopper.stop(); });
    weir_otlp::server::serve(listener, Default::default(), Outputs::new(ports), stop).await;
    println!("items {}", relay.items.load(Ordering::Relaxed));
}

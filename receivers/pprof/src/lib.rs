//! Scrapes the profiles that Go services serve over HTTP (`net/http/pprof`) and turns them into evidence: how many
//! gRPC clients, connections, streams, HTTP connections and database handles a process holds open, counted exactly by
//! their goroutines, and which lines made them.
//!
//! A target costs a GET for each profile at every interval, over one connection that is kept. What it answers is
//! bounded in size and time, and read off the engine's threads. Redirects to other servers and link-local addresses are
//! refused. Targets do not wait for each other.

mod address;
mod book;
mod budget;
mod client;
mod config;
mod endpoint;
mod error;
mod identity;
mod kinds;
mod series;
mod session;
mod status;
mod target;

use std::sync::{Arc, Mutex};

use futures_util::future::{join_all, select};
use http::HeaderMap;
use tokio::sync::Semaphore;
use weir_component::{
    Acceptance, Build, BuildError, ClientAuth, Failure, Maturity, Receiver, ReceiverContext, ReceiverFactory,
    Stability, async_trait,
};
use weir_config::Options;
use weir_connection::asked::Asked;
use weir_otlp::auth::client_auth;
use weir_otlp::config as shared;
use weir_pdata::Signal;

use book::Book;
use budget::Budget;
use client::Client;
use config::{Config, TargetSettings};
use identity::OwnerLookup;
use session::Tls;
use status::Board;
use target::{Shared, Target};

/// Targets whose profiles are read at once.
const READERS: usize = 2;
/// Answers of the largest size that may be in memory at once.
const ANSWERS: usize = 4;

/// Makes `pprof` receivers.
pub const FACTORY: ReceiverFactory = ReceiverFactory {
    kind: "pprof",
    aliases: &[],
    signals: &[Signal::Metrics],
    stability: Maturity::all(Stability::Development),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

fn create(build: &Build<'_>) -> Result<Box<dyn Receiver>, BuildError> {
    let config: Config = build.checked()?;
    let settings = config.settings().map_err(|e| build.invalid(e))?;
    Ok(Box::new(Pprof { config, settings, clients: Vec::new(), owner: identity::kernel() }))
}

struct Pprof {
    config: Config,
    settings: Vec<TargetSettings>,
    clients: Vec<Client>,
    owner: OwnerLookup,
}

#[async_trait]
impl Receiver for Pprof {
    async fn start(&mut self, cx: &ReceiverContext) -> Result<(), Failure> {
        let limit = self.limit();
        let budget = Budget::new(ANSWERS.saturating_mul(limit));
        for target in &self.settings {
            let auth = client_auth(target.auth.as_ref(), &cx.host)?;
            self.clients.push(client(target, auth, limit, &budget).map_err(Failure::permanent)?);
        }
        Ok(())
    }

    async fn run(mut self: Box<Self>, cx: ReceiverContext) -> Result<(), Failure> {
        // Neither in the start nor where the configuration was refused, as one of this id goes on with others then.
        if !cx.stop.is_requested() {
            let targets = self.settings.iter().map(|target| target.endpoint.authority());
            cx.host.shared::<Asked>().put(&cx.id, targets.collect());
        }
        cx.report_source(self.board().status());
        let clients = std::mem::take(&mut self.clients);
        let stop = cx.stop.clone();
        let shared = Shared {
            table: cx.host.shared(),
            output: cx.outputs.first(Signal::Metrics).cloned(),
            owner: Arc::clone(&self.owner),
            readers: Semaphore::new(READERS),
            board: Mutex::new(self.board()),
            acceptance: Acceptance::default(),
            cx,
        };
        let limit = self.limit();
        let count = u32::try_from(clients.len()).unwrap_or(u32::MAX).max(1);
        let watches = self.settings.iter().zip(clients).enumerate().map(|(i, (settings, client))| {
            let book = Book::new(limit, &self.config.ignore_functions);
            // Spread over the interval, so that neither the network nor the processor gets all at once.
            let delay = settings.interval / count * u32::try_from(i).unwrap_or(0);
            Target::new(i, settings.clone(), client, book).watch(delay, &shared)
        });
        // A scrape that is under way is given up: nothing was taken from anybody.
        select(Box::pin(stop.requested()), join_all(watches)).await;
        Ok(())
    }
}

impl Pprof {
    fn limit(&self) -> usize {
        usize::try_from(self.config.max_body_size).unwrap_or(usize::MAX)
    }

    fn board(&self) -> Board {
        Board::new(self.settings.iter().map(TargetSettings::name))
    }
}

fn client(
    target: &TargetSettings,
    auth: Option<Arc<dyn ClientAuth>>,
    limit: usize,
    budget: &Budget,
) -> Result<Client, String> {
    let tls = match target.endpoint.https {
        true => Some(Tls {
            connector: shared::client_tls(&target.tls)?.connector(&["http/1.1"])?,
            name: shared::server_name(&target.tls),
        }),
        false => None,
    };
    let headers: HeaderMap = shared::headers(&target.headers)?.into_iter().collect();
    Ok(Client::new(target.endpoint.clone(), tls, headers, auth, limit, budget.clone()))
}

#[cfg(test)]
mod tests;

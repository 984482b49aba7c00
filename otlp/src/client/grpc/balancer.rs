//! The connections of a client, and to which of them a call goes.
//!
//! They are made in tasks of their own, so that no call waits for an address that is dead while another one works, and
//! none is lost because the call that needed it was given up.
//!
//! Source: grpc-go's `pick_first` and `round_robin`, and its least time between two questions to the name server.

use std::collections::HashSet;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_component::Failure;

use super::channel::{Backoff, Channel};
use super::{GrpcSettings, unconnected};
use crate::client::connect::{self, CONNECT_TIMEOUT, Target};
use crate::client::proxy::Proxy;
use crate::clock::{now, pause};
use crate::io::Io;

/// How calls are spread over the addresses of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balancing {
    /// All to the first address that answers HTTP/2, the next one being tried beside those that have not answered yet.
    PickFirst,
    /// To all that answer, in turn.
    #[default]
    RoundRobin,
}

/// The least time between two questions for the addresses of a name, unless none is known.
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(30);

/// All connections of a client. Dropping it closes them.
pub(super) struct Balancer {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    wait_for_ready: bool,
}

struct Shared {
    dialler: Dialler,
    /// The name whose addresses are looked up; none when there is one line only.
    name: Option<(String, u16)>,
    state: Mutex<State>,
    /// Something was connected, found or failed.
    changed: Notify,
}

/// How a connection is made.
struct Dialler {
    settings: GrpcSettings,
    proxy: Option<Proxy>,
}

#[derive(Default)]
struct State {
    lines: Vec<Line>,
    turn: usize,
    lookup: Lookup,
}

/// An address, or a name of which the first address that answers is taken.
struct Line {
    target: Target,
    channel: Option<Arc<Channel>>,
    connecting: bool,
    backoff: Backoff,
}

/// The looking up of the name.
#[derive(Default)]
struct Lookup {
    under_way: bool,
    /// A connection was lost since, which may be because the addresses are others now.
    wanted: bool,
    last: Option<Instant>,
    backoff: Backoff,
}

/// What there is for a call.
enum Found {
    Connection(Arc<Channel>),
    /// A task is at work.
    Soon,
    /// Nothing is tried for that time, because of this error.
    Not(Duration, String),
}

impl Balancer {
    pub(super) fn new(settings: &GrpcSettings, proxy: Option<Proxy>) -> Balancer {
        let name = match &settings.target {
            // A proxy looks names up itself.
            Target::Tcp(host, port)
                if proxy.is_none()
                    && settings.balancing == Balancing::RoundRobin
                    && host.parse::<IpAddr>().is_err() =>
            {
                Some((host.clone(), *port))
            }
            _ => None,
        };
        let lines = if name.is_some() { Vec::new() } else { vec![Line::new(settings.target.clone())] };
        let shared = Shared {
            dialler: Dialler { settings: settings.clone(), proxy },
            name,
            state: Mutex::new(State { lines, ..State::default() }),
            changed: Notify::new(),
        };
        Balancer {
            shared: Arc::new(shared),
            tasks: Mutex::default(),
            wait_for_ready: settings.wait_for_ready,
        }
    }

    /// A connection for the next call.
    ///
    /// # Errors
    /// Why there is none, unless the settings say to wait for one.
    pub(super) async fn pick(&self) -> Result<Arc<Channel>, Failure> {
        loop {
            let changed = self.shared.changed.notified();
            match self.look() {
                Found::Connection(channel) => return Ok(channel),
                Found::Soon => changed.await,
                Found::Not(_, error) if !self.wait_for_ready => return Err(unconnected(&error)),
                Found::Not(rest, _) => tokio::select! {
                    () = changed => {}
                    () = pause(rest) => {}
                },
            }
        }
    }

    /// A connection that should not be used again.
    pub(super) fn forget(&self, lost: &Arc<Channel>) {
        let mut state = self.shared.state();
        for line in &mut state.lines {
            if line.channel.take_if(|own| Arc::ptr_eq(own, lost)).is_some() {
                state.lookup.wanted = true;
                return;
            }
        }
    }

    /// Sets to work what has to be, and says what there is.
    fn look(&self) -> Found {
        let mut state = self.shared.state();
        let State { lines, lookup, .. } = &mut *state;
        for line in &mut *lines {
            lookup.wanted |= line.channel.take_if(|channel| !channel.is_usable()).is_some();
            if line.channel.is_none() && !line.connecting && line.backoff.blocked().is_none() {
                line.connecting = true;
                self.work(connect_line(Arc::clone(&self.shared), line.target.clone()));
            }
        }
        if let Some(name) = &self.shared.name
            && lookup.is_due(lines.is_empty())
        {
            lookup.under_way = true;
            self.work(look_up(Arc::clone(&self.shared), name.clone()));
        }
        state.found()
    }

    fn work(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn found(&mut self) -> Found {
        let (lines, turn) = (&self.lines, self.turn);
        let ready = (0..lines.len())
            .map(|step| turn.wrapping_add(step) % lines.len())
            .find_map(|place| Some((place, lines[place].channel.clone()?)));
        if let Some((place, channel)) = ready {
            self.turn = place + 1;
            return Found::Connection(channel);
        }
        if self.lookup.under_way || self.lines.iter().any(|line| line.connecting) {
            return Found::Soon;
        }
        let backoffs = self.lines.iter().map(|line| &line.backoff).chain([&self.lookup.backoff]);
        let rests = backoffs.filter_map(Backoff::blocked).map(|(rest, error)| (rest, error.to_owned()));
        // Between the look and now a rest may have ended: the next look tries again.
        let (rest, error) = rests.min().unwrap_or_default();
        if error.is_empty() {
            Found::Not(rest, "not connected yet".to_owned())
        } else {
            Found::Not(rest, error)
        }
    }

    /// The addresses of the name as they are now; connections to those that stay are kept.
    fn set(&mut self, targets: Vec<Target>) {
        let mut old = std::mem::take(&mut self.lines);
        self.lines = targets
            .into_iter()
            .map(|target| match old.iter().position(|line| line.target == target) {
                Some(place) => old.swap_remove(place),
                None => Line::new(target),
            })
            .collect();
    }
}

impl Line {
    fn new(target: Target) -> Line {
        Line { target, channel: None, connecting: false, backoff: Backoff::default() }
    }
}

impl Lookup {
    fn is_due(&self, nothing_known: bool) -> bool {
        let lately = self.last.is_some_and(|last| last.elapsed() < BETWEEN_QUESTIONS);
        !self.under_way && self.backoff.blocked().is_none() && (nothing_known || (self.wanted && !lately))
    }
}

async fn connect_line(shared: Arc<Shared>, target: Target) {
    let connected = guarded(shared.dialler.connect(&target)).await;
    {
        let mut state = shared.state();
        let State { lines, lookup, .. } = &mut *state;
        // An address that has gone meanwhile has no line; its connection is closed.
        if let Some(line) = lines.iter_mut().find(|line| line.target == target) {
            line.connecting = false;
            match connected {
                Ok(channel) => {
                    line.channel = Some(Arc::new(channel));
                    line.backoff = Backoff::default();
                }
                Err(error) => {
                    line.backoff.failed(&error);
                    lookup.wanted = true;
                }
            }
        }
    }
    shared.changed.notify_waiters();
}

async fn look_up(shared: Arc<Shared>, (host, port): (String, u16)) {
    let asked = async {
        let found = Target::Tcp(host.clone(), port).addresses().await.map_err(|e| e.to_string())?;
        if found.is_empty() { Err(connect::no_address().to_string()) } else { Ok(found) }
    };
    let answer = guarded(asked).await;
    {
        let mut state = shared.state();
        state.lookup.under_way = false;
        state.lookup.last = Some(now());
        match answer {
            Ok(found) => {
                let mut seen = HashSet::new();
                state.set(found.into_iter().filter(|target| seen.insert(target.clone())).collect());
                state.lookup.wanted = false;
                state.lookup.backoff = Backoff::default();
            }
            Err(error) => state.lookup.backoff.failed(&format!("dial tcp: lookup {host}: {error}")),
        }
    }
    shared.changed.notify_waiters();
}

/// The result within the longest time; a panic is a failure like any other, so that nobody waits for ever.
async fn guarded<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match tokio::time::timeout(CONNECT_TIMEOUT, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err("connecting ended by a panic".to_owned()),
        Err(_) => Err(format!("no connection within {CONNECT_TIMEOUT:?}")),
    }
}

impl Dialler {
    async fn connect(&self, target: &Target) -> Result<Channel, String> {
        match &self.proxy {
            Some(proxy) => self.speak(proxy.tunnel(target).await?).await,
            None => {
                let addresses = target.addresses().await.map_err(|e| connect::dial_error(target, &e))?;
                let none = connect::dial_error(target, &connect::no_address());
                connect::first(addresses, |address| self.reach(address), none).await
            }
        }
    }

    async fn reach(&self, address: Target) -> Result<Channel, String> {
        self.speak(connect::connect(&address, None).await?).await
    }

    async fn speak(&self, io: Io) -> Result<Channel, String> {
        let settings = &self.settings;
        let io = match &settings.tls {
            None => io,
            Some(tls) => {
                let name = settings.server_name.as_deref().unwrap_or(settings.target.host());
                connect::secure(io, tls, name).await?
            }
        };
        Channel::open(io, settings.keep_alive).await
    }
}

#[cfg(test)]
mod tests;

//! One target: asked at every interval, whatever the others do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::Semaphore;
use weir_component::{Acceptance, Output, ReceiverContext};
use weir_connection::process::ProcessInfo;
use weir_connection::publish::{self, Origin};
use weir_connection::table::ConnectionTable;
use weir_pdata::Payload;
use weir_pdata::otlp::MetricsRequest;

use crate::book::{Answers, Book, Reading};
use crate::client::{Answer, Client};
use crate::config::{ProfileName, TargetSettings};
use crate::error::FetchError;
use crate::identity::{self, OwnerLookup};
use crate::status::{Board, Outcome};

/// What all targets of a receiver share.
pub(crate) struct Shared {
    pub(crate) cx: ReceiverContext,
    pub(crate) table: Arc<ConnectionTable>,
    pub(crate) output: Option<Output>,
    pub(crate) owner: OwnerLookup,
    /// Profiles that are read at once: reading needs a multiple of an answer's size.
    pub(crate) readers: Semaphore,
    pub(crate) board: Mutex<Board>,
    pub(crate) acceptance: Acceptance,
}

/// How long a scrape waits to hear what becomes of what it measured.
const PATIENCE: Duration = Duration::from_secs(1);

/// A target and what is known of it.
pub(crate) struct Target {
    index: usize,
    settings: TargetSettings,
    client: Client,
    book: Book,
    process: Option<Process>,
}

/// The process that answers.
struct Process {
    /// Number of the connection on which it was found.
    connection: u64,
    info: ProcessInfo,
    /// When it was first seen, Unix ns.
    since: u64,
}

/// Profiles that came, and those that did not.
#[derive(Default)]
struct Scrape {
    answers: Answers,
    /// When the goroutines came, Unix ns.
    time: u64,
    problems: Vec<(ProfileName, FetchError)>,
}

impl Target {
    pub(crate) fn new(index: usize, settings: TargetSettings, client: Client, book: Book) -> Target {
        Target { index, settings, client, book, process: None }
    }

    /// Scrapes at every interval, `delay` after the others begin. Never ends.
    pub(crate) async fn watch(mut self, delay: Duration, shared: &Shared) {
        let clock = &shared.cx.clock;
        let mut next = clock.now() + self.settings.delay + delay;
        loop {
            clock.sleep_until(next).await;
            let outcome = self.round(shared).await;
            self.report(outcome, shared);
            // A scrape that took longer than the interval does not make the next ones come in a burst.
            next = (next + self.settings.interval).max(clock.now());
        }
    }

    /// One scrape: asks, reads, publishes.
    async fn round(&mut self, shared: &Shared) -> Outcome {
        let Scrape { answers, time, mut problems } = self.scrape(shared).await;
        if !answers.contains_key(&ProfileName::Goroutine) {
            self.client.close();
            return outcome(problems, &self.settings);
        }
        self.identify(time, shared).await;
        let Some(reading) = self.read(answers, shared).await else {
            return Outcome::Failed(FetchError::Bug.to_string());
        };
        let Reading { points, stacks, problems: unread } = reading;
        problems.extend(unread);
        if let (Some((point, series)), Some(process)) = (points, &self.process) {
            shared.table.put_stacks(&process.info, time, stacks);
            let metrics =
                publish::metrics(&process.info, Origin::Profile, time, process.since, &series, &point);
            let payload = Payload::from(MetricsRequest { resource_metrics: vec![metrics] });
            if let Some(output) = &shared.output {
                let until = shared.cx.clock.now() + PATIENCE;
                shared.acceptance.hand(output, payload, &shared.cx.clock, until).await;
            }
        }
        outcome(problems, &self.settings)
    }

    /// Asks for the profiles, one after the other. Where the target as a whole does not answer it is not asked on.
    async fn scrape(&mut self, shared: &Shared) -> Scrape {
        let mut scrape = Scrape::default();
        for name in self.settings.profiles.clone() {
            // Both profiles have the numbers of both; they differ in which is shown by default.
            if name == ProfileName::Allocs && scrape.answers.contains_key(&ProfileName::Heap) {
                continue;
            }
            match self.ask(name, shared).await {
                Ok(answer) => {
                    if name == ProfileName::Goroutine {
                        scrape.time = shared.cx.clock.unix_nanos();
                    }
                    scrape.answers.insert(name, answer);
                }
                // Only a service with the companion module has it.
                Err(FetchError::Absent) if name == ProfileName::ClientConn => {}
                Err(FetchError::Absent) if name == ProfileName::GoroutineLeak => {
                    scrape.problems.push((name, FetchError::NoLeakProfile));
                }
                Err(error) => {
                    let stop = name == ProfileName::Goroutine || error.is_of_target();
                    scrape.problems.push((name, error));
                    if stop {
                        break;
                    }
                }
            }
        }
        scrape
    }

    async fn ask(&mut self, name: ProfileName, shared: &Shared) -> Result<Answer, FetchError> {
        let path = format!("{}/{}", self.settings.path, name.as_str());
        let timeout = self.settings.timeout;
        let time_is_up = shared.cx.clock.sleep(timeout);
        match select(Box::pin(self.client.get(&path)), time_is_up).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(FetchError::Timeout(timeout)),
        }
    }

    /// Finds out which process answers, when there is a new connection. Of another one nothing is compared with what
    /// was before.
    async fn identify(&mut self, now: u64, shared: &Shared) {
        let (connection, ends) = self.client.connection();
        if self.process.as_ref().is_some_and(|p| p.connection == connection) {
            return;
        }
        let owner = match ends.and_then(|ends| ends.local_listener()) {
            Some(address) => {
                let lookup = Arc::clone(&shared.owner);
                shared.cx.host.blocking(move || lookup(address)).await.flatten()
            }
            None => None,
        };
        let info = identity::named(owner, &self.settings);
        match &mut self.process {
            Some(process) if process.info.key == info.key => process.connection = connection,
            other => {
                if let Some(old) = other.replace(Process { connection, info, since: now }) {
                    self.book.forget();
                    shared.table.put_stacks(&old.info, now, Vec::new());
                }
            }
        }
    }

    /// Reads the profiles off the engine's threads; none when that panicked, and what was remembered is lost.
    async fn read(&mut self, answers: Answers, shared: &Shared) -> Option<Reading> {
        let _turn = shared.readers.acquire().await.ok();
        let mut book = self.book.take();
        let (book, reading) = shared
            .cx
            .host
            .blocking(move || {
                let reading = book.read(answers);
                (book, reading)
            })
            .await?;
        self.book = book;
        Some(reading)
    }

    /// Says how it went, in the log when that is new.
    fn report(&self, outcome: Outcome, shared: &Shared) {
        let id = &shared.cx.id;
        let (line, status) = {
            let mut board = shared.board.lock().unwrap_or_else(PoisonError::into_inner);
            let line = board.scraped(self.index, shared.cx.clock.unix_nanos(), outcome);
            (line, board.status())
        };
        let status = shared.acceptance.told_in(status, &shared.cx.clock);
        shared.cx.report_source(status);
        match line {
            Some(line) if line.warning => {
                tracing::warn!(otelcol.component.id = %id, otelcol.component.kind = "receiver", "{}", line.text);
            }
            Some(line) => {
                tracing::info!(otelcol.component.id = %id, otelcol.component.kind = "receiver", "{}", line.text);
            }
            None => {}
        }
    }
}

/// What to say of a scrape with these problems.
fn outcome(problems: Vec<(ProfileName, FetchError)>, settings: &TargetSettings) -> Outcome {
    let say =
        |(name, error): &(ProfileName, FetchError)| format!("{}/{}: {error}", settings.path, name.as_str());
    match problems.iter().find(|(name, _)| *name == ProfileName::Goroutine) {
        // It would be the same for every profile.
        Some((_, error)) if error.is_of_target() => Outcome::Failed(error.to_string()),
        Some(problem) => Outcome::Failed(say(problem)),
        None if problems.is_empty() => Outcome::Complete,
        None => Outcome::Partial(problems.iter().map(say).collect::<Vec<_>>().join("; ")),
    }
}

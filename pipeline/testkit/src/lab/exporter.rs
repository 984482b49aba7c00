//! An exporter that answers as its script says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use weir_component::{
    Accepted, Build, BuildError, Clock, Context, Exporter, ExporterFactory, ExporterParts, Failure, Host,
    Maturity, Options, Stability, async_trait,
};
use weir_pdata::{Payload, Signal};

use super::{Event, Lab};

/// Makes exporters of the type `test` that follow the scripts of their [`Lab`].
pub const EXPORTER: ExporterFactory = ExporterFactory {
    kind: "test",
    aliases: &[],
    signals: &[Signal::Traces, Signal::Metrics, Signal::Logs],
    stability: Maturity::all(Stability::Development),
    metadata: "",
    options: Options::none(),
    create,
};

/// How an exporter answers one attempt.
#[derive(Debug, Clone)]
pub enum Reply {
    /// It takes everything.
    Accept,
    /// It takes all but the first so many items.
    Partial(usize),
    /// The attempt fails.
    Fail(Failure),
    /// It never answers.
    Hang,
    /// It panics.
    Panic,
    /// It answers later.
    After(Duration, Box<Reply>),
    /// It cannot start, with this text: an answer to [`Exporter::start`], asked for with an empty payload.
    RefuseStart(String),
    /// It panics, also as an answer to [`Exporter::start`].
    PanicAtStart,
}

pub(super) type Script = Arc<dyn Fn(usize, &Payload) -> Reply + Send + Sync>;

/// An exporter that answers as its script says and writes all of it into the journal.
pub struct Scripted {
    id: String,
    lab: Arc<Lab>,
    clock: Clock,
    script: Script,
    attempts: AtomicUsize,
}

impl Scripted {
    /// The exporter `id`. `script` is given the number of the attempt, counted from 0 over all payloads, and the
    /// payload.
    pub fn new(
        id: &str,
        lab: Arc<Lab>,
        clock: Clock,
        script: impl Fn(usize, &Payload) -> Reply + Send + Sync + 'static,
    ) -> Scripted {
        Scripted { id: id.to_owned(), lab, clock, script: Arc::new(script), attempts: AtomicUsize::new(0) }
    }

    fn record(&self, event: Event) {
        self.lab.record(self.clock.now(), &self.id, event);
    }

    fn accept(&self, payload: &Payload, rejected: usize) -> Accepted {
        let rejected: Vec<_> = crate::ids(payload).into_iter().take(rejected).collect();
        let accepted = Accepted { rejected: rejected.len(), message: String::new() };
        self.record(Event::Delivered { payload: payload.clone(), rejected });
        accepted
    }
}

fn create(build: &Build<'_>, _: Signal) -> Result<ExporterParts, BuildError> {
    let lab: Arc<Lab> = build.host.shared();
    let (delivery, script) = lab.script(build, |state, id| state.exporters.get(id).cloned())?;
    let exporter = Scripted::new(build.id, lab, build.clock.clone(), move |n, payload| script(n, payload));
    Ok(ExporterParts { exporter: Arc::new(exporter), delivery })
}

#[async_trait]
impl Exporter for Scripted {
    #[expect(clippy::panic, reason = "what a panic does to the others is what some tests look at")]
    async fn start(&self, _: &Host) -> Result<(), Failure> {
        self.record(Event::Started);
        match (self.script)(0, &Payload::empty(Signal::Logs)) {
            Reply::RefuseStart(text) => Err(Failure::permanent(text)),
            Reply::PanicAtStart => panic!("a test exporter panics"),
            _ => Ok(()),
        }
    }

    #[expect(clippy::panic, reason = "what a panic does to the others is what some tests look at")]
    async fn export(&self, payload: &Payload, _: &Context) -> Result<Accepted, Failure> {
        let ids = crate::ids(payload);
        self.record(Event::Came { port: 0, ids: ids.clone() });
        let mut reply = (self.script)(self.attempts.fetch_add(1, Ordering::Relaxed), payload);
        loop {
            match reply {
                Reply::Accept => return Ok(self.accept(payload, 0)),
                Reply::Partial(rejected) => return Ok(self.accept(payload, rejected)),
                Reply::Fail(failure) => {
                    self.record(Event::Failed { ids });
                    return Err(failure);
                }
                Reply::Hang => std::future::pending::<()>().await,
                Reply::Panic | Reply::PanicAtStart => panic!("a test exporter panics"),
                Reply::After(wait, then) => {
                    self.clock.sleep(wait).await;
                    reply = *then;
                    continue;
                }
                Reply::RefuseStart(text) => return Err(Failure::permanent(text)),
            }
        }
    }

    async fn stop(&self) {
        self.record(Event::Ended);
    }
}

//! A receiver with clients that send parcels.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use weir_component::{
    Batch, Build, BuildError, Failure, Maturity, Options, Outputs, Receipt, Receiver, ReceiverContext,
    ReceiverFactory, SourceStatus, Stability, async_trait,
};
use weir_pdata::Signal;

use super::{Event, Lab, shown};

/// Makes receivers of the type `test` that follow the scripts of their [`Lab`].
pub const RECEIVER: ReceiverFactory = ReceiverFactory {
    kind: "test",
    aliases: &[],
    signals: &[Signal::Traces, Signal::Metrics, Signal::Logs],
    stability: Maturity::all(Stability::Development),
    metadata: "",
    options: Options::none(),
    create,
};

/// What a test receiver does.
#[derive(Debug, Clone, Default)]
pub struct ReceiverScript {
    /// Clients, all at the same time; each sends its parcels one after the other.
    pub clients: Vec<Vec<Parcel>>,
    /// How long its start takes.
    pub starts_for: Duration,
    /// It cannot start, with this text.
    pub fails_to_start: Option<String>,
    /// It panics in its start.
    pub panics_at_start: bool,
    /// It fails after its clients are done, with this text.
    pub fails: Option<String>,
    /// It never ends, whatever it is told.
    pub ignores_stop: bool,
    /// Its clients leave without waiting for the outcome of what they sent.
    pub leaves: bool,
    /// It panics after its clients are done.
    pub panics: bool,
}

/// A batch that a client sends.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// Time after the one before was handed over.
    pub after: Duration,
    /// Signal.
    pub signal: Signal,
    /// First id.
    pub first: i64,
    /// Number of items.
    pub items: usize,
}

fn create(build: &Build<'_>) -> Result<Box<dyn Receiver>, BuildError> {
    let lab: Arc<Lab> = build.host.shared();
    let script = lab.script(build, |state, id| state.receivers.get(id).cloned())?;
    Ok(Box::new(TestReceiver { lab, script }))
}

struct TestReceiver {
    lab: Arc<Lab>,
    script: ReceiverScript,
}

#[async_trait]
impl Receiver for TestReceiver {
    #[expect(clippy::panic, reason = "what a panic does to the others is what some tests look at")]
    async fn start(&mut self, cx: &ReceiverContext) -> Result<(), Failure> {
        self.lab.record(cx.clock.now(), &cx.id, Event::Started);
        cx.host.report_source(&cx.id, SourceStatus { state: "waiting", ..SourceStatus::default() });
        cx.clock.sleep(self.script.starts_for).await;
        if self.script.panics_at_start {
            panic!("a test receiver panics");
        }
        self.script.fails_to_start.clone().map_or(Ok(()), |text| Err(Failure::permanent(text)))
    }

    #[expect(clippy::panic, reason = "what a panic does to the others is what some tests look at")]
    async fn run(self: Box<Self>, cx: ReceiverContext) -> Result<(), Failure> {
        let TestReceiver { lab, script } = *self;
        join_all(script.clients.into_iter().map(|parcels| client(parcels, script.leaves, &lab, &cx))).await;
        if script.panics {
            panic!("a test receiver panics");
        }
        if let Some(text) = script.fails {
            return Err(Failure::permanent(text));
        }
        if script.ignores_stop {
            std::future::pending::<()>().await;
        }
        cx.stop.requested().await;
        cx.host.report_source(&cx.id, SourceStatus { state: "ok", ..SourceStatus::default() });
        lab.record(cx.clock.now(), &cx.id, Event::Ended);
        Ok(())
    }
}

/// Sends parcels until the stop, then waits until all that were sent are settled, unless it leaves.
async fn client(parcels: Vec<Parcel>, leaves: bool, lab: &Arc<Lab>, cx: &ReceiverContext) {
    let mut sent = Vec::new();
    for parcel in parcels {
        let stop = Box::pin(cx.stop.requested());
        if let Either::Right(_) = select(cx.clock.sleep(parcel.after), stop).await {
            break;
        }
        let Parcel { signal, first, items, .. } = parcel;
        lab.record(cx.clock.now(), &cx.id, Event::Sent { first, items });
        let (told, clock, id) = (Arc::clone(lab), cx.clock.clone(), cx.id.clone());
        let mut receipt = Receipt::observed(move |outcome| {
            told.record(clock.now(), &id, Event::Settled { first, items, outcome: shown(outcome) });
        });
        let (waiting, settled) = Receipt::new();
        receipt.join(waiting);
        sent.push(settled);
        let batch = Batch { payload: crate::payload(signal, first, items), receipt, context: Arc::default() };
        send(&cx.outputs, signal, batch).await;
    }
    if !leaves {
        join_all(sent).await;
    }
}

async fn send(outputs: &Outputs, signal: Signal, batch: Batch) {
    // Without a pipeline of that signal the batch is dropped, which its receipt reports.
    if let Some(output) = outputs.first(signal) {
        output.send(batch).await;
    }
}

//! Processors and connectors of both shapes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use weir_component::{
    Batch, Build, BuildError, Clock, ConnectorFactory, Context, Failure, Heirloom, Instant, Maturity,
    Options, Processor, ProcessorFactory, Stability, Stage, StageContext, Transform, Verdict, async_trait,
};
use weir_pdata::{Limit, Payload, Signal};

use super::{Event, Lab};

const SIGNALS: &[Signal] = &[Signal::Traces, Signal::Metrics, Signal::Logs];

/// Makes processors of the type `test` that follow the scripts of their [`Lab`].
pub const PROCESSOR: ProcessorFactory = ProcessorFactory {
    kind: "test",
    aliases: &[],
    signals: SIGNALS,
    stability: Maturity::all(Stability::Development),
    metadata: "",
    options: Options::none(),
    shared: false,
    create: processor,
};

/// Makes connectors of the type `test`, from every signal to every other. What they are given they hand to each of
/// their ports, turned into the port's signal with the same ids.
pub const CONNECTOR: ConnectorFactory = ConnectorFactory {
    kind: "test",
    aliases: &[],
    pairs: &[
        (Signal::Traces, Signal::Traces),
        (Signal::Traces, Signal::Metrics),
        (Signal::Traces, Signal::Logs),
        (Signal::Metrics, Signal::Traces),
        (Signal::Metrics, Signal::Metrics),
        (Signal::Metrics, Signal::Logs),
        (Signal::Logs, Signal::Traces),
        (Signal::Logs, Signal::Metrics),
        (Signal::Logs, Signal::Logs),
    ],
    stability: Maturity::all(Stability::Development),
    metadata: "",
    options: Options::none(),
    create: connector,
};

type Rule = Arc<dyn Fn(&Payload) -> Result<Verdict, Failure> + Send + Sync>;

/// What a test processor or connector does.
#[derive(Clone)]
pub enum Role {
    /// A transform that follows a rule.
    Transform(Rule),
    /// A stage that hands on what it is given.
    Pass,
    /// A stage that hands everything on when the oldest batch is this old.
    Hold(Duration),
    /// The same, but as one batch for each port and sender's signal.
    Merge(Duration),
    /// A stage that hands each batch on in two halves.
    Split,
    /// A stage that holds what it is given and never ends its drain.
    Stuck,
    /// A stage that panics at its batch of that number, counted from 0.
    Panic(usize),
}

impl Role {
    /// A transform that follows `rule`.
    pub fn transform(rule: impl Fn(&Payload) -> Result<Verdict, Failure> + Send + Sync + 'static) -> Role {
        Role::Transform(Arc::new(rule))
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Transform(_) => f.write_str("Transform"),
            Role::Pass => f.write_str("Pass"),
            Role::Hold(time) => write!(f, "Hold({time:?})"),
            Role::Merge(time) => write!(f, "Merge({time:?})"),
            Role::Split => f.write_str("Split"),
            Role::Stuck => f.write_str("Stuck"),
            Role::Panic(at) => write!(f, "Panic({at})"),
        }
    }
}

fn processor(build: &Build<'_>) -> Result<Processor, BuildError> {
    let lab: Arc<Lab> = build.host.shared();
    let role = lab.script(build, |state, id| state.processors.get(id).cloned())?;
    Ok(match role {
        Role::Transform(rule) => {
            let (id, clock) = (build.id.to_owned(), build.clock.clone());
            Processor::Transform(Arc::new(TestTransform { id, lab, clock, rule }))
        }
        role => {
            let (id, clock) = (build.id.to_owned(), build.clock.clone());
            let (held, came, due) = (Vec::new(), 0, None);
            Processor::Stage(Box::new(TestStage { id, lab, clock, role, held, came, due }))
        }
    })
}

fn connector(build: &Build<'_>, _: Signal) -> Result<Box<dyn Stage>, BuildError> {
    let lab: Arc<Lab> = build.host.shared();
    lab.script(build, |state, id| state.processors.get(id).cloned())?;
    Ok(Box::new(TestConnector { lab }))
}

struct TestTransform {
    id: String,
    lab: Arc<Lab>,
    clock: Clock,
    rule: Rule,
}

impl Transform for TestTransform {
    fn take_effect(&self) {
        self.lab.record(self.clock.now(), &self.id, Event::Started);
    }

    fn apply(&self, payload: &mut Payload, _: &Context) -> Result<Verdict, Failure> {
        let verdict = (self.rule)(payload);
        let event = match &verdict {
            Ok(Verdict::Pass) => return verdict,
            Ok(Verdict::Drop) => Event::Dropped { ids: crate::ids(payload) },
            Err(_) => Event::Failed { ids: crate::ids(payload) },
        };
        self.lab.record(self.clock.now(), &self.id, event);
        verdict
    }
}

struct TestStage {
    id: String,
    lab: Arc<Lab>,
    clock: Clock,
    role: Role,
    held: Vec<(usize, Batch)>,
    came: usize,
    due: Option<Instant>,
}

#[async_trait]
impl Stage for TestStage {
    #[expect(clippy::panic, reason = "what a panic does to the others is what some tests look at")]
    async fn on_batch(&mut self, port: usize, mut batch: Batch, cx: &StageContext) {
        self.lab.record(cx.clock.now(), &cx.id, Event::Came { port, ids: crate::ids(&batch.payload) });
        let number = self.came;
        self.came += 1;
        match self.role {
            Role::Hold(time) | Role::Merge(time) => {
                self.due.get_or_insert(cx.clock.now() + time);
                self.held.push((port, batch));
            }
            Role::Stuck => self.held.push((port, batch)),
            Role::Split if batch.payload.items() > 1 => {
                let half = Limit::Items(batch.payload.items().div_ceil(2));
                let mut parts = batch.payload.clone().split(half).into_iter();
                batch.payload = parts.next_back().unwrap_or(batch.payload);
                for payload in parts {
                    cx.outputs.send(port, Batch { payload, ..batch.fork() }).await;
                }
                cx.outputs.send(port, batch).await;
            }
            Role::Panic(at) if at == number => panic!("a test stage panics"),
            _ => cx.outputs.send(port, batch).await,
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.due
    }

    async fn on_wake(&mut self, cx: &StageContext) {
        self.due = None;
        let mut ready: Vec<(usize, Batch)> = Vec::new();
        for (port, batch) in self.held.drain(..) {
            let same = |(other, held): &&mut (usize, Batch)| {
                *other == port && held.payload.signal() == batch.payload.signal()
            };
            let merging = matches!(self.role, Role::Merge(_));
            match ready.iter_mut().find(same).filter(|_| merging) {
                Some((_, held)) => {
                    held.receipt.join(batch.receipt);
                    // Both are of the same signal, so the append is never refused.
                    drop(held.payload.append(batch.payload));
                }
                None => ready.push((port, batch)),
            }
        }
        for (port, batch) in ready {
            cx.outputs.send(port, batch).await;
        }
    }

    async fn on_drain(&mut self, cx: &StageContext) {
        if matches!(self.role, Role::Stuck) {
            std::future::pending::<()>().await;
        }
        self.on_wake(cx).await;
        self.lab.record(cx.clock.now(), &cx.id, Event::Ended);
    }

    fn hand_over(&mut self) -> Option<Heirloom> {
        Some(Box::new(self.came))
    }

    fn take_over(&mut self, heirloom: Heirloom) {
        self.came = heirloom.downcast().map_or(0, |came| *came);
        self.lab.record(self.clock.now(), &self.id, Event::TookOver { came: self.came });
    }
}

struct TestConnector {
    lab: Arc<Lab>,
}

#[async_trait]
impl Stage for TestConnector {
    async fn on_batch(&mut self, port: usize, batch: Batch, cx: &StageContext) {
        let ids = crate::ids(&batch.payload);
        for port in cx.outputs.ports() {
            let mut part = batch.fork();
            if part.payload.signal() != port.signal {
                part.payload = crate::with_ids(port.signal, &ids);
            }
            port.output.send(part).await;
        }
        self.lab.record(cx.clock.now(), &cx.id, Event::Came { port, ids });
        batch.receipt.settle(Ok(()));
    }

    async fn on_drain(&mut self, cx: &StageContext) {
        self.lab.record(cx.clock.now(), &cx.id, Event::Ended);
    }
}

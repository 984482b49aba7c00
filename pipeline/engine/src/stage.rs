//! A stage: a task behind a bounded mailbox.
//!
//! # Design
//! A stage finishes one letter before it takes the next, and a wake-up that is due comes before letters, so that a busy stage is
//! woken too. Who finds the mailbox full waits: a stage that is slow, or waits for what follows it, slows its senders down. It
//! drains when the last way in is gone.
//!
//! # Refusing when stuck
//! A batch processor acknowledges what it holds, so that what it sends on waits for room and its senders wait with it, for as
//! long as a backend stands still. Where that is told the mailbox ([`MailboxMaker::refuse_when_stuck`]; `batch.rs` decides),
//! they hear of it instead: once the work on a letter has lasted for [`PATIENCE`], letters are taken while it goes on, and those
//! are refused whose sender waits for the answer and has the data still. The first that is not of that kind, as it was
//! acknowledged before, is held and ends this: what comes behind it must not pass it, and no more than that one letter is ever
//! kept beside the mailbox. The stage gets it before all others.
//!
//! # Inheritance
//! A reload that changes a stage starts its successor beside it. The successor's mailbox takes letters at once, and the
//! successor takes none before the other has drained and left what it knew ([`Legacy`]): so nothing is known twice or out of
//! order. It waits no longer than [`INHERIT`], and begins with nothing then.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, Either, poll_immediate, select};
use tokio::sync::mpsc;
use weir_component::{Batch, Budget, Consumer, Count, Failure, Instant, Patience, Stage, StageContext};

use crate::reload::RECEIVERS;
use crate::run::ABORT;
use crate::running::{Legacy, TaskHandle};

/// Batches that may wait in front of a stage; beyond that, senders wait.
const MAILBOX: usize = 64;

/// How long senders wait with a stage that waits for what follows it, where they are refused then.
const PATIENCE: Duration = Duration::from_secs(1);

/// A batch and the port by which it came in.
type Letter = (usize, Batch);

/// The way into a stage.
pub(crate) struct Mailbox {
    port: usize,
    sender: mpsc::Sender<Letter>,
    incoming: Count,
    budget: Budget,
}

/// The stage's end of its mailbox.
pub(crate) struct Letters {
    receiver: mpsc::Receiver<Letter>,
    /// Taken, and not for the stage yet.
    held: Option<Letter>,
    refuses: Arc<AtomicBool>,
}

/// A mailbox with any number of ways in, made by [`MailboxMaker::port`].
#[derive(Clone)]
pub(crate) struct MailboxMaker {
    sender: mpsc::Sender<Letter>,
    refuses: Arc<AtomicBool>,
    budget: Budget,
}

impl MailboxMaker {
    /// What waits in it is in the `budget`.
    pub(crate) fn new(budget: &Budget) -> (MailboxMaker, Letters) {
        let (sender, receiver) = mpsc::channel(MAILBOX);
        let refuses = Arc::new(AtomicBool::new(false));
        let letters = Letters { receiver, held: None, refuses: Arc::clone(&refuses) };
        (MailboxMaker { sender, refuses, budget: budget.clone() }, letters)
    }

    /// A way in that belongs to the stage's port of that number.
    pub(crate) fn port(&self, port: usize, incoming: Count) -> Mailbox {
        Mailbox { port, sender: self.sender.clone(), incoming, budget: self.budget.clone() }
    }

    /// Whether senders are refused while the stage waits for longer than [`PATIENCE`]; otherwise they wait with it.
    pub(crate) fn refuse_when_stuck(&self, refuse: bool) {
        self.refuses.store(refuse, Ordering::Relaxed);
    }
}

#[async_trait]
impl Consumer for Mailbox {
    async fn consume(&self, mut batch: Batch) {
        self.incoming.add(batch.payload.items());
        self.budget.own(&mut batch.payload);
        // When the stage is gone the batch is dropped here, which its receipt reports.
        drop(self.sender.send((self.port, batch)).await);
    }
}

/// How long a stage waits for what its predecessor leaves: until the receivers in front of that one have certainly let go
/// of it, and some time to drain. One that cannot, because what follows it is stuck, must not stop the new graph too.
const INHERIT: Duration = Duration::from_secs(RECEIVERS.as_secs() + ABORT.as_secs() + 4);

/// A stage of the graph before that had the same id.
pub(crate) struct Predecessor {
    pub(crate) task: TaskHandle,
    pub(crate) legacy: Legacy,
}

/// Runs a stage until every way in is gone, then drains it. It goes on with what a predecessor leaves and leaves what it
/// has to its successor.
pub(crate) async fn run(
    mut stage: Box<dyn Stage>,
    mut letters: Letters,
    cx: StageContext,
    predecessor: Option<Predecessor>,
    legacy: Legacy,
) {
    if let Some(predecessor) = predecessor {
        // Its task goes on while something that it sent is still on its way; one that panicked leaves nothing.
        let Predecessor { task, legacy } = predecessor;
        let (left, ended) = (pin!(legacy.left()), pin!(task.ended()));
        drop(select(select(left, ended), cx.clock.sleep(INHERIT)).await);
        match legacy.take() {
            Some(heirloom) => stage.take_over(heirloom),
            None if legacy.is_left() => {}
            None => tracing::warn!(
                otelcol.component.id = %cx.id,
                otelcol.component.kind = "processor",
                "Begins with nothing: the one before the reload has not ended within {} s, as what follows it takes nothing, and \
                 what it knew is lost",
                INHERIT.as_secs()
            ),
        }
    }
    let mut alarm = Alarm::default();
    loop {
        match next(&mut letters, alarm.at(stage.wake_at(), &cx), &cx).await {
            Event::Letter(port, batch) => {
                answering(stage.on_batch(port, batch, &cx), &mut letters, &cx).await
            }
            Event::Wake => {
                alarm = Alarm::default();
                answering(stage.on_wake(&cx), &mut letters, &cx).await;
            }
            Event::Closed => break,
        }
    }
    stage.on_drain(&cx).await;
    legacy.leave(stage.hand_over());
}

/// Does a stage's `work`. When that waits for longer than [`PATIENCE`] and the mailbox is one that refuses, those whose
/// letters wait are told to come again.
async fn answering(mut work: BoxFuture<'_, ()>, letters: &mut Letters, cx: &StageContext) {
    if !letters.refuses.load(Ordering::Relaxed) {
        return work.await;
    }
    // Most work never waits, and a timer costs more than the work.
    if poll_immediate(&mut work).await.is_some() {
        return;
    }
    let Either::Right(((), mut work)) = select(work, cx.clock.sleep(PATIENCE)).await else { return };
    while letters.held.is_none() {
        let letter = match select(work, pin!(letters.receiver.recv())).await {
            Either::Left(_) => return,
            Either::Right((letter, rest)) => {
                work = rest;
                letter
            }
        };
        match letter {
            Some((_, batch)) if batch.receipt.is_attended() && batch.receipt.patience() == Patience::None => {
                let failure =
                    Failure::retry("no room behind it: what follows takes less than what comes; send later");
                batch.receipt.settle(Err(failure.reported_by(&cx.id)));
            }
            Some(letter) => letters.held = Some(letter),
            None => break,
        }
    }
    work.await;
}

enum Event {
    Letter(usize, Batch),
    Wake,
    Closed,
}

/// The sleep until a stage wants to be woken, kept as long as it wants the same: setting a timer costs more than taking a
/// letter.
#[derive(Default)]
struct Alarm(Option<(Instant, BoxFuture<'static, ()>)>);

impl Alarm {
    fn at(
        &mut self,
        wake_at: Option<Instant>,
        cx: &StageContext,
    ) -> Option<&mut (Instant, BoxFuture<'static, ()>)> {
        if self.0.as_ref().map(|(at, _)| *at) != wake_at {
            self.0 = wake_at.map(|at| (at, cx.clock.sleep_until(at)));
        }
        self.0.as_mut()
    }
}

/// The next letter, or the wake-up when it is due. A due wake-up comes first, so that a busy stage is still woken.
async fn next(
    letters: &mut Letters,
    alarm: Option<&mut (Instant, BoxFuture<'static, ()>)>,
    cx: &StageContext,
) -> Event {
    if let Some((port, batch)) = letters.held.take() {
        return Event::Letter(port, batch);
    }
    let letter = pin!(letters.receiver.recv());
    let received = match alarm {
        None => letter.await,
        Some((at, _)) if *at <= cx.clock.now() => return Event::Wake,
        Some((_, sleep)) => match select(letter, sleep).await {
            Either::Left((received, _)) => received,
            Either::Right(_) => return Event::Wake,
        },
    };
    received.map_or(Event::Closed, |(port, batch)| Event::Letter(port, batch))
}

//! A stage: a task behind a bounded mailbox.

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, Either, select};
use tokio::sync::mpsc;
use weir_component::{Batch, Consumer, Count, Instant, Stage, StageContext};

use crate::reload::RECEIVERS;
use crate::run::ABORT;
use crate::running::{Legacy, TaskHandle};

/// Batches that may wait in front of a stage; beyond that, senders wait.
const MAILBOX: usize = 64;

/// A batch and the port by which it came in.
type Letter = (usize, Batch);

/// The way into a stage.
pub(crate) struct Mailbox {
    port: usize,
    sender: mpsc::Sender<Letter>,
    incoming: Count,
}

/// The stage's end of its mailbox.
pub(crate) type Letters = mpsc::Receiver<Letter>;

/// A mailbox with any number of ways in, made by [`MailboxMaker::port`].
#[derive(Clone)]
pub(crate) struct MailboxMaker(mpsc::Sender<Letter>);

impl MailboxMaker {
    pub(crate) fn new() -> (MailboxMaker, Letters) {
        let (sender, letters) = mpsc::channel(MAILBOX);
        (MailboxMaker(sender), letters)
    }

    /// A way in that belongs to the stage's port of that number.
    pub(crate) fn port(&self, port: usize, incoming: Count) -> Mailbox {
        Mailbox { port, sender: self.0.clone(), incoming }
    }
}

#[async_trait]
impl Consumer for Mailbox {
    async fn consume(&self, batch: Batch) {
        self.incoming.add(batch.payload.items());
        // When the stage is gone the batch is dropped here, which its receipt reports.
        drop(self.sender.send((self.port, batch)).await);
    }
}

/// How long a stage waits for what its predecessor leaves: until the receivers in front of that one have certainly let go
/// of it, and some time to drain. One that cannot, because what follows it is stuck, must not stop the new graph too.
const INHERIT: Duration = Duration::from_secs(RECEIVERS.as_secs() + ABORT.as_secs() + 4);

/// A stage of the graph before that had the same id and settings.
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
        let ended = Box::pin(predecessor.task.ended());
        drop(select(ended, cx.clock.sleep(INHERIT)).await);
        match predecessor.legacy.take() {
            Some(heirloom) => stage.take_over(heirloom),
            None => tracing::debug!(otelcol.component.id = %cx.id, "nothing to take over"),
        }
    }
    let mut alarm = Alarm::default();
    loop {
        match next(&mut letters, alarm.at(stage.wake_at(), &cx), &cx).await {
            Event::Letter(port, batch) => stage.on_batch(port, batch, &cx).await,
            Event::Wake => {
                alarm = Alarm::default();
                stage.on_wake(&cx).await;
            }
            Event::Closed => break,
        }
    }
    stage.on_drain(&cx).await;
    legacy.leave(stage.hand_over());
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
    let letter = pin!(letters.recv());
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

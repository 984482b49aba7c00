//! Works a queue off: puts batches together and keeps several sends under way.
//!
//! # Design
//! One future holds everything: what was taken and is forming a larger batch, what is ready, what is under way. While it waits for
//! the queue it drives the sends, and while all consumers are busy it takes nothing, so that what waits is in the queue, where
//! it counts against the bounds and, on disk, is safe.
//!
//! What stands in the queue joins what forms before a lack of room or the time sends that off: the less room there is, the more
//! have batches to be whole, as their number is what the consumers are short of.
//!
//! The queue says when it is over ([`Queue::take`] gives nothing). What is forming then is sent if the queue is in memory; of a
//! queue on disk it stays there, because the receipts of what is dropped say so.
//!
//! The future may be dropped at any moment, at a deadline or by a panic in an export. `Custody` is the first to be made, so
//! that it is the last to go: when everything under way has been dropped and has settled what it held, what the queue still
//! counts as accepted is lost, and is counted.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use weir_component::{Budget, Failure, Instant, QueueSettings};

use crate::batching::Forming;
use crate::ending::Rest;
use crate::queue::{Load, Queue};
use crate::sender::{Ended, Sender};

/// Runs until the queue is closed and everything taken from it is settled. What is made of what was taken is in the `budget`.
pub(crate) async fn run(queue: Arc<dyn Queue>, sender: Arc<Sender>, settings: QueueSettings, budget: Budget) {
    // Declared first, so that it is dropped last: after all that is under way.
    let _custody = Custody { queue: &*queue, sender: &sender, acknowledged: !settings.wait_for_result };
    queue.show_size();
    let mut under_way: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut forming = settings.batch.clone().map(|batch| Forming::new(batch, budget));
    let mut ready: VecDeque<Load> = VecDeque::new();
    // What is only moved to disk shares its syncs with all the rest.
    let consumers = || if sender.draining.moves_now() { usize::MAX } else { settings.num_consumers.max(1) };
    let mut taken = 0_u32;
    loop {
        while under_way.len() >= consumers() {
            under_way.next().await;
        }
        if let Some(load) = ready.pop_front() {
            under_way.push(send(&queue, &sender, load, !settings.wait_for_result));
            continue;
        }
        let deadline = forming.as_ref().and_then(Forming::deadline);
        match (next(&*queue, &sender, &mut under_way, deadline).await, &mut forming) {
            (Next::Taken(load), None) => ready.push_back(load),
            // It will not be sent, and must not be as a part of something that is.
            (Next::Taken(load), Some(_)) if load.batch.receipt.is_forsaken() => ready.push_back(load),
            (Next::Taken(load), Some(forming)) => {
                taken = taken.wrapping_add(1);
                if taken.is_multiple_of(IN_A_ROW) {
                    others(&mut under_way).await;
                }
                let now = sender.clock.now();
                ready.extend(forming.add(load, now));
                // Where there is always more to take, what is due goes beside the next batch.
                if !ready.is_empty() && deadline.is_some_and(|at| at <= now) {
                    ready.extend(forming.due(now));
                }
            }
            (Next::Flush, None) => {}
            (Next::Flush, Some(forming)) => ready.extend(forming.due(sender.clock.now())),
            (Next::Pressed, None) => {}
            (Next::Pressed, Some(forming)) => ready.extend(forming.all()),
            (Next::Closed, forming) => {
                // What a durable queue holds is better kept than sent in a hurry.
                let rest = forming.take().filter(|_| !queue.is_durable()).map(|mut rest| rest.all());
                match rest.unwrap_or_default() {
                    rest if rest.is_empty() => break,
                    rest => ready.extend(rest),
                }
            }
        }
    }
    while under_way.next().await.is_some() {}
}

/// Requests that are taken before the sends that are under way, and other tasks, have a turn: where many wait, all of them may be
/// taken without a pause.
const IN_A_ROW: u32 = 64;

/// Gives the sends and other tasks a turn.
async fn others(under_way: &mut FuturesUnordered<BoxFuture<'static, ()>>) {
    let mut had_it = false;
    poll_fn(|cx| {
        while let Poll::Ready(Some(())) = under_way.poll_next_unpin(cx) {}
        if std::mem::replace(&mut had_it, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The dispatcher's duty for what its queue has accepted. When the dispatcher ends before it is done, because it was
/// dropped at a deadline or an export panicked, what is left counts as failed: its sender may have heard success.
struct Custody<'a> {
    queue: &'a dyn Queue,
    sender: &'a Sender,
    acknowledged: bool,
}

impl Drop for Custody<'_> {
    fn drop(&mut self) {
        let lost = self.queue.abandon();
        if lost > 0 {
            self.sender.lost(lost, self.acknowledged);
        }
    }
}

enum Next {
    Taken(Load),
    Flush,
    /// What forms must not wait any longer: senders lack room, or the last call has come.
    Pressed,
    Closed,
}

/// Waits for a batch, and where one is forming for its deadline or until it must not wait for that, while the sends make
/// progress. A batch that can be taken comes first.
async fn next(
    queue: &dyn Queue,
    sender: &Sender,
    under_way: &mut FuturesUnordered<BoxFuture<'static, ()>>,
    deadline: Option<Instant>,
) -> Next {
    let event = Box::pin(async {
        let take = queue.take();
        let taken = match deadline {
            None => take.await,
            Some(deadline) => {
                let hurried = pin!(hurried(queue, sender));
                let due = select(sender.clock.sleep_until(deadline), hurried);
                match select(take, due).await {
                    Either::Left((taken, _)) => taken,
                    Either::Right((Either::Left(_), _)) => return Next::Flush,
                    Either::Right((Either::Right(_), _)) => return Next::Pressed,
                }
            }
        };
        taken.map_or(Next::Closed, Next::Taken)
    });
    let progress = Box::pin(async {
        loop {
            if under_way.next().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
    });
    match select(event, progress).await {
        Either::Left((next, _)) => next,
        Either::Right(((), _)) => Next::Flush,
    }
}

/// Completes when what forms must go before its time: to make room, or while there is time to move it to disk. In a queue on
/// disk it is kept already.
async fn hurried(queue: &dyn Queue, sender: &Sender) {
    if queue.is_durable() {
        queue.pressed().await;
    } else {
        select(queue.pressed(), pin!(sender.draining.last_call())).await;
    }
}

fn send(
    queue: &Arc<dyn Queue>,
    sender: &Arc<Sender>,
    load: Load,
    acknowledged: bool,
) -> BoxFuture<'static, ()> {
    let (queue, sender) = (Arc::clone(queue), Arc::clone(sender));
    Box::pin(async move {
        let mut ended = sender.send(&load.batch, acknowledged).await;
        if let Ended::Kept(failure) = ended {
            ended = keep(&*queue, &sender, &load, failure, acknowledged).await;
        }
        let items = load.batch.payload.items();
        load.batch.receipt.settle(match ended {
            // To the receipt of a durable queue only what is abandoned is to be kept.
            Ended::Dropped(failure) if queue.is_durable() => Err(Failure::permanent(failure.message())),
            Ended::Kept(failure) => Err(Failure::abandoned(failure.message())),
            ended => ended.outcome(),
        });
        queue.release(load.room, items).await;
    })
}

/// Keeps for the next start what could not be sent because of `failure`.
async fn keep(
    queue: &dyn Queue,
    sender: &Sender,
    load: &Load,
    failure: Failure,
    acknowledged: bool,
) -> Ended {
    let Rest::Moved(spill) = sender.draining.rest() else {
        // Or it would be taken again at once.
        queue.close();
        return Ended::Kept(failure);
    };
    match spill.put(&load.batch).await {
        Ok(()) => {
            sender.moved(&load.batch.payload, &failure);
            Ended::Kept(failure)
        }
        Err(error) => {
            let failure = failure.context(&format!("cannot be kept on disk ({error})"));
            sender.give_up(&load.batch.payload, &failure, acknowledged);
            Ended::Dropped(failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_turn_goes_to_the_sends_and_to_other_tasks() {
        let mut under_way: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        under_way.push(Box::pin(std::future::ready(())));
        under_way.push(Box::pin(std::future::pending()));
        let mut turn = Box::pin(others(&mut under_way));
        assert!(turn.as_mut().now_or_never().is_none(), "others are polled first");
        assert!(turn.now_or_never().is_some());
        assert_eq!(under_way.len(), 1);
    }
}

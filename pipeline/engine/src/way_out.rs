//! The ways out of a stage, and what a reload leaves on them.
//!
//! A stage waits until what follows takes custody of a batch. When that is stuck, because a queue is full or there is none
//! and the backend is down, the operator changes the exporter: the way out leads to its successor. What is on its way arrives
//! where it was sent to, but the stage must not wait for that, or the change would take effect only when the old backend
//! comes back. So it is left to go on by itself, in the stage's task and beside it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, Either, poll_immediate, select};
use futures_util::stream::FuturesUnordered;
use weir_component::{Batch, Consumer, Joint, Output, Port};

/// Batches that are on their way to where a stage does not send any more. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Left(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Left {
    /// Ports by which a stage sends, each with the joint that leads it elsewhere.
    pub(crate) fn ports(&self, ports: Vec<Port>, joints: &[Joint]) -> Vec<Port> {
        debug_assert_eq!(ports.len(), joints.len(), "each way out has its joint");
        let way_out = |(port, joint): (Port, &Joint)| {
            let way = WayOut { output: port.output, joint: joint.clone(), left: self.clone() };
            Port { output: Output::new(Arc::new(way)), ..port }
        };
        ports.into_iter().zip(joints).map(way_out).collect()
    }

    /// Runs a stage, which sends by [`ports`](Left::ports), and what it leaves until that has arrived.
    pub(crate) async fn beside(self, stage: impl Future<Output = ()>) {
        let (mut stage, mut ended) = (pin!(stage), false);
        let mut going: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        poll_fn(|cx: &mut Context<'_>| {
            // A stage sends in its own task: what it leaves is there when it has been polled.
            ended = ended || stage.as_mut().poll(cx).is_ready();
            going.extend(self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
            while !going.is_empty() {
                match going.poll_next_unpin(cx) {
                    Poll::Ready(_) => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
            if ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

struct WayOut {
    output: Output,
    joint: Joint,
    left: Left,
}

#[async_trait]
impl Consumer for WayOut {
    async fn consume(&self, batch: Batch) {
        // Listens before it looks where the way leads.
        let turned = self.joint.turned();
        let output = self.output.clone();
        let mut going: BoxFuture<'static, ()> = Box::pin(async move { output.send(batch).await });
        // Nearly everything is taken at once.
        if poll_immediate(&mut going).await.is_some() {
            return;
        }
        if let Either::Right(((), going)) = select(going, pin!(turned)).await {
            self.left.0.lock().unwrap_or_else(PoisonError::into_inner).push(going);
        }
    }
}

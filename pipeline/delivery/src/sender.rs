//! One payload to one exporter: attempts, timeout, retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::Notify;
use weir_component::{Clock, Context, DeliverySettings, Exporter, Failure, Outcome, RetrySettings, Status};
use weir_pdata::Payload;

use crate::counts::{self, Counts};

/// Longest wait that a backend may impose by Retry-After or RetryInfo, so that one header cannot stop an exporter.
const MAX_BACKEND_DELAY: Duration = Duration::from_secs(3600);

/// Something that happens once. Those that wait for it are woken in the order in which they came, so that a simulated
/// run can be repeated.
#[derive(Default)]
struct Once {
    happened: AtomicBool,
    notify: Notify,
}

impl Once {
    fn happen(&self) {
        self.happened.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    fn has_happened(&self) -> bool {
        self.happened.load(Ordering::SeqCst)
    }

    async fn wait(&self) {
        // Made before the look at the flag: from here on it hears a notification.
        let notified = self.notify.notified();
        if !self.has_happened() {
            notified.await;
        }
    }
}

/// The end of the agent, as its deliveries hear of it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Ending(Arc<Once>);

impl Ending {
    /// From now on a delivery that has been dropped makes one more attempt for what it holds, and does not wait for
    /// retries. Without it, it goes on as its settings say.
    pub fn begin(&self) {
        self.0.happen();
    }
}

/// The last part of a delivery's life: nothing comes in any more, and then the agent ends.
pub(crate) struct Draining {
    closed: Once,
    ending: Ending,
}

impl Draining {
    /// Nothing comes in any more.
    pub(crate) fn close(&self) {
        self.closed.happen();
    }

    /// Completes when nothing comes in any more.
    pub(crate) async fn closed(&self) {
        self.closed.wait().await;
    }

    /// Whether what is left is to be sent now or never.
    pub(crate) fn has_begun(&self) -> bool {
        self.closed.has_happened() && self.ending.0.has_happened()
    }

    async fn begun(&self) {
        self.closed.wait().await;
        self.ending.0.wait().await;
    }
}

/// Sends payloads until they are delivered or given up.
pub(crate) struct Sender {
    pub(crate) id: String,
    pub(crate) exporter: Arc<dyn Exporter>,
    pub(crate) timeout: Duration,
    pub(crate) retry: Option<RetrySettings>,
    pub(crate) clock: Clock,
    pub(crate) counts: Counts,
    /// Once it has begun, retries no longer wait.
    pub(crate) draining: Arc<Draining>,
    pub(crate) undelivered: Undelivered,
}

/// Items whose senders heard success and that were not delivered before the agent ended.
#[derive(Debug, Clone, Default)]
pub struct Undelivered(Arc<AtomicUsize>);

impl Undelivered {
    /// How many so far.
    pub fn items(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, items: usize) {
        self.0.fetch_add(items, Ordering::Relaxed);
    }
}

impl Sender {
    pub(crate) fn new(
        id: &str,
        exporter: Arc<dyn Exporter>,
        settings: &DeliverySettings,
        clock: Clock,
        counts: Counts,
        ending: Ending,
    ) -> Sender {
        Sender {
            id: id.to_owned(),
            exporter,
            timeout: settings.timeout,
            retry: settings.retry.clone(),
            clock,
            counts,
            draining: Arc::new(Draining { closed: Once::default(), ending }),
            undelivered: Undelivered::default(),
        }
    }

    /// Delivers a payload and counts what became of it.
    pub(crate) async fn send(&self, payload: &Payload, context: &Context) -> Outcome {
        if payload.is_empty() {
            return Ok(());
        }
        let in_flight = self.counts.in_flight.hold();
        let traced = self.counts.begin(context);
        let context = traced.as_ref().map_or(context, |(_, within)| within);
        let outcome = self.attempts(payload, context).await;
        drop(in_flight);
        match &outcome {
            Ok(rejected) => self.counts.sent.add(payload.items().saturating_sub(*rejected)),
            Err(failure) => {
                self.counts.failed(payload.items(), failure);
                tracing::error!(
                    otelcol.component.id = %self.id,
                    otelcol.component.kind = "exporter",
                    otelcol.signal = payload.signal().name(),
                    error = %failure,
                    dropped_items = payload.items(),
                    "Exporting failed. Dropping data."
                );
            }
        }
        let outcome = outcome.map(|_| ());
        if let Some((running, _)) = traced {
            counts::end(running, payload.items(), &outcome);
        }
        outcome
    }

    /// Counts items whose senders may have heard success and that nobody will send any more.
    pub(crate) fn lost(&self, items: usize) {
        self.counts.failed(items, &Failure::abandoned("the exporter ended"));
        tracing::error!(
            otelcol.component.id = %self.id,
            otelcol.component.kind = "exporter",
            dropped_items = items,
            "Exporter ended before its queue was empty. Dropping data."
        );
    }

    /// Attempts until one is accepted; returns how many items the destination refused.
    async fn attempts(&self, payload: &Payload, context: &Context) -> Result<usize, Failure> {
        let begun = self.clock.now();
        let mut interval = self.retry.as_ref().map_or(Duration::ZERO, |r| r.initial_interval);
        loop {
            let last_chance = self.draining.has_begun();
            let failure = match self.attempt(payload, context).await {
                Ok(rejected) => return Ok(rejected),
                Err(failure) => failure.reported_by(&self.id),
            };
            let Some(retry) = &self.retry else {
                return Err(failure);
            };
            if !failure.is_retryable() {
                return Err(failure.context("not retryable error"));
            }
            let wait = self.wait(retry, interval, &failure);
            let elapsed = self.clock.now() - begun;
            if last_chance || (!retry.max_elapsed_time.is_zero() && elapsed + wait > retry.max_elapsed_time) {
                return Err(failure.context("no more retries left"));
            }
            tracing::info!(
                otelcol.component.id = %self.id,
                otelcol.component.kind = "exporter",
                otelcol.signal = payload.signal().name(),
                error = %failure,
                interval = ?wait,
                "Exporting failed. Will retry the request after interval."
            );
            self.pause(wait).await;
            interval = grown(interval, retry);
        }
    }

    async fn attempt(&self, payload: &Payload, context: &Context) -> Result<usize, Failure> {
        let export = self.exporter.export(payload, context);
        let accepted = if self.timeout.is_zero() {
            export.await?
        } else {
            match select(export, self.clock.sleep(self.timeout)).await {
                Either::Left((result, _)) => result?,
                Either::Right(((), _)) => {
                    let message = format!("no answer within the timeout of {:?}", self.timeout);
                    return Err(Failure::retry(message).with_status(Status::DeadlineExceeded));
                }
            }
        };
        // A destination cannot refuse more than it was sent, whatever it says.
        let rejected = accepted.rejected.min(payload.items());
        if rejected > 0 || !accepted.message.is_empty() {
            self.counts.rejected.add(rejected);
            tracing::warn!(
                otelcol.component.id = %self.id,
                message = %accepted.message,
                dropped_items = rejected,
                "Partial success response"
            );
        }
        Ok(rejected)
    }

    /// The interval with jitter, or the backend's wish with jitter if that is longer: many agents that were told the
    /// same time must not come back at the same moment.
    fn wait(&self, retry: &RetrySettings, interval: Duration, failure: &Failure) -> Duration {
        let spread = retry.randomization_factor.clamp(0.0, 1.0);
        let jittered = interval.mul_f64(1.0 - spread + 2.0 * spread * self.clock.random());
        match failure.retry_delay() {
            Some(wish) => {
                let wish = wish.min(MAX_BACKEND_DELAY);
                jittered.max(wish + wish.mul_f64(0.1 * spread * self.clock.random()))
            }
            None => jittered,
        }
    }

    /// Waits, but not longer than until the drain begins.
    async fn pause(&self, wait: Duration) {
        let drain = Box::pin(self.draining.begun());
        select(self.clock.sleep(wait), drain).await;
    }
}

/// The next interval. A multiplier so large that the product is no duration any more means the longest one.
fn grown(interval: Duration, retry: &RetrySettings) -> Duration {
    let next = Duration::try_from_secs_f64(interval.as_secs_f64() * retry.multiplier.max(1.0));
    next.map_or(retry.max_interval, |next| next.min(retry.max_interval))
}

//! One payload to one exporter: attempts, timeout, retries.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::Semaphore;
use weir_component::{
    Batch, Clock, Context, DeliverySettings, Exporter, Failure, Kind, Outcome, Receipt, Receivable,
    RetrySettings, Status,
};
use weir_pdata::{Payload, Signal};

use crate::counts::{self, Counts};
use crate::ending::{Draining, Ending, Rest, Undelivered};

/// Longest wait that a backend may impose by Retry-After or RetryInfo, so that one header cannot stop an exporter.
const MAX_BACKEND_DELAY: Duration = Duration::from_secs(3600);

/// How often a pause looks whether anybody waits for its end.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Sends payloads until they are delivered or given up.
pub(crate) struct Sender {
    pub(crate) id: String,
    pub(crate) exporter: Arc<dyn Exporter>,
    pub(crate) timeout: Duration,
    pub(crate) retry: Option<RetrySettings>,
    pub(crate) clock: Clock,
    pub(crate) counts: Arc<Counts>,
    /// Once it has begun, retries no longer wait.
    pub(crate) draining: Draining,
    /// Where another sender works for the same exporter: how many attempts of both may be under way at once.
    places: OnceLock<Arc<Semaphore>>,
    pub(crate) undelivered: Undelivered,
}

/// How the delivery of a payload ended.
pub(crate) enum Ended {
    /// The destination has it.
    Delivered,
    /// It was given up.
    Dropped(Failure),
    /// The end came first; it is to be kept for the next start.
    Kept(Failure),
}

impl Ended {
    /// For a sender that waited.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Ended::Delivered => Ok(()),
            Ended::Dropped(failure) | Ended::Kept(failure) => Err(failure),
        }
    }
}

impl Sender {
    /// `rest`: what becomes of what it cannot deliver before the end.
    pub(crate) fn new(
        id: &str,
        exporter: Arc<dyn Exporter>,
        settings: &DeliverySettings,
        clock: Clock,
        counts: Counts,
        rest: Rest,
        ending: &Ending,
    ) -> Sender {
        Sender {
            id: id.to_owned(),
            exporter,
            timeout: settings.timeout,
            retry: settings.retry.clone(),
            clock,
            counts: Arc::new(counts),
            draining: Draining::before(ending, rest),
            places: OnceLock::new(),
            undelivered: Undelivered::default(),
        }
    }

    /// One for what is on disk, beside this one: at most `num_consumers` of their attempts are under way at once.
    pub(crate) fn beside(&self, num_consumers: usize) -> Sender {
        let places = self.places.get_or_init(|| Arc::new(Semaphore::new(num_consumers.max(1))));
        Sender {
            id: self.id.clone(),
            exporter: Arc::clone(&self.exporter),
            timeout: self.timeout,
            retry: self.retry.clone(),
            clock: self.clock.clone(),
            counts: Arc::clone(&self.counts),
            draining: Draining::before(self.draining.ending(), Rest::Stays),
            places: OnceLock::from(Arc::clone(places)),
            undelivered: self.undelivered.clone(),
        }
    }

    /// Delivers a batch and counts what became of it. `acknowledged`: its sender has heard success already.
    pub(crate) async fn send(&self, batch: &Batch, acknowledged: bool) -> Ended {
        let payload = &batch.payload;
        if payload.is_empty() {
            return Ended::Delivered;
        }
        let in_flight = self.counts.in_flight.hold();
        let traced = self.counts.begin(&batch.context);
        let context = traced.as_ref().map_or(&*batch.context, |(_, within)| within);
        let attempted = self.in_time(self.attempts(batch, context, acknowledged)).await;
        drop(in_flight);
        if let Some((running, _)) = traced {
            counts::end(running, payload.items(), &attempted.as_ref().map(|_| ()).map_err(Failure::clone));
        }
        let failure = match attempted {
            Ok(rejected) => {
                self.counts.sent.add(payload.items().saturating_sub(rejected));
                return Ended::Delivered;
            }
            Err(failure) => failure,
        };
        if failure.is_retryable() && self.draining.keeps_the_rest().await {
            return Ended::Kept(failure);
        }
        self.give_up(payload, &failure, acknowledged);
        Ended::Dropped(failure)
    }

    /// Counts and says that nobody will send a payload any more, or that its sender hears that and may.
    pub(crate) fn give_up(&self, payload: &Payload, failure: &Failure, acknowledged: bool) {
        self.counts.failed(payload.items(), failure);
        if acknowledged && failure.is_retryable() && self.draining.has_begun() {
            self.undelivered.add(payload.items());
        }
        self.say(payload, failure, acknowledged);
    }

    /// Says that a payload goes to disk, because the end comes first.
    pub(crate) fn moved(&self, payload: &Payload, failure: &Failure) {
        tracing::info!(
            otelcol.component.id = %self.id,
            otelcol.component.kind = "exporter",
            otelcol.signal = payload.signal().name(),
            error = %failure,
            kept_items = payload.items(),
            "Exporting failed. Keeping data on disk for the next start."
        );
    }

    /// What became of a payload: nobody will send it any more, or its sender hears that and may.
    fn say(&self, payload: &Payload, failure: &Failure, acknowledged: bool) {
        let (signal, items, cure) = (payload.signal().name(), payload.items(), self.cure(failure));
        if acknowledged {
            tracing::error!(
                otelcol.component.id = %self.id,
                otelcol.component.kind = "exporter",
                otelcol.signal = signal,
                error = %failure,
                dropped_items = items,
                %cure,
                "Exporting failed. Dropping data."
            );
        } else {
            tracing::error!(
                otelcol.component.id = %self.id,
                otelcol.component.kind = "exporter",
                otelcol.signal = signal,
                error = %failure,
                rejected_items = items,
                %cure,
                "Exporting failed. Rejecting data."
            );
        }
    }

    /// Which setting would have kept what was given up.
    fn cure(&self, failure: &Failure) -> String {
        let settings = match &self.retry {
            _ if !failure.is_retryable() => {
                return "the destination refuses this for good, so no setting sends it again: see what it says".to_owned();
            }
            _ if failure.kind() == Kind::Abandoned => {
                return "a longer timeout of the sender waits longer".to_owned();
            }
            _ if self.draining.has_begun() => {
                "sending_queue::storage keeps what a stop cannot deliver".to_owned()
            }
            Some(retry) => format!(
                "retry_on_failure::max_elapsed_time is {:?}: a longer one tries longer, 0 never gives up",
                retry.max_elapsed_time
            ),
            None => "retry_on_failure::enabled is false: true tries again".to_owned(),
        };
        if failure.status() == Some(Status::DeadlineExceeded) && !self.timeout.is_zero() {
            return format!("timeout is {:?}: a longer one waits longer; {settings}", self.timeout);
        }
        settings
    }

    /// What found no place in the queue. Whoever waits for its receipt hears that too.
    pub(crate) fn refused(&self, payload: &Payload, failure: &Failure) {
        tracing::error!(
            otelcol.component.id = %self.id,
            otelcol.component.kind = "exporter",
            otelcol.signal = payload.signal().name(),
            error = %failure,
            rejected_items = payload.items(),
            "Exporting failed. Rejecting data."
        );
    }

    /// Counts items whose senders may have heard success and that nobody will send any more.
    pub(crate) fn lost(&self, items: usize, acknowledged: bool) {
        self.counts.failed(items, &Failure::abandoned("the exporter ended"));
        if acknowledged {
            self.undelivered.add(items);
        }
        tracing::error!(
            otelcol.component.id = %self.id,
            otelcol.component.kind = "exporter",
            dropped_items = items,
            "Exporter ended before its queue was empty. Dropping data."
        );
    }

    /// Counts a record of a durable queue that cannot be read back.
    pub(crate) fn unreadable(&self, record: Receivable, failure: &Failure) {
        let items = usize::try_from(record.items).unwrap_or(0);
        self.counts.failed(items, failure);
        tracing::error!(
            otelcol.component.id = %self.id,
            otelcol.component.kind = "exporter",
            record = record.id,
            error = %failure,
            dropped_items = items,
            "A record of the queue on disk cannot be read. Dropping data."
        );
    }

    /// What came of the attempts. Where what is left is on disk, or can be moved there by then, they end with the last call, so
    /// that there is time for that.
    async fn in_time(
        &self,
        attempts: impl Future<Output = Result<usize, Failure>>,
    ) -> Result<usize, Failure> {
        if !self.draining.has_last_call() {
            return attempts.await;
        }
        // The last call first: after it nothing is attempted any more.
        match select(pin!(self.draining.last_call()), pin!(attempts)).await {
            Either::Left(_) => Err(Failure::retry("the agent ends")),
            Either::Right((attempted, _)) => attempted,
        }
    }

    /// Attempts until one is accepted, as long as somebody wants that; returns how many items the destination refused.
    ///
    /// A wait that the destination asks for and that goes beyond the longest time ends them: a sender that has its data still
    /// hears of it, and keeps the wait. What was acknowledged, here or before, has nobody else, and would be lost together with all
    /// that stands behind it as fast as the destination answers; so it waits for what is left of its time, and is tried once more
    /// then.
    async fn attempts(&self, batch: &Batch, context: &Context, acknowledged: bool) -> Result<usize, Failure> {
        let payload = &batch.payload;
        let is_sole = acknowledged || batch.receipt.is_sole();
        let begun = self.clock.now();
        let mut interval = self.retry.as_ref().map_or(Duration::ZERO, |r| r.initial_interval);
        loop {
            if batch.receipt.is_forsaken() {
                let failure = Failure::abandoned("its sender has gone away before it was sent");
                return Err(failure.with_status(Status::Cancelled));
            }
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
            let elapsed = self.clock.now() - begun;
            let longest =
                if retry.max_elapsed_time.is_zero() { Duration::MAX } else { retry.max_elapsed_time };
            let left = longest.saturating_sub(elapsed);
            let wait = self.wait(retry, interval, &failure, if is_sole { left } else { Duration::MAX });
            if last_chance || left.is_zero() || wait > left {
                return Err(failure.context("no more retries left"));
            }
            if self.draining.stays_now() {
                return Err(failure);
            }
            tracing::info!(
                otelcol.component.id = %self.id,
                otelcol.component.kind = "exporter",
                otelcol.signal = payload.signal().name(),
                error = %failure,
                interval = ?wait,
                "Exporting failed. Will retry the request after interval."
            );
            // Not longer than until no retry waits any more.
            select(
                Box::pin(self.pause(wait, (!is_sole).then_some(&batch.receipt))),
                Box::pin(self.draining.begun()),
            )
            .await;
            if self.draining.stays_now() {
                return Err(failure);
            }
            interval = grown(interval, retry);
        }
    }

    /// A pause between two attempts, which ends soon after the last sender of a receipt has gone away.
    async fn pause(&self, wait: Duration, receipt: Option<&Receipt>) {
        let end = self.clock.now() + wait;
        loop {
            let left = end - self.clock.now();
            self.clock.sleep(receipt.map_or(left, |_| left.min(LOOK_EVERY))).await;
            if receipt.is_some_and(Receipt::is_forsaken) || self.clock.now() >= end {
                return;
            }
        }
    }

    async fn attempt(&self, payload: &Payload, context: &Context) -> Result<usize, Failure> {
        let _place = match self.places.get() {
            Some(places) => places.acquire().await.ok(),
            None => None,
        };
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
            let dropped = |signal| (payload.signal() == signal).then_some(rejected);
            tracing::warn!(
                otelcol.component.id = %self.id,
                otelcol.component.kind = "exporter",
                otelcol.signal = payload.signal().name(),
                message = %accepted.message,
                dropped_spans = dropped(Signal::Traces),
                dropped_data_points = dropped(Signal::Metrics),
                dropped_log_records = dropped(Signal::Logs),
                dropped_samples = dropped(Signal::Profiles),
                "Partial success response"
            );
        }
        Ok(rejected)
    }

    /// The interval with jitter, or the backend's wish with jitter if that is longer, and then `most` at most: many agents that were
    /// told the same time must not come back at the same moment.
    fn wait(&self, retry: &RetrySettings, interval: Duration, failure: &Failure, most: Duration) -> Duration {
        let spread = retry.randomization_factor.clamp(0.0, 1.0);
        let jittered = interval.mul_f64(1.0 - spread + 2.0 * spread * self.clock.random());
        match failure.retry_delay() {
            Some(wish) => {
                let wish = wish.min(MAX_BACKEND_DELAY);
                let wish = wish + wish.mul_f64(0.1 * spread * self.clock.random());
                jittered.max(wish).min(most)
            }
            None => jittered,
        }
    }
}

/// The next interval. A multiplier so large that the product is no duration any more means the longest one.
fn grown(interval: Duration, retry: &RetrySettings) -> Duration {
    let next = Duration::try_from_secs_f64(interval.as_secs_f64() * retry.multiplier.max(1.0));
    next.map_or(retry.max_interval, |next| next.min(retry.max_interval))
}

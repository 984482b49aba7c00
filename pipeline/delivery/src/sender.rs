//! One payload to one exporter: attempts, timeout, retries.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::watch;
use weir_component::{
    Clock, Context, Count, DeliverySettings, Exporter, Failure, Outcome, RetrySettings, Status,
};
use weir_pdata::Payload;

/// Longest wait that a backend may impose by Retry-After or RetryInfo, so that one header cannot stop an exporter.
const MAX_BACKEND_DELAY: Duration = Duration::from_secs(3600);

/// Sends payloads until they are delivered or given up.
pub(crate) struct Sender {
    pub(crate) id: String,
    pub(crate) exporter: Arc<dyn Exporter>,
    pub(crate) timeout: Duration,
    pub(crate) retry: Option<RetrySettings>,
    pub(crate) clock: Clock,
    pub(crate) counts: Counts,
    /// True once the exporter is being drained: retries no longer wait.
    pub(crate) draining: watch::Sender<bool>,
}

/// What is counted, in items.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) sent: Count,
    pub(crate) failed: Count,
    pub(crate) refused: Count,
    pub(crate) rejected: Count,
}

impl Sender {
    pub(crate) fn new(
        id: &str,
        exporter: Arc<dyn Exporter>,
        settings: &DeliverySettings,
        clock: Clock,
        counts: Counts,
    ) -> Sender {
        Sender {
            id: id.to_owned(),
            exporter,
            timeout: settings.timeout,
            retry: settings.retry.clone(),
            clock,
            counts,
            draining: watch::Sender::new(false),
        }
    }

    /// Delivers a payload and counts what became of it.
    pub(crate) async fn send(&self, payload: &Payload, context: &Context) -> Outcome {
        if payload.is_empty() {
            return Ok(());
        }
        let outcome = self.attempts(payload, context).await;
        match &outcome {
            Ok(()) => self.counts.sent.add(payload.items()),
            Err(failure) => {
                self.counts.failed.add(payload.items());
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
        outcome
    }

    async fn attempts(&self, payload: &Payload, context: &Context) -> Outcome {
        let begun = self.clock.now();
        let mut interval = self.retry.as_ref().map_or(Duration::ZERO, |r| r.initial_interval);
        loop {
            let last_chance = *self.draining.borrow();
            let failure = match self.attempt(payload, context).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure.from_component(&self.id),
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
            interval = interval
                .mul_f64(retry.multiplier.max(1.0))
                .min(retry.max_interval);
        }
    }

    async fn attempt(&self, payload: &Payload, context: &Context) -> Outcome {
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
        if accepted.rejected > 0 || !accepted.message.is_empty() {
            self.counts.rejected.add(accepted.rejected);
            tracing::warn!(
                otelcol.component.id = %self.id,
                message = %accepted.message,
                dropped_items = accepted.rejected,
                "Partial success response"
            );
        }
        Ok(())
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
        let mut draining = self.draining.subscribe();
        let drain = Box::pin(async move {
            // An error means that the sender is gone, which ends the wait too.
            drop(draining.wait_for(|d| *d).await);
        });
        select(self.clock.sleep(wait), drain).await;
    }
}

//! The receiver: a sample at every interval.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use weir_component::{
    Acceptance, Failure, Host, Instant, Receiver, ReceiverContext, SourceStatus, SteadyTime, async_trait,
};
use weir_connection::table::ConnectionTable;
use weir_kernel::{DiagError, Dumper, ProcFs, Sample, Sampler, host_name};
use weir_pdata::otlp::MetricsRequest;
use weir_pdata::otlp::metrics::v1::ResourceMetrics;
use weir_pdata::{Payload, Signal};

use crate::alive::{self, Alive};
use crate::config::Config;
use crate::publish::{self, Packer};

pub(crate) struct SocketDiag {
    config: Config,
    table: Arc<ConnectionTable>,
    /// With the clock that it measures ages and idle times by.
    sampler: Option<(Arc<Mutex<Sampler<Dumper>>>, SteadyTime)>,
    acceptance: Acceptance,
    /// The last words on processes that have exited, until somebody takes them.
    last_words: VecDeque<ResourceMetrics>,
}

/// Last words that are kept while nobody takes them; the oldest go first.
const MAX_LAST_WORDS: usize = 1024;

impl SocketDiag {
    pub(crate) fn new(config: Config, host: &Host) -> SocketDiag {
        SocketDiag {
            config,
            table: host.shared(),
            sampler: None,
            acceptance: Acceptance::default(),
            last_words: VecDeque::new(),
        }
    }

    /// One sample, off the engine's threads: it blocks for the kernel's answers.
    async fn sample(&self, cx: &ReceiverContext) -> Result<(Sample, Vec<Alive>), String> {
        let Some((sampler, time)) = self.sampler.clone() else { return Err("was not started".to_owned()) };
        let (now, steady) = (cx.clock.unix_nanos(), time.unix_nanos(&cx.clock));
        // What ends from here on may still be open in the dump.
        let ended = self.table.ended();
        let sampled = cx.host.blocking(move || {
            let mut sampler = sampler.lock().unwrap_or_else(PoisonError::into_inner);
            let sample = Sample { at_ns: now, ..sampler.sample(steady)? };
            let wanted: HashSet<_> = ended.iter().map(|e| (e.local, e.peer)).collect();
            let open = sampler.established(&wanted);
            Ok::<_, DiagError>((sample, ended, open))
        });
        match sampled.await {
            Some(Ok((sample, ended, open))) => {
                let partial = sample.report.partial;
                self.table.forget_ended(now, |local, peer| partial || open.contains_key(&(local, peer)));
                Ok((sample, alive::still(ended, &open, now)))
            }
            Some(Err(error)) => Err(error.to_string()),
            None => Err("listing sockets panicked, please report it".to_owned()),
        }
    }

    /// Publishes a sample in requests of bounded size, one after the other, and tells the table what the kernel knows of single
    /// sockets. What is refused comes again with the next sample; last words are kept for it.
    async fn publish(&mut self, sample: &Sample, alive: &[Alive], host: &str, cx: &ReceiverContext) {
        let now = sample.at_ns;
        let until = cx.clock.now() + PATIENCE;
        let mut packer = Packer::default();
        for process in &sample.processes {
            let executable = &process.process.executable_name;
            let service = self.config.service_name(executable, process.process.pid);
            let mut info = publish::info(process, host, service);
            // Events name the process better than its executable does.
            if let Some(known) = self.table.info(&info.key) {
                info.service = if known.service.is_empty() { info.service } else { known.service };
                info.instance = known.instance;
            }
            if process.exited {
                self.table.exited(std::iter::once(&info.key));
            } else {
                self.table.put_sockets(&info, now, publish::facts(process));
            }
            let alive = alive.iter().filter(|a| a.ended.process == info.key);
            let pieces = publish::metrics(process, &info, &alive.collect::<Vec<_>>(), now);
            if process.exited {
                self.last_words.extend(pieces.into_iter().map(|(piece, _)| piece));
                continue;
            }
            for (piece, series) in pieces {
                if let Some(request) = packer.add(piece, series) {
                    self.hand(request, until, cx).await;
                }
            }
        }
        if let Some(request) = packer.take() {
            self.hand(request, until, cx).await;
        }
        while let Some(piece) = self.last_words.pop_front() {
            let request = MetricsRequest { resource_metrics: vec![piece.clone()] };
            if self.hand(request, until, cx).await {
                self.last_words.push_front(piece);
                break;
            }
        }
        self.last_words.drain(..self.last_words.len().saturating_sub(MAX_LAST_WORDS));
    }

    /// Hands a request on; whether it was refused.
    async fn hand(&self, request: MetricsRequest, until: Instant, cx: &ReceiverContext) -> bool {
        let Some(output) = cx.outputs.first(Signal::Metrics) else { return false };
        self.acceptance.hand(output, Payload::from(request), &cx.clock, until).await
    }
}

/// How long a sample waits in all to hear what becomes of its parts. One that takes longer waits for room only.
const PATIENCE: Duration = Duration::from_secs(1);

#[async_trait]
impl Receiver for SocketDiag {
    async fn start(&mut self, cx: &ReceiverContext) -> Result<(), Failure> {
        let dumper = Dumper::open().map_err(|e| Failure::permanent(e.to_string()))?;
        let sampler = Sampler::new(self.config.settings(), dumper, ProcFs::default());
        self.sampler = Some((Arc::new(Mutex::new(sampler)), SteadyTime::new(&cx.clock)));
        Ok(())
    }

    async fn run(mut self: Box<Self>, cx: ReceiverContext) -> Result<(), Failure> {
        let host = host_name();
        let mut speaker = Speaker { acceptance: self.acceptance.clone(), ..Speaker::default() };
        let mut last = 0;
        let mut next = cx.clock.now();
        loop {
            match self.sample(&cx).await {
                Ok((sample, alive)) => {
                    if !sample.processes.is_empty() {
                        last = sample.at_ns;
                    }
                    self.publish(&sample, &alive, &host, &cx).await;
                    speaker.sampled(&sample, last, &cx);
                }
                Err(error) => speaker.failed(error, last, &cx),
            }
            // The next full interval: a slow sample does not shift the ones behind it.
            let interval = self.config.collection_interval.as_std();
            next = next.max(cx.clock.now()) + interval;
            let stopping = Box::pin(cx.stop.requested());
            if let Either::Left(_) = select(stopping, cx.clock.sleep_until(next)).await {
                return Ok(());
            }
        }
    }
}

/// Says what is new, once.
#[derive(Default)]
struct Speaker {
    said: BTreeSet<String>,
    acceptance: Acceptance,
}

impl Speaker {
    fn sampled(&mut self, sample: &Sample, last: u64, cx: &ReceiverContext) {
        let mut now = BTreeSet::new();
        for notice in &sample.notices {
            let text = notice.to_string();
            if !self.said.contains(&text) {
                if notice.is_warning() {
                    tracing::warn!(otelcol.component.id = %cx.id, otelcol.component.kind = "receiver", "{text}");
                } else {
                    tracing::info!(otelcol.component.id = %cx.id, otelcol.component.kind = "receiver", "{text}");
                }
            }
            now.insert(text);
        }
        self.said = now;
        let warnings: Vec<_> =
            sample.notices.iter().filter(|n| n.is_warning()).map(ToString::to_string).collect();
        let state = match (sample.processes.is_empty(), warnings.is_empty()) {
            (true, _) => "waiting",
            (false, true) => "ok",
            (false, false) => "degraded",
        };
        let message = if sample.processes.is_empty() && warnings.is_empty() {
            "no process matches".to_owned()
        } else {
            warnings.join("; ")
        };
        self.report(cx, state, last, message);
    }

    fn failed(&mut self, text: String, last: u64, cx: &ReceiverContext) {
        if self.said.insert(text.clone()) {
            tracing::error!(otelcol.component.id = %cx.id, otelcol.component.kind = "receiver", "{text}");
        }
        self.report(cx, "failed", last, text);
    }

    fn report(&self, cx: &ReceiverContext, state: &'static str, last: u64, message: String) {
        let status = SourceStatus { kind: "sockets", state, last, message };
        cx.report_source(self.acceptance.told_in(status, &cx.clock));
    }
}

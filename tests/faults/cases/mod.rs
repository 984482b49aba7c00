//! The cases, numbered as in docs/reliability.md.

mod answers;
mod backends;
mod clock;
mod config;
mod connections;
mod damage;
mod disk_full;
mod durable;
mod floods;
mod hostile;
mod memory;
mod pages;
mod power;
mod reload;
mod responses;
mod retries;
mod secrets;
mod siege;
mod soak;
mod stop;
mod tls;
mod values;

#[cfg(test)]
pub(crate) use values::nested;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::{Agent, Kind, Limits};
use crate::backend::Backend;
use crate::load::{Load, Shape, passes, until_acknowledged};
use crate::oracle::{Oracle, Sums};
use crate::ports::free_port;

/// Acknowledged records without which a case shows nothing.
const ENOUGH: usize = 10_000;

/// One case.
pub(crate) struct Case {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    /// What was set besides the defaults.
    pub(crate) settings: &'static str,
    /// What has to hold besides the five invariants.
    pub(crate) bar: &'static str,
    pub(crate) run: fn(Kind) -> Outcome,
}

/// What came of a case.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Whether the fault really happened.
    pub(crate) fired: bool,
    /// What was seen, for the table.
    pub(crate) seen: Vec<String>,
    /// What does not hold.
    pub(crate) broken: Vec<String>,
    /// Bars of time, memory and cost that are missed. They are of an optimised build on a machine that does nothing else:
    /// `make faults` judges them, `cargo test` does not.
    pub(crate) missed: Vec<String>,
}

impl Outcome {
    fn see(&mut self, what: impl Into<String>) {
        self.seen.push(what.into());
    }

    fn require(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.broken.push(what.into());
        }
    }

    /// A bar of time, memory or cost.
    fn measure(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.missed.push(what.into());
        }
    }

    /// A bar of memory in MiB, of which any build may take twice as much.
    fn grown(&mut self, more: u64, most: u64) {
        self.see(format!("+{more} MiB"));
        if more > most {
            let bar = if more > 2 * most { &mut self.broken } else { &mut self.missed };
            bar.push(format!("{more} MiB more"));
        }
    }

    /// The invariants of the oracle, last of all; nothing may be lost.
    fn judge(&mut self, oracle: &Oracle) {
        self.judge_sums(&oracle.sums(), None);
    }

    /// The same, but what is lost is no break when the agent said exactly that.
    fn judge_said(&mut self, oracle: &Oracle, said: usize) {
        self.judge_sums(&oracle.sums(), Some(said));
    }

    /// The same of several, with what was said to be lost where that is allowed.
    fn judge_sums(&mut self, sums: &Sums, said: Option<usize>) {
        let mut text = format!("{} of {} acknowledged lost", sums.lost, sums.acknowledged);
        for (n, what) in [(sums.duplicates, "dup"), (sums.spurious, "spurious"), (sums.corrupt, "corrupt")] {
            if n > 0 {
                write!(text, ", {n} {what}").expect("written");
            }
        }
        self.see(text);
        self.fired &= sums.acknowledged >= ENOUGH;
        match said {
            Some(said) => self.require(sums.lost == said, format!("{} lost, {said} said", sums.lost)),
            None => self.require(sums.lost == 0, format!("{} lost", sums.lost)),
        }
        self.require(sums.spurious + sums.corrupt == 0, "what was delivered is not what was sent");
    }
}

/// All cases, in order.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(backends::CASES);
    cases.extend(clock::CASES);
    cases.extend(durable::CASES);
    cases.extend(power::CASES);
    cases.extend(disk_full::CASES);
    cases.extend(damage::CASES);
    cases.extend(answers::CASES);
    cases.extend(config::CASES);
    cases.extend(responses::CASES);
    cases.extend(retries::CASES);
    cases.extend(pages::CASES);
    cases.extend(secrets::CASES);
    cases.extend(tls::CASES);
    cases.extend(values::CASES);
    cases.extend(stop::CASES);
    cases.extend(reload::CASES);
    cases.extend(soak::CASES);
    cases.extend(memory::CASES);
    cases.extend(connections::CASES);
    cases.extend(floods::CASES);
    cases.extend(hostile::CASES);
    cases.sort_by_key(|c| c.number);
    cases
}

/// The usual configuration with every line in the log, however often it comes.
fn unsampled(yaml: &str) -> String {
    yaml.replace("telemetry: {", "telemetry: {logs: {sampling: {enabled: false}}, ")
}

/// An agent between clients and one backend.
struct Bench {
    oracle: Arc<Oracle>,
    backend: Backend,
    agent: Agent,
    http: u16,
    grpc: u16,
    kind: Kind,
    /// With what the agent was started.
    configuration: String,
    limits: Limits,
}

/// What is written below the exporter and beside it.
#[derive(Default, Clone, Copy)]
struct Extra<'a> {
    /// Lines of the exporter, indented by four spaces.
    exporter: &'a str,
    /// The whole section `processors`, and their list in the pipeline.
    processors: (&'a str, &'a str),
    limits: Limits,
    /// Lines below `http:` of the receiver, indented by eight spaces.
    receiver: &'a str,
    /// Where the exporter's queue is on disk.
    storage: Option<&'a Path>,
    /// Whether such a queue says success before the disk has it.
    unsynced: bool,
    /// The port of the page of the agent's own metrics, if it has one.
    metrics: Option<u16>,
}

impl Bench {
    fn new(kind: Kind, backend_up: bool, extra: Extra<'_>) -> Bench {
        Bench::edited(kind, backend_up, extra, |yaml, _| yaml)
    }

    /// With a configuration that `edit` makes of the usual one and the port of the backend.
    fn edited(
        kind: Kind,
        backend_up: bool,
        extra: Extra<'_>,
        edit: impl FnOnce(String, u16) -> String,
    ) -> Bench {
        let oracle = Arc::new(Oracle::default());
        let backend = if backend_up { Backend::up(&oracle) } else { Backend::down(&oracle) };
        let (http, grpc) = (free_port(), free_port());
        let configuration = edit(yaml(http, grpc, backend.port, extra), backend.port);
        let limits = extra.limits;
        let agent = Agent::start_within(kind, &configuration, limits);
        Bench { oracle, backend, agent, http, grpc, kind, configuration, limits }
    }

    /// Starts the agent again, after it has ended; whether it becomes ready.
    fn start_again(&mut self, outcome: &mut Outcome) -> bool {
        self.agent = Agent::launch(self.kind, &self.configuration, self.limits);
        let ready = self.agent.is_ready();
        let log = self.agent.log();
        outcome.require(ready, format!("does not start again: {}", log.lines().last().unwrap_or_default()));
        ready
    }

    /// The configuration with other extras.
    fn yaml(&self, extra: Extra<'_>) -> String {
        yaml(self.http, self.grpc, self.backend.port, extra)
    }

    /// Sends until so many records are acknowledged that a loss beside the fault would show; whether they were.
    fn fill(&self) -> bool {
        let load = Load::start(self.http, &self.oracle, Shape { pause: Duration::ZERO, ..Shape::default() });
        let enough = until_acknowledged(&self.oracle, ENOUGH);
        load.stop();
        enough
    }

    /// After it has ended: whether it starts again, and a fresh record passes.
    fn check_anew(&mut self, outcome: &mut Outcome) {
        if self.start_again(outcome) {
            self.check_alive(outcome);
        }
    }

    /// Whether a fresh record passes.
    fn check_alive(&mut self, outcome: &mut Outcome) {
        let alive = self.agent.is_running() && passes(self.http, &self.oracle);
        outcome.require(alive, "a fresh record does not pass after the fault");
    }
}

fn yaml(http: u16, grpc: u16, backend: u16, extra: Extra<'_>) -> String {
    let Extra { exporter, processors: (section, list), receiver, storage, unsynced, metrics, .. } = extra;
    let metrics = match metrics {
        None => "{level: none}".to_owned(),
        Some(port) => {
            format!(
                "{{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {port}}}}}}}}}]}}"
            )
        }
    };
    let (extensions, queue, running) = match storage {
        None => (String::new(), "", ""),
        // What a queue on disk promises holds with fsync, which the Collector has to be told.
        Some(path) => (
            format!(
                "extensions:\n  file_storage: {{directory: \"{}\", fsync: {}}}\n",
                path.display(),
                !unsynced
            ),
            "    sending_queue: {storage: file_storage, queue_size: 100000}\n",
            "  extensions: [file_storage]\n",
        ),
    };
    format!(
        "{extensions}receivers:\n  otlp:\n    protocols:\n      grpc: {{endpoint: \"127.0.0.1:{grpc}\"}}\n      http:\n        \
         endpoint: \"127.0.0.1:{http}\"\n{receiver}{section}exporters:\n  otlp_http:\n    endpoint: \
         \"http://127.0.0.1:{backend}\"\n    compression: none\n{exporter}{queue}service:\n{running}  telemetry: {{metrics: \
         {metrics}}}\n  pipelines:\n    logs: {{receivers: [otlp], processors: [{list}], exporters: [otlp_http]}}\n"
    )
}

/// Retries without end, every second at most.
const PATIENT: &str =
    "    retry_on_failure: {initial_interval: 100ms, max_interval: 1s, max_elapsed_time: 0s}\n";

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of so many lost records of so many.
    fn judged(acknowledged: usize, lost: usize, said: Option<usize>) -> Outcome {
        let mut outcome = Outcome { fired: true, ..Outcome::default() };
        outcome.judge_sums(&Sums { acknowledged, lost, ..Sums::default() }, said);
        outcome
    }

    #[test]
    fn few_records_show_nothing() {
        assert!(judged(ENOUGH, 0, None).fired && !judged(ENOUGH - 1, 0, None).fired);
    }

    #[test]
    fn what_is_said_to_be_lost_has_to_be_exact() {
        let broken = |lost, said| judged(ENOUGH, lost, said).broken;
        assert_eq!((broken(0, None), broken(5, Some(5))), (vec![], vec![]));
        assert_eq!(broken(5, None), ["5 lost"]);
        assert_eq!(broken(5, Some(4)), ["5 lost, 4 said"]);
        assert_eq!(broken(5, Some(1_000_000_000)), ["5 lost, 1000000000 said"]);
    }
}

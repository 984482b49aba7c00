//! Verdicts to metrics, log records and spans.

use weir_component::Clock;
use weir_connection::names::{self, leak_metric};
use weir_connection::process::{ProcessInfo, ProcessKey};
use weir_connection::publish::CodeSite;
use weir_connection::report::{Caller, Finding, Site, State};
use weir_connection::spans;
use weir_connection::table::{ConnectionTable, MAX_EXEMPLARS};
use weir_connection::terminal;
use weir_pdata::Payload;
use weir_pdata::otlp::common::v1::{AnyValue, KeyValue, any_value::Value};
use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use weir_pdata::otlp::metrics::v1::exemplar::Value as ExemplarValue;
use weir_pdata::otlp::metrics::v1::{Exemplar, NumberDataPoint, ResourceMetrics, ScopeMetrics};
use weir_pdata::otlp::{LogsRequest, MetricsRequest, kv, point, resource, scope};

use crate::detector::Change;
use crate::roots::SourceRoots;

/// Instrumentation scope of what the detector says.
const SCOPE: &str = "weir/leak_detection";

/// What is known of the processes behind findings, to find their details and connections.
pub(crate) struct Emitter<'a> {
    pub(crate) table: &'a ConnectionTable,
    pub(crate) clock: &'a Clock,
    pub(crate) roots: &'a SourceRoots,
}

impl Emitter<'_> {
    /// Adds what only this agent knows: exemplar connections and goroutine stacks.
    pub(crate) fn detail(&self, finding: &mut Finding) {
        if finding.state == State::Ok {
            return;
        }
        let Some(key) = self.process(finding) else { return };
        let now = self.clock.unix_nanos();
        finding.exemplars = self.table.exemplars(&key, &finding.resource, &finding.target, now);
        finding.exemplars.iter_mut().for_each(|e| self.roots.shorten(&mut e.site));
        finding.stacks = self.table.stacks(&key);
        finding.site.iter_mut().chain(&mut finding.other_sites).for_each(|site| self.add_callers(&key, site));
        if let Some(site) = finding.site.as_ref().filter(|site| site.callers.len() > 1) {
            finding.missing.push(format!(
                "a line for each of the {} callers of {}: is it a helper that dials for others, set \
                 WEIR_IGNORE_FUNCTIONS={} in the service",
                site.callers.len(),
                site.function,
                site.function
            ));
        }
    }

    /// Adds how a line is reached.
    fn add_callers(&self, key: &ProcessKey, site: &mut Site) {
        let short = |file: &str| {
            let mut file = file.to_owned();
            self.roots.shorten(&mut file);
            file
        };
        let is = |known: &CodeSite| known.line == site.line && short(&known.file) == site.file;
        let Some(found) = self.table.callers(key, is) else { return };
        let frame = |f: &CodeSite| format!("{} {}:{}", f.function, short(&f.file), f.line);
        let caller = |(f, share): &(CodeSite, f64)| Caller {
            file: short(&f.file),
            line: f.line,
            function: f.function.clone(),
            share: *share,
        };
        (site.stack, site.callers) =
            (found.stack.iter().map(frame).collect(), found.callers.iter().map(caller).collect());
    }

    /// Where connections of a finding lead, as `address:port`; empty when none is known.
    pub(crate) fn peers(&self, finding: &Finding) -> Vec<String> {
        let Some(key) = self.process(finding) else { return Vec::new() };
        let now = self.clock.unix_nanos();
        let known = self.table.exemplars(&key, &finding.resource, &finding.target, now);
        let mut peers: Vec<String> =
            known.into_iter().filter(|e| !e.local.is_empty()).map(|e| e.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    fn process(&self, finding: &Finding) -> Option<ProcessKey> {
        self.table.find(&finding.process.host, finding.process.pid, &finding.instance)
    }

    /// `leak.*` gauges of the findings at `time` (Unix ns). Their attributes are stable; state and numbers are values.
    pub(crate) fn metrics(&self, findings: &[Finding], time: u64) -> Option<Payload> {
        let resource_metrics: Vec<_> = findings.iter().map(|f| self.resource_metrics(f, time)).collect();
        (!resource_metrics.is_empty()).then(|| MetricsRequest { resource_metrics }.into())
    }

    fn resource_metrics(&self, finding: &Finding, time: u64) -> ResourceMetrics {
        let base = subject(finding);
        let one = |value: f64| point(time, 0, value, base.clone());
        let mut state = one(finding.state.code() as f64);
        let mut open = one(finding.growth.open);
        self.add_exemplar(finding, time, [&mut state, &mut open]);
        let exhaustion: Vec<NumberDataPoint> = (finding.forecast.iter())
            .filter_map(|f| f.seconds.map(|s| (f, s)))
            .map(|(f, seconds)| {
                let limit = kv(names::LEAK_LIMIT, f.resource.as_str());
                point(time, 0, seconds, base.iter().cloned().chain([limit]).collect())
            })
            .collect();
        let mut metrics = vec![
            leak_metric::LEAK_STATE.with(vec![state]),
            leak_metric::LEAK_OPEN.with(vec![open]),
            leak_metric::LEAK_RATE.with(vec![one(finding.growth.rate)]),
        ];
        if !exhaustion.is_empty() {
            metrics.push(leak_metric::LEAK_EXHAUSTION.with(exhaustion));
        }
        let scope = Some(scope(SCOPE, env!("CARGO_PKG_VERSION")));
        ResourceMetrics {
            resource: Some(resource(self.process_attributes(finding))),
            scope_metrics: vec![ScopeMetrics { scope, metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }
    }

    /// Points to the still-open span of the oldest connection behind a leak.
    fn add_exemplar(&self, finding: &Finding, time: u64, points: [&mut NumberDataPoint; 2]) {
        if finding.state != State::Leaking {
            return;
        }
        let Some(key) = self.process(finding) else { return };
        let oldest = finding.exemplars.first().and_then(|e| e.id.parse::<u64>().ok());
        let Some(id) = oldest.filter(|_| finding.exemplars.first().is_some_and(|e| !e.trace_id.is_empty()))
        else {
            return;
        };
        for p in points {
            p.exemplars.push(Exemplar {
                time_unix_nano: time,
                trace_id: spans::trace_id(&key, id).to_vec(),
                span_id: spans::span_id(&key, id, spans::Which::Open).to_vec(),
                value: Some(ExemplarValue::AsDouble(finding.growth.open)),
                ..Exemplar::default()
            });
        }
    }

    /// The process as its sources name it, so that all its metrics have one resource.
    fn process_attributes(&self, finding: &Finding) -> Vec<KeyValue> {
        let known = self.process(finding).and_then(|key| self.table.info(&key));
        let mut info = known.unwrap_or_else(|| ProcessInfo {
            key: ProcessKey {
                host: finding.process.host.clone(),
                pid: finding.process.pid,
                ..ProcessKey::default()
            },
            service: finding.service.clone(),
            instance: finding.instance.clone(),
            executable: finding.process.executable.clone(),
            ..ProcessInfo::default()
        });
        // Where its events have ceased, the finding still knows what they called it.
        for (known, told) in [(&mut info.service, &finding.service), (&mut info.instance, &finding.instance)]
        {
            if known.is_empty() {
                known.clone_from(told);
            }
        }
        info.attributes()
    }

    /// A log record for each change of state, with the evidence as attributes.
    pub(crate) fn logs(&self, changes: &[Change]) -> Option<Payload> {
        let time = self.clock.unix_nanos();
        let resource_logs: Vec<_> =
            changes.iter().map(|c| resource_logs(c, self.process_attributes(&c.finding), time)).collect();
        (!resource_logs.is_empty()).then(|| LogsRequest { resource_logs }.into())
    }

    /// Spans of exemplar connections that are still open, for a verdict that just became `leaking`.
    pub(crate) fn open_spans(&self, changes: &[Change]) -> Option<Payload> {
        let mut all: Option<Payload> = None;
        for change in changes.iter().filter(|c| c.to == State::Leaking && c.from != State::Leaking) {
            let finding = &change.finding;
            let Some(key) = self.process(finding) else { continue };
            let Some((info, open)) = self.table.open_connections(&key, &finding.target, MAX_EXEMPLARS) else {
                continue;
            };
            let now = self.clock.unix_nanos();
            let spans: Vec<_> =
                open.iter().map(|c| spans::still_open(&key, c, now, verdict_attributes(finding))).collect();
            if spans.is_empty() {
                continue;
            }
            let payload = Payload::from(spans::request(&info, spans));
            match &mut all {
                Some(all) => drop(all.append(payload)),
                none => *none = Some(payload),
            }
        }
        all
    }
}

/// What a verdict adds to spans and log records.
pub(crate) fn verdict_attributes(finding: &Finding) -> Vec<KeyValue> {
    let mut attributes = vec![kv(names::LEAK_STATE, finding.state.word().to_ascii_lowercase())];
    for (key, value) in [(names::LEAK_CLASS, &finding.class), (names::LEAK_CONFIDENCE, &finding.confidence)] {
        if !value.is_empty() {
            attributes.push(kv(key, value.as_str()));
        }
    }
    if let Some(site) = &finding.site {
        attributes.push(kv(names::LEAK_SITE, format!("{}:{}", site.file, site.line)));
    }
    attributes
}

/// What makes a finding a series; stable over its life.
fn subject(finding: &Finding) -> Vec<KeyValue> {
    let pairs = [
        (names::ATTR_RESOURCE, &finding.resource),
        (names::ATTR_SIDE, &finding.side),
        (names::ATTR_TARGET, &finding.target),
    ];
    pairs.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| kv(k, v.as_str())).collect()
}

fn resource_logs(change: &Change, process: Vec<KeyValue>, time: u64) -> ResourceLogs {
    let finding = &change.finding;
    let severity = match change.to {
        State::Leaking => SeverityNumber::Error,
        State::Suspect => SeverityNumber::Warn,
        State::Ok | State::Recovering => SeverityNumber::Info,
    };
    let mut attributes = verdict_attributes(finding);
    attributes.push(kv("leak.state.previous", change.from.word().to_ascii_lowercase()));
    attributes.extend(subject(finding));
    attributes.push(kv("leak.rate", finding.growth.rate));
    attributes.push(kv("leak.open_connections", finding.growth.open));
    for evidence in &finding.evidence {
        attributes.push(kv(&format!("leak.evidence.{}", evidence.source), evidence.text.as_str()));
    }
    if !finding.cure.is_empty() {
        attributes.push(kv("leak.cure", finding.cure.as_str()));
    }
    let text = terminal::render_finding(finding, time as f64 / 1e9, &terminal::Options::default());
    let record = LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: severity as i32,
        severity_text: change.to.word().to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(text.trim_end().to_owned())) }),
        attributes,
        event_name: names::LEAK_EVENT.to_owned(),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs {
        scope: Some(scope(SCOPE, env!("CARGO_PKG_VERSION"))),
        log_records: vec![record],
        ..ScopeLogs::default()
    }];
    ResourceLogs { resource: Some(resource(process)), scope_logs, ..ResourceLogs::default() }
}

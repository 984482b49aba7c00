//! Verdicts onto spans and log records that pass.
//!
//! Only connection spans and connection events of processes with a verdict other than ok are touched; everything else
//! goes through as the bytes that came in. Metrics are never touched: an attribute that changes makes a new series.
//!
//! A verdict names the target as it was dialled, a span the address of the peer. The connection table knows both of what
//! it tracks; of anything else the addresses are compared.

use weir_connection::process::{ProcessInfo, ProcessKey};
use weir_connection::report::{Finding, State};
use weir_connection::table::ConnectionTable;
use weir_connection::{events, names};
use weir_pdata::otlp::common::v1::{AnyValue, KeyValue, any_value::Value};
use weir_pdata::view;
use weir_pdata::{Payload, Signal};

use crate::detector::Address;
use crate::emit::verdict_attributes;

/// Adds the verdicts of `findings` to what they concern in `payload`; `table` knows what its connections lead to.
pub(crate) fn enrich(payload: &mut Payload, findings: &[Finding], table: &ConnectionTable) {
    let urgent: Vec<&Finding> = findings.iter().filter(|f| f.state != State::Ok).collect();
    if urgent.is_empty() || !concerns(payload, &urgent) {
        return;
    }
    match payload.signal() {
        Signal::Traces => traces(payload, &urgent, table),
        Signal::Logs => logs(payload, &urgent, table),
        Signal::Metrics | Signal::Profiles => {}
    }
}

/// Whether anything in the payload may be touched; reads no more than it must.
fn concerns(payload: &Payload, urgent: &[&Finding]) -> bool {
    view::resources(payload).any(|resource| {
        let ours = resource.scopes().any(|scope| match payload.signal() {
            Signal::Traces => scope.name() == names::SCOPE,
            Signal::Logs => events::version(&scope).is_some(),
            Signal::Metrics | Signal::Profiles => false,
        });
        ours && {
            let info = ProcessInfo::read(resource.attributes());
            urgent.iter().any(|f| is_of(f, &info))
        }
    })
}

/// Whether a finding is about that process.
fn is_of(finding: &Finding, info: &ProcessInfo) -> bool {
    if finding.process.pid > 0 && info.key.pid > 0 {
        return finding.process.pid == info.key.pid && finding.process.host == info.key.host;
    }
    !finding.instance.is_empty() && finding.instance == info.instance
}

/// The verdicts on one process, and what the table knows of it.
struct Subject<'a> {
    findings: Vec<&'a Finding>,
    table: &'a ConnectionTable,
    key: Option<ProcessKey>,
}

impl<'a> Subject<'a> {
    fn new(
        urgent: &[&'a Finding],
        table: &'a ConnectionTable,
        resource: Option<&weir_pdata::otlp::resource::v1::Resource>,
    ) -> Subject<'a> {
        let info = info(resource);
        let findings: Vec<&Finding> = urgent.iter().filter(|f| is_of(f, &info)).copied().collect();
        let known = || table.find(&info.key.host, info.key.pid, &info.instance);
        let key = if findings.is_empty() { None } else { known() };
        Subject { findings, table, key }
    }

    /// Adds the finding on the client or connection that the attributes name, else the one on the whole process.
    /// `told` is the target that the record itself tells of.
    fn add(&self, attributes: &mut Vec<KeyValue>, told: &str) {
        if self.findings.is_empty() {
            return;
        }
        let (client, connection) = (id(attributes, "grpc.client.id"), id(attributes, "connection.id"));
        let known = self.key.as_ref().map(|key| self.table.targets(key, client, connection));
        let finding = self.on(&known.unwrap_or_default(), events::target_address(told));
        add(attributes, finding.or_else(|| self.findings.iter().find(|f| f.target.is_empty()).copied()));
    }

    fn on(&self, known: &[String], told: &str) -> Option<&'a Finding> {
        let named = |f: &&&Finding| {
            let target = events::target_address(&f.target);
            !target.is_empty() && (target == told || known.iter().any(|name| name == target))
        };
        if let Some(finding) = self.findings.iter().find(named) {
            return Some(finding);
        }
        let address = Address::parse(told);
        let alike = |f: &&&Finding| !f.target.is_empty() && Address::parse(&f.target).matches(&address);
        // What the table tracks has been compared by name.
        self.findings.iter().find(|f| known.is_empty() && alike(f)).copied()
    }
}

fn traces(payload: &mut Payload, urgent: &[&Finding], table: &ConnectionTable) {
    let mut request = payload.decode_traces();
    for resource in &mut request.resource_spans {
        let subject = Subject::new(urgent, table, resource.resource.as_ref());
        for scope in &mut resource.scope_spans {
            if scope.scope.as_ref().is_none_or(|s| s.name != names::SCOPE) {
                continue;
            }
            for span in &mut scope.spans {
                let told = span.name.strip_prefix("grpc.connection ").unwrap_or_default();
                subject.add(&mut span.attributes, told);
            }
        }
    }
    *payload = Payload::from(request);
}

fn logs(payload: &mut Payload, urgent: &[&Finding], table: &ConnectionTable) {
    let mut request = payload.decode_logs();
    for resource in &mut request.resource_logs {
        let subject = Subject::new(urgent, table, resource.resource.as_ref());
        for record in resource.scope_logs.iter_mut().flat_map(|s| &mut s.log_records) {
            if events::is_event(&record.event_name) {
                let told = told_by(&record.attributes);
                subject.add(&mut record.attributes, &told);
            }
        }
    }
    *payload = Payload::from(request);
}

/// The target that an event tells of: the gRPC target of a client, else the peer address, else nothing.
fn told_by(attributes: &[KeyValue]) -> String {
    let text = |key: &str| match find(attributes, key) {
        Some(Value::StringValue(s)) => s.clone(),
        Some(Value::IntValue(i)) => i.to_string(),
        _ => String::new(),
    };
    let (target, address) = (text("grpc.target"), text("network.peer.address"));
    if target.is_empty() && !address.is_empty() {
        return format!("{address}:{}", text("network.peer.port"));
    }
    target
}

/// A positive integer; 0 when there is none.
fn id(attributes: &[KeyValue], key: &str) -> u64 {
    match find(attributes, key) {
        Some(Value::IntValue(id)) => u64::try_from(*id).unwrap_or(0),
        _ => 0,
    }
}

fn add(attributes: &mut Vec<KeyValue>, finding: Option<&Finding>) {
    let Some(finding) = finding else { return };
    let new = verdict_attributes(finding);
    attributes.retain(|a| !new.iter().any(|n| n.key == a.key));
    attributes.extend(new);
}

/// Identity of a resource, read from its owned form.
fn info(resource: Option<&weir_pdata::otlp::resource::v1::Resource>) -> ProcessInfo {
    let mut info = ProcessInfo::default();
    let Some(resource) = resource else { return info };
    let text = |key: &str| match find(&resource.attributes, key) {
        Some(Value::StringValue(s)) => s.clone(),
        _ => String::new(),
    };
    if let Some(Value::IntValue(pid)) = find(&resource.attributes, names::PROCESS_PID) {
        info.key.pid = *pid;
    }
    info.key.host = text(names::HOST_NAME);
    info.instance = text(names::SERVICE_INSTANCE_ID);
    info.service = text(names::SERVICE_NAME);
    info
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|a| a.key == key)?;
    found.value.as_ref().and_then(|AnyValue { value }| value.as_ref())
}

#[cfg(test)]
mod tests;

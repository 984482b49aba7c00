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
use weir_pdata::edit::{AttributeList, Editor, Encoded, Message, Then};
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
    payload.edit(&mut Verdicts { signal: payload.signal(), urgent, table, subject: Subject::default() });
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

/// Leads through a payload and adds the verdicts.
struct Verdicts<'a> {
    signal: Signal,
    urgent: Vec<&'a Finding>,
    table: &'a ConnectionTable,
    /// Of the resource that is looked at.
    subject: Subject<'a>,
}

impl Editor for Verdicts<'_> {
    fn resource(&mut self, resource: view::Resource<'_>, _: &mut Message<'_, '_>) -> Then {
        let info = ProcessInfo::read(resource.attributes());
        let findings: Vec<_> = self.urgent.iter().filter(|f| is_of(f, &info)).copied().collect();
        if findings.is_empty() {
            return Then::Keep;
        }
        let key = self.table.find(&info.key.host, info.key.pid, &info.instance);
        self.subject = Subject { findings, known: key.map(|key| (self.table, key)) };
        Then::Descend
    }

    fn scope(&mut self, scope: view::Scope<'_>, _: &mut Message<'_, '_>) -> Then {
        let ours = self.signal == Signal::Logs || scope.name() == names::SCOPE;
        if ours { Then::Descend } else { Then::Keep }
    }

    fn item(&mut self, item: &mut Message<'_, '_>) -> Then {
        let (span, record) = (item.as_span(), item.as_log_record());
        let Some(attributes) = item.attributes() else { return Then::Keep };
        if let Some(span) = span {
            let told = span.name().strip_prefix("grpc.connection ").unwrap_or_default();
            self.subject.add(attributes, told);
        } else if record.is_some_and(|record| events::is_event(record.event_name())) {
            let told = told_by(attributes);
            self.subject.add(attributes, &told);
        }
        Then::Keep
    }
}

/// The verdicts on one process, and what the table knows of it.
#[derive(Default)]
struct Subject<'a> {
    findings: Vec<&'a Finding>,
    known: Option<(&'a ConnectionTable, ProcessKey)>,
}

impl<'a> Subject<'a> {
    /// Adds the finding on the client or connection that the attributes name, else the one on the whole process.
    /// `told` is the target that the record itself tells of.
    fn add(&self, attributes: &mut AttributeList<'_>, told: &str) {
        let (client, connection) = (id(attributes, "grpc.client.id"), id(attributes, "connection.id"));
        let known = self.known.as_ref().map(|(table, key)| table.targets(key, client, connection));
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

/// The target that an event tells of: the gRPC target of a client, else the peer address, else nothing.
fn told_by(attributes: &AttributeList<'_>) -> String {
    let text = |key: &str| match attributes.get(key).map(|value| attributes.read_value(value)) {
        Some(view::AnyValue::Str(text)) => text.to_owned(),
        Some(view::AnyValue::Int(number)) => number.to_string(),
        _ => String::new(),
    };
    let (target, address) = (text("grpc.target"), text("network.peer.address"));
    if target.is_empty() && !address.is_empty() {
        return format!("{address}:{}", text("network.peer.port"));
    }
    target
}

/// A positive integer; 0 when there is none.
fn id(attributes: &AttributeList<'_>, key: &str) -> u64 {
    let id = attributes.get(key).and_then(|value| attributes.read_value(value).as_i64());
    id.and_then(|id| u64::try_from(id).ok()).unwrap_or(0)
}

fn add(attributes: &mut AttributeList<'_>, finding: Option<&Finding>) {
    let Some(finding) = finding else { return };
    let new = verdict_attributes(finding);
    attributes.retain(|key| !new.iter().any(|pair| pair.key == key));
    for pair in &new {
        let value = attributes.encoded(&Encoded::from(&pair.value.clone().unwrap_or_default()));
        attributes.push(&pair.key, value);
    }
}

#[cfg(test)]
mod tests;

//! Verdicts onto spans and log records that pass.
//!
//! Only connection spans and connection events of processes with a verdict other than ok are touched; everything else
//! goes through as the bytes that came in. Metrics are never touched: an attribute that changes makes a new series.

use weir_connection::process::ProcessInfo;
use weir_connection::report::{Finding, State};
use weir_connection::{events, names};
use weir_pdata::otlp::common::v1::{AnyValue, KeyValue, any_value::Value};
use weir_pdata::view;
use weir_pdata::{Payload, Signal};

use crate::emit::verdict_attributes;

/// Adds the verdicts of `findings` to what they concern in `payload`.
pub(crate) fn enrich(payload: &mut Payload, findings: &[Finding]) {
    let urgent: Vec<&Finding> = findings.iter().filter(|f| f.state != State::Ok).collect();
    if urgent.is_empty() || !concerns(payload, &urgent) {
        return;
    }
    match payload.signal() {
        Signal::Traces => traces(payload, &urgent),
        Signal::Logs => logs(payload, &urgent),
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

/// The finding for a connection to `target`, or the one of the whole process.
fn for_target<'a>(urgent: &[&'a Finding], info: &ProcessInfo, target: &str) -> Option<&'a Finding> {
    let of_process = || urgent.iter().filter(|f| is_of(f, info));
    of_process().find(|f| f.target == target).or_else(|| of_process().find(|f| f.target.is_empty())).copied()
}

fn traces(payload: &mut Payload, urgent: &[&Finding]) {
    let mut request = payload.decode_traces();
    for resource in &mut request.resource_spans {
        let info = info(resource.resource.as_ref());
        for scope in &mut resource.scope_spans {
            if scope.scope.as_ref().is_none_or(|s| s.name != names::SCOPE) {
                continue;
            }
            for span in &mut scope.spans {
                let target = span.name.strip_prefix("grpc.connection ").unwrap_or_default();
                add(&mut span.attributes, for_target(urgent, &info, target));
            }
        }
    }
    *payload = Payload::from(request);
}

fn logs(payload: &mut Payload, urgent: &[&Finding]) {
    let mut request = payload.decode_logs();
    for resource in &mut request.resource_logs {
        let info = info(resource.resource.as_ref());
        for record in resource.scope_logs.iter_mut().flat_map(|s| &mut s.log_records) {
            if events::is_event(&record.event_name) {
                let target = target_of(&record.attributes);
                add(&mut record.attributes, for_target(urgent, &info, &target));
            }
        }
    }
    *payload = Payload::from(request);
}

/// The target of an event: the gRPC target of a client, else the peer address.
fn target_of(attributes: &[KeyValue]) -> String {
    let text = |key: &str| match find(attributes, key) {
        Some(Value::StringValue(s)) => s.clone(),
        Some(Value::IntValue(i)) => i.to_string(),
        _ => String::new(),
    };
    let target = text("grpc.target");
    if target.is_empty() {
        return format!("{}:{}", text("network.peer.address"), text("network.peer.port"));
    }
    events::target_address(&target).to_owned()
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

//! The agent's own connections: what a watched service sends here, and what is asked of it from here.
//!
//! They are judged as all others, since a service may leak its exporters too, but they say what they are and stand behind
//! the rest as long as they are fine.

use std::sync::Arc;

use weir_component::Host;
use weir_connection::asked::Asked;
use weir_connection::report::{Finding, State};
use weir_kernel::host_name;

use crate::detector::{Address, Change};

/// Knows the agent's own addresses.
pub(crate) struct Own {
    host: Host,
    asked: Arc<Asked>,
    /// Name of this machine: its loopback addresses are not those of another one.
    name: String,
}

/// What this agent listens on, and where it asks, each with the component that does.
#[derive(Debug, Default)]
struct Ends {
    listening: Vec<(Address, String)>,
    asked: Vec<(Address, String)>,
}

impl Own {
    pub(crate) fn new(host: &Host) -> Own {
        Own { host: host.clone(), asked: host.shared(), name: host_name() }
    }

    /// Marks the findings and changes that are about the agent's own connections; fine ones go to the end.
    pub(crate) fn attribute(&self, findings: &mut [Finding], changes: &mut [Change]) {
        let ends = self.ends();
        let all = findings.iter_mut().chain(changes.iter_mut().map(|change| &mut change.finding));
        all.filter(|f| f.process.host == self.name).for_each(|f| ends.attribute(f));
        findings.sort_by_key(|f| f.state == State::Ok && !f.own.is_empty());
    }

    fn ends(&self) -> Ends {
        let listening = self.host.handover().owners().into_iter();
        let listening =
            listening.filter_map(|(key, id)| Some((Address::parse(key.strip_prefix("tcp ")?), id)));
        // A receiver that a reload took away asks no more.
        let sources = self.host.sources();
        let runs = |id: &String| sources.iter().any(|(source, _)| source == id);
        let asked = self.asked.all().into_iter().filter(|(_, id)| runs(id));
        let asked = asked.map(|(address, id)| (Address::parse(&address), id));
        Ends { listening: listening.collect(), asked: asked.collect() }
    }
}

impl Ends {
    fn attribute(&self, finding: &mut Finding) {
        let server = finding.side == "server";
        let ends = if server { &self.asked } else { &self.listening };
        let target = Address::parse(&finding.target);
        let Some((_, id)) = ends.iter().find(|(end, _)| is_at(end, &target)) else { return };
        finding.own.clone_from(id);
        let what = if server { "what this agent asks it" } else { "what it sends to this agent" };
        finding.explanation = format!("{what} ({id}): {}", finding.explanation);
    }
}

/// Whether the target is that end. A name may stand for another machine, and every address for those of this one.
fn is_at(end: &Address, target: &Address) -> bool {
    let (Address::Ip(host, port), Address::Ip(other, other_port)) = (end, target) else { return false };
    let any = |host: &str| matches!(host, "0.0.0.0" | "::");
    let same = host == other || any(host) && target.is_loopback() || any(other) && end.is_loopback();
    same && port == other_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_the_agents_listeners_is_its_own_and_nothing_else() {
        let end = |address: &str, id: &str| (Address::parse(address), id.to_owned());
        let ends = Ends {
            listening: vec![end("localhost:4327", "grpc_connections"), end("0.0.0.0:4317", "otlp")],
            asked: vec![end("127.0.0.1:6060", "pprof")],
        };
        for (side, target, own) in [
            ("client", "127.0.0.1:4327", "grpc_connections"),
            ("client", "[::1]:4317", "otlp"),
            ("client", "localhost:4317", "otlp"),
            ("client", "10.0.0.7:4317", ""),
            ("client", "collector:4317", ""),
            ("client", "127.0.0.1:6060", ""),
            ("server", "127.0.0.1:6060", "pprof"),
            ("server", "[::]:6060", "pprof"),
            ("server", "127.0.0.1:4327", ""),
            ("client", "", ""),
        ] {
            let explanation = "open connections level off at 1".to_owned();
            let mut finding =
                Finding { side: side.into(), target: target.into(), explanation, ..Finding::default() };
            ends.attribute(&mut finding);
            assert_eq!(finding.own, own, "{side} {target}");
            assert_eq!(finding.explanation.contains("this agent"), !own.is_empty());
        }
    }
}

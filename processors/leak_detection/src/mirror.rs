//! The same connections seen from their other end.
//!
//! When a client leaks, its server's connections grow too. Where both ends are known here, the leak is the client's: the
//! server's finding becomes a suspect that points there, so that one leak is one leak.

use weir_connection::report::{Finding, State};

use crate::detector::Change;

/// Class of a server-side finding whose client is known.
const CLASS: &str = "held_by_client";

/// Rates of both ends that differ by no more than this share are the same growth.
const TOLERANCE: f64 = 0.5;

/// Points the server's findings to those of their clients.
pub(crate) fn settle(findings: &mut [Finding], changes: &mut Vec<Change>) {
    let clients: Vec<Finding> =
        findings.iter().filter(|f| f.side == "client" && f.state == State::Leaking).cloned().collect();
    for finding in findings.iter_mut() {
        point(finding, &clients);
    }
    for change in changes.iter_mut() {
        if point(&mut change.finding, &clients) {
            change.to = change.finding.state;
        }
    }
    changes.retain(|c| c.from != c.to);
}

/// Whether the finding is the other end of one of these clients; it then says so.
fn point(finding: &mut Finding, clients: &[Finding]) -> bool {
    if finding.side != "server" || !matches!(finding.state, State::Leaking | State::Suspect) {
        return false;
    }
    let Some(client) = clients.iter().find(|c| same_growth(c, finding)) else { return false };
    let site = client.site.as_ref().map(|s| format!(" at {}:{}", s.file, s.line)).unwrap_or_default();
    finding.state = State::Suspect;
    finding.class = CLASS.to_owned();
    finding.explanation = format!("its client {} leaks them{site}: the connections are the same", client.service);
    finding.cure = format!("mend the client {}: {}", client.service, client.cure);
    finding.missing.clear();
    true
}

fn same_growth(client: &Finding, server: &Finding) -> bool {
    let larger = client.growth.rate.max(server.growth.rate);
    client.target == server.target && (client.growth.rate - server.growth.rate).abs() <= TOLERANCE * larger
}

#[cfg(test)]
mod tests {
    use weir_connection::report::Growth;

    use super::*;

    fn finding(service: &str, side: &str, target: &str, rate: f64) -> Finding {
        Finding {
            state: State::Leaking,
            service: service.into(),
            side: side.into(),
            target: target.into(),
            growth: Growth { rate, ..Growth::default() },
            ..Finding::default()
        }
    }

    #[test]
    fn a_leak_whose_both_ends_are_known_is_the_clients() {
        let mut findings = vec![finding("orders", "server", "h:1", 2.1), finding("checkout", "client", "h:1", 2.0)];
        let change = Change { from: State::Suspect, to: State::Leaking, finding: findings[0].clone() };
        let mut changes = vec![change];
        settle(&mut findings, &mut changes);
        assert_eq!((findings[0].state, findings[0].class.as_str()), (State::Suspect, CLASS));
        assert!(findings[0].explanation.contains("checkout"));
        assert_eq!(findings[1].state, State::Leaking);
        assert!(changes.is_empty(), "it was a suspect before");
    }

    #[test]
    fn a_server_that_grows_by_itself_stays_what_it_is() {
        for other in [finding("checkout", "client", "h:2", 2.0), finding("checkout", "client", "h:1", 0.1)] {
            let mut findings = vec![finding("orders", "server", "h:1", 2.0), other];
            settle(&mut findings, &mut Vec::new());
            assert_eq!(findings[0].state, State::Leaking);
        }
    }
}

//! One leak is one leak: findings that show the same growth point to the one that explains it.
//!
//! When a client leaks, its server's connections grow too. Where both ends are known here, the leak is the client's: the
//! server's finding becomes a suspect that points there. And the goroutines of a process grow with its leaked connections:
//! they are then no finding of their own. What was settled so stays so within wider bounds, so that a verdict does not come
//! and go where measured rates play around a bound.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use weir_connection::report::{Finding, HELD_BY_CLIENT, History, State};

use crate::detector::{Address, GOROUTINE};

/// What tells that one finding shows the growth of another.
struct Bounds {
    /// Rates of both ends that differ by no more than this share are the same growth.
    rates: f64,
    /// A client that holds this share of what is open at the server is what holds it.
    held: f64,
    /// A leaked connection holds at least this many goroutines, and at most that many more per second are its own.
    goroutines: RangeInclusive<f64>,
}

const BOUNDS: Bounds = Bounds { rates: 0.5, held: 0.5, goroutines: 0.8..=8.0 };

/// For a finding that was settled before.
const WIDER: Bounds = Bounds { rates: 0.7, held: 0.3, goroutines: 0.5..=12.0 };

/// Points the server's findings to those of their clients, and goroutines to the connections that hold them. Returns the ids
/// of those that it has settled; `before` are those of the last time.
///
/// `peers` tells where the connections of a client's finding lead (`address:port`), empty when nothing is known of them.
pub(crate) fn settle(
    findings: &mut [Finding],
    before: &BTreeSet<String>,
    peers: impl Fn(&Finding) -> Vec<String>,
) -> BTreeSet<String> {
    let clients: Vec<Finding> = findings.iter().filter(|f| f.side == "client").cloned().collect();
    let causes = causes(findings);
    let mut settled = BTreeSet::new();
    for finding in findings.iter_mut() {
        let bounds = if before.contains(&finding.id) { WIDER } else { BOUNDS };
        if point(finding, &clients, &bounds, &peers) || explain(finding, &causes, &bounds) {
            settled.insert(finding.id.clone());
        }
    }
    // What explains a growth goes before what it explains.
    findings.sort_by_key(|f| f.class == HELD_BY_CLIENT || f.resource == GOROUTINE && f.state == State::Ok);
    settled
}

/// Whether the finding is the other end of one of these clients; it then says so.
fn point(
    finding: &mut Finding,
    clients: &[Finding],
    bounds: &Bounds,
    peers: impl Fn(&Finding) -> Vec<String>,
) -> bool {
    if finding.side != "server" || finding.state == State::Ok {
        return false;
    }
    let Some(client) = clients.iter().find(|c| holds(c, finding, bounds) && leads(c, finding, &peers)) else {
        return false;
    };
    let site = client.site.as_ref().map(|s| format!(" at {}:{}", s.file, s.line)).unwrap_or_default();
    finding.class = HELD_BY_CLIENT.to_owned();
    finding.missing.clear();
    if finding.state == State::Recovering {
        return true;
    }
    finding.state = State::Suspect;
    finding.explanation = match client.ended {
        Some(_) => {
            format!("its client {} held them until it ended: the connections are the same", client.service)
        }
        None => format!("its client {} leaks them{site}: the connections are the same", client.service),
    };
    finding.cure = match client.cure.as_str() {
        "" => format!("see the client {}", client.service),
        cure => format!("mend the client {}: {cure}", client.service),
    };
    true
}

/// What may explain that the goroutines of a process grow.
struct Cause {
    service: String,
    host: String,
    pid: i64,
    state: State,
    label: String,
    target: String,
    /// Growth per second: since the onset, or over what the history holds while the state is ok.
    rate: f64,
}

/// The findings about connections of processes whose goroutines grow.
fn causes(findings: &[Finding]) -> Vec<Cause> {
    let growing: Vec<&Finding> =
        findings.iter().filter(|f| f.resource == GOROUTINE && f.state != State::Ok).collect();
    let of = |f: &Finding| Cause {
        service: f.service.clone(),
        host: f.process.host.clone(),
        pid: f.process.pid,
        state: f.state,
        label: f.resource_label.clone(),
        target: f.target.clone(),
        rate: if f.state == State::Ok { rise(&f.history) } else { f.growth.rate },
    };
    let wanted = |f: &&Finding| f.resource != GOROUTINE && growing.iter().any(|g| same_process(g, f));
    findings.iter().filter(wanted).map(of).collect()
}

fn same_process(a: &Finding, b: &Finding) -> bool {
    a.process.pid == b.process.pid && a.process.host == b.process.host && a.service == b.service
}

/// Growth per second from the first point of a history to the last.
fn rise(history: &History) -> f64 {
    let change = |of: &[f64]| Some(of.last()? - of.first()?);
    let (open, time) = (change(&history.open).unwrap_or(0.0), change(&history.time).unwrap_or(0.0));
    if time > 0.0 { open / time } else { 0.0 }
}

/// Whether the finding is about goroutines that connections of the same process explain: those grow as fast, or they
/// recover. It is then fine.
///
/// A mere suspicion is explained also by connections of which nothing is said yet: theirs is the verdict to wait for.
fn explain(finding: &mut Finding, causes: &[Cause], bounds: &Bounds) -> bool {
    if finding.resource != GOROUTINE || finding.state == State::Ok {
        return false;
    }
    let same_process = |cause: &&Cause| {
        cause.pid == finding.process.pid
            && cause.host == finding.process.host
            && cause.service == finding.service
    };
    let explains = |cause: &&Cause| match cause.state {
        // What recovers grows no more, while the slope of the goroutines still holds its rise.
        State::Recovering => true,
        State::Ok if finding.state != State::Suspect => false,
        _ => bounds.goroutines.contains(&(finding.growth.rate / cause.rate.max(1e-9))),
    };
    let Some(cause) = causes.iter().filter(same_process).find(explains) else { return false };
    let target = if cause.target.is_empty() { String::new() } else { format!(" to {}", cause.target) };
    let follow = if cause.state == State::Recovering { "grew" } else { "grow" };
    finding.explanation = format!("goroutines {follow} with the {}{target}: see there", cause.label);
    finding.state = State::Ok;
    finding.class.clear();
    finding.confidence.clear();
    finding.cure.clear();
    finding.missing.clear();
    finding.forecast.clear();
    (finding.site, finding.onset) = (None, None);
    finding.other_sites.clear();
    finding.growth.rate = 0.0;
    true
}

/// Whether the client holds most of what is open at the server, or grows as fast.
fn holds(client: &Finding, server: &Finding, bounds: &Bounds) -> bool {
    let larger = client.growth.rate.max(server.growth.rate);
    let same_growth =
        client.growth.rate > 0.0 && (client.growth.rate - server.growth.rate).abs() <= bounds.rates * larger;
    same_growth || held(client) >= bounds.held * server.growth.open
}

/// What a client holds open, or held when its process ended: its server hears of that a little later.
fn held(client: &Finding) -> f64 {
    let before = || client.history.open.last().copied().unwrap_or(0.0);
    if client.ended.is_some() { before() } else { client.growth.open }
}

/// Whether the client's connections lead to the server: by where they lead, else by the target that it dials.
///
/// A target may be a name, which tells no more than the port.
fn leads(client: &Finding, server: &Finding, peers: impl Fn(&Finding) -> Vec<String>) -> bool {
    let address = Address::parse(&server.target);
    let (here, there) = (&client.process.host, &server.process.host);
    if address.is_loopback() && here != there && !here.is_empty() && !there.is_empty() {
        return false;
    }
    let known = peers(client);
    if known.is_empty() {
        return !client.target.is_empty() && Address::parse(&client.target).matches(&address);
    }
    known.iter().any(|peer| Address::parse(peer).matches(&address))
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
            growth: Growth { rate, open: rate * 30.0, ..Growth::default() },
            ..Finding::default()
        }
    }

    fn unknown(_: &Finding) -> Vec<String> {
        Vec::new()
    }

    #[test]
    fn a_leak_whose_both_ends_are_known_is_the_clients() {
        let mut findings =
            vec![finding("orders", "server", "h:1", 2.1), finding("checkout", "client", "h:1", 2.0)];
        findings[0].id = "of the server".to_owned();
        let settled = settle(&mut findings, &BTreeSet::new(), unknown);
        assert_eq!(settled, BTreeSet::from(["of the server".to_owned()]));
        let (client, server) = (&findings[0], &findings[1]);
        assert_eq!((client.service.as_str(), client.state), ("checkout", State::Leaking));
        assert_eq!((server.state, server.class.as_str()), (State::Suspect, HELD_BY_CLIENT));
        assert!(server.explanation.contains("checkout"));
        findings[1].state = State::Recovering;
        findings[1].class = "server_half_open".to_owned();
        settle(&mut findings, &BTreeSet::new(), unknown);
        assert_eq!((findings[1].state, findings[1].class.as_str()), (State::Recovering, HELD_BY_CLIENT));
    }

    #[test]
    fn goroutines_that_leaked_connections_hold_are_no_finding_of_their_own() {
        let goroutines = Finding {
            state: State::Suspect,
            resource: GOROUTINE.into(),
            ..finding("checkout", "", "", 10.0)
        };
        let mut findings = vec![finding("checkout", "client", "h:1", 2.0), goroutines.clone()];
        settle(&mut findings, &BTreeSet::new(), unknown);
        assert_eq!(findings[1].state, State::Ok);
        let mended = Finding {
            state: State::Recovering,
            growth: Growth::default(),
            ..finding("checkout", "client", "h:1", 0.0)
        };
        let mut recovering = vec![mended, goroutines.clone()];
        settle(&mut recovering, &BTreeSet::new(), unknown);
        assert_eq!(recovering[1].state, State::Ok, "they were its goroutines");
        let young = Finding {
            state: State::Ok,
            growth: Growth { open: 40.0, ..Growth::default() },
            history: History { time: vec![0.0, 20.0], open: vec![0.0, 40.0], ..History::default() },
            ..finding("checkout", "client", "h:1", 0.0)
        };
        let mut early = vec![goroutines.clone(), young.clone()];
        settle(&mut early, &BTreeSet::new(), unknown);
        assert_eq!(
            (early[1].resource.as_str(), early[1].state),
            (GOROUTINE, State::Ok),
            "judged by the other"
        );
        let mut lasting = vec![young, Finding { state: State::Leaking, ..goroutines.clone() }];
        settle(&mut lasting, &BTreeSet::new(), unknown);
        assert_eq!(lasting[1].state, State::Leaking, "connections that are fine explain no leak");
        let mut alone = vec![finding("other", "client", "h:1", 2.0), goroutines];
        settle(&mut alone, &BTreeSet::new(), unknown);
        assert_eq!(alone[1].state, State::Suspect, "another service explains nothing");
    }

    #[test]
    fn what_was_settled_stays_so_while_rates_play_around_the_bound_and_no_longer() {
        let server = Finding { id: "server".into(), ..finding("orders", "server", "h:1", 2.0) };
        let goroutines = Finding {
            id: "goroutines".into(),
            resource: GOROUTINE.into(),
            ..finding("checkout", "", "", 10.0)
        };
        let mut before = BTreeSet::new();
        // The client's rate: its server's is 2, and goroutines go by 10.
        for (rate, ids) in [
            (0.8, vec![]),
            (2.0, vec!["goroutines", "server"]),
            (0.85, vec!["goroutines", "server"]),
            (0.5, vec![]),
            (0.85, vec![]),
        ] {
            let client = finding("checkout", "client", "h:1", rate);
            let mut findings = vec![server.clone(), client, goroutines.clone()];
            before = settle(&mut findings, &before, unknown);
            assert_eq!(before, ids.into_iter().map(str::to_owned).collect(), "{rate}");
        }
    }

    #[test]
    fn a_server_that_grows_by_itself_stays_what_it_is() {
        for other in [finding("checkout", "client", "h:2", 2.0), finding("checkout", "client", "h:1", 0.1)] {
            let mut findings = vec![finding("orders", "server", "h:1", 2.0), other];
            settle(&mut findings, &BTreeSet::new(), unknown);
            assert_eq!(findings[0].state, State::Leaking);
        }
    }

    #[test]
    fn a_client_that_dials_a_name_is_known_by_where_its_connections_lead() {
        let server = finding("orders", "server", "10.0.0.7:50051", 2.0);
        for (target, peers, held) in [
            ("dns:///orders:50051", vec!["10.0.0.7:50051"], true),
            ("dns:///orders:50051", vec!["[::ffff:10.0.0.7]:50051"], true),
            ("dns:///orders:50051", vec!["10.0.0.8:50051"], false),
            ("dns:///orders:50051", vec![], true),
            ("dns:///orders:50052", vec![], false),
            ("xds:///orders", vec!["10.0.0.7:50051"], true),
        ] {
            let mut findings = vec![server.clone(), finding("checkout", "client", target, 2.0)];
            let peers: Vec<String> = peers.into_iter().map(str::to_owned).collect();
            settle(&mut findings, &BTreeSet::new(), |_| peers.clone());
            let found = findings.iter().any(|f| f.class == HELD_BY_CLIENT);
            assert_eq!(found, held, "{target} {peers:?}");
        }
    }

    #[test]
    fn localhost_is_the_loopback_address_of_the_same_host_only() {
        for (host, held) in [("a", true), ("b", false)] {
            let mut server = finding("orders", "server", "127.0.0.1:50051", 2.0);
            server.process.host = "a".into();
            let mut client = finding("checkout", "client", "localhost:50051", 2.0);
            client.process.host = host.into();
            let mut findings = vec![server, client];
            settle(&mut findings, &BTreeSet::new(), unknown);
            assert_eq!(findings.iter().any(|f| f.class == HELD_BY_CLIENT), held, "{host}");
        }
    }
}

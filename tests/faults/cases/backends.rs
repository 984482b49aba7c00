//! 9 to 11: backends that are down, hang, or are badly reached.

use std::sync::Arc;
use std::time::Duration;

use super::{Bench, Case, Extra, Outcome, PATIENT, seconds};
use crate::agent::{Kind, now, wait_until};
use crate::backend::{Backend, Mode};
use crate::load::{Load, Shape, all_arrive, until_acknowledged};
use crate::oracle::Oracle;
use crate::proxy::{Fault, Proxy};

pub(crate) const CASES: [Case; 3] = [
    Case {
        number: 9,
        name: "backend down for 10 s, then back",
        settings: "retry 100 ms to 1 s without end",
        bar: "0 lost",
        run: down_and_back,
    },
    Case {
        number: 10,
        name: "backend hangs, then answers; another exporter beside it",
        settings: "timeout 1 s, retry 100 ms to 1 s without end",
        bar: "0 lost, the other one not held up by more than a second",
        run: hanging,
    },
    Case {
        number: 11,
        name: "way to the backend: reset in a request, half closed, 256 B/s, nothing arrives; then 100 ms late",
        settings: "timeout 1 s, retry 100 ms to 1 s without end",
        bar: "0 lost, 0 duplicates",
        run: bad_network,
    },
];

fn down_and_back(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let mut bench = Bench::new(kind, false, Extra { exporter: PATIENT, ..Extra::default() });
    let begun = now();
    let load = Load::start(bench.http, &bench.oracle, Shape::default());
    let enough = until_acknowledged(&bench.oracle, 10_000);
    load.stop();
    std::thread::sleep(Duration::from_secs(10).saturating_sub(now() - begun));
    outcome.fired = enough && bench.oracle.missing() == bench.oracle.acknowledged();
    bench.backend.come_up();
    let back = now();
    all_arrive(&bench.oracle, Duration::from_secs(30));
    outcome.see(format!("drained in {}", seconds(now() - back)));
    bench.check_alive(&mut outcome);
    outcome.judge(&bench.oracle);
    outcome
}

fn hanging(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let exporter = format!("{PATIENT}    timeout: 1s\n");
    // The other backend takes everything and is asked when what has come.
    let beside = Arc::new(Oracle::default());
    let other = Backend::up(&beside);
    let extra = Extra { exporter: &exporter, ..Extra::default() };
    let mut bench = Bench::edited(kind, true, extra, |yaml, _| {
        let second = format!(
            "exporters:\n  otlp_http/beside: {{endpoint: \"http://127.0.0.1:{}\", compression: none}}\n",
            other.port
        );
        let both = "exporters: [otlp_http, otlp_http/beside]";
        yaml.replace("exporters: [otlp_http]", both).replace("exporters:\n", &second)
    });
    bench.backend.set(Mode::Hang);
    let load = Load::start(bench.http, &bench.oracle, Shape::default());
    let enough = until_acknowledged(&bench.oracle, 10_000);
    load.stop();
    let tried =
        wait_until(Duration::from_secs(10), || (bench.backend.requests() > 10).then_some(())).is_some();
    outcome.fired = enough && tried && bench.oracle.missing() > 0;
    let mut client = crate::http::Client::new(bench.http);
    let mut lag = || {
        let (ids, body) = bench.oracle.request(1, 10);
        let begun = now();
        client.post("/v1/logs", crate::load::PROTOBUF, &body).filter(|code| *code == 200)?;
        bench.oracle.acknowledge(&ids);
        wait_until(Duration::from_secs(10), || beside.has(ids[0]).then(|| now() - begun))
    };
    let slowest = (0..20).map(|_| lag()).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
    outcome.see(format!("beside it {}", slowest.map_or("nothing arrives".to_owned(), seconds)));
    outcome.require(slowest.is_some(), "nothing passes beside it");
    outcome.measure(slowest.is_some_and(|s| s <= Duration::from_secs(1)), "the other exporter is held up");
    bench.backend.set(Mode::Accept);
    all_arrive(&bench.oracle, Duration::from_secs(40));
    bench.check_alive(&mut outcome);
    // The other one got the same.
    wait_until(Duration::from_secs(40), || (beside.lacks(&bench.oracle) == 0).then_some(()));
    let (lacks, corrupt) = (beside.lacks(&bench.oracle), beside.sums().corrupt);
    outcome.see(format!("{lacks} lost beside it"));
    outcome.require(lacks + corrupt == 0, format!("beside it {lacks} lost, {corrupt} corrupt"));
    outcome.judge(&bench.oracle);
    outcome
}

fn bad_network(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let exporter = format!("{PATIENT}    timeout: 1s\n");
    let extra = Extra { exporter: &exporter, ..Extra::default() };
    let mut proxy = None;
    let mut bench = Bench::edited(kind, true, extra, |yaml, port| {
        let proxy = proxy.insert(Proxy::before(port));
        yaml.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", proxy.port))
    });
    let proxy = proxy.expect("it is made with the configuration");
    let faults = [Fault::Reset, Fault::HalfClose, Fault::Throttle(256), Fault::Blackhole];
    let mut happened = 0;
    for fault in faults {
        proxy.set(fault);
        let load = Load::start(bench.http, &bench.oracle, Shape::default());
        let enough = until_acknowledged(&bench.oracle, bench.oracle.acknowledged() + 2500);
        load.stop();
        // So often that attempts were made and made again.
        let met = wait_until(Duration::from_secs(20), || (proxy.met() > 20).then_some(())).is_some();
        happened += usize::from(enough && met && bench.oracle.missing() > 0);
    }
    proxy.set(Fault::Delay(Duration::from_millis(100)));
    let late = all_arrive(&bench.oracle, Duration::from_secs(60));
    outcome.require(late, "it does not arrive when everything is late");
    outcome.fired = proxy.met() > 0 && happened == faults.len();
    bench.check_alive(&mut outcome);
    proxy.set(Fault::None);
    outcome.require(bench.oracle.sums().duplicates == 0, "duplicates");
    outcome.judge(&bench.oracle);
    outcome
}

//! Events that never come: what kernel and goroutines show decides.

use std::time::Duration;

use weir_connection::process::{ProcessInfo, ProcessKey};
use weir_connection::publish::{self, Origin, ProcessPoint, Reached, SeriesPoint};
use weir_connection::report::{Finding, State};
use weir_kernel::{ProcFs, host_name};
use weir_pdata::Payload;
use weir_pdata::otlp::MetricsRequest;

use super::{Outcome, Watch, ensure, shown, wait_for};
use crate::backends::servers;
use crate::support::{Agent, LONG, free_port, now, wait_until};

/// A service whose instrumentation hears of begins and never of ends, beside the kernel and its goroutines, which show what
/// is really open: no leak, and that is said.
pub(super) fn ends_are_never_told() -> Outcome {
    let watch = Watch::new("begins-only");
    let otlp = free_port();
    let receivers =
        format!("\nreceivers:\n  otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{otlp}\"}}}}}}");
    let yaml = watch
        .yaml
        .replace("\nreceivers:", &receivers)
        .replace("metrics: {receivers: [grpc_connections,", "metrics: {receivers: [otlp,");
    let agent = Agent::start(&yaml, watch.pages);
    let mut program = watch.scenario("pool_warmup", &["-plain"]);
    let said = program.announcement();
    let of = |f: &Finding| f.process.pid == said.pid && f.side == "client" && f.target == said.target;
    wait_for(&agent, "the pool", |f| of(f) && f.growth.open >= 50.0)?;
    let info = told_of(said.pid);
    let (begun, mut next, mut leaked) = (now(), now(), false);
    let lost = wait_until(LONG, || {
        if now() >= next {
            next += Duration::from_secs(1);
            let body = begins(&info, &said.target, begun.elapsed().as_secs_f64());
            servers::post(otlp, "/v1/metrics", "application/x-protobuf", &body)?;
        }
        let report = agent.report()?;
        leaked |= report.series.iter().any(|f| f.process.pid == said.pid && f.state == State::Leaking);
        report.series.into_iter().find(|f| of(f) && f.class == "telemetry_loss")
    });
    ensure(!leaked, || format!("called leaking: {}", shown(agent.report().as_ref())))?;
    let lost = lost.ok_or_else(|| format!("never telemetry_loss: {}", shown(agent.report().as_ref())))?;
    ensure(lost.state == State::Ok && lost.explanation.contains("ends were lost on the way"), || {
        format!("{} {}", lost.state.word(), lost.explanation)
    })
}

/// The process as an instrumentation inside it would name it.
fn told_of(pid: i64) -> ProcessInfo {
    let number = u32::try_from(pid).expect("a pid");
    let start = ProcFs::default().identity(number).expect("it runs").start_ticks;
    let key = ProcessKey {
        host: host_name(),
        pid,
        start_ticks: i64::try_from(start).expect("it fits"),
        ..ProcessKey::default()
    };
    ProcessInfo { key, ..ProcessInfo::default() }
}

/// Ten connections a second to a target, begun for so many seconds and never ended, as OTLP.
fn begins(info: &ProcessInfo, target: &str, seconds: f64) -> Vec<u8> {
    let (mut ages, open) = (Reached::default(), (10.0 * seconds) as u64);
    (0..open).for_each(|i| ages.add(seconds - i as f64 / 10.0));
    let point = SeriesPoint {
        resource: "grpc_connection".to_owned(),
        side: "client".to_owned(),
        target: target.to_owned(),
        open,
        opened: Some(open),
        closed: Some(0),
        older: Some(ages.0),
        idle: Some(ages.0),
        ..SeriesPoint::default()
    };
    #[expect(clippy::disallowed_methods, reason = "what is sent carries real time")]
    let time = u64::try_from(jiff::Timestamp::now().as_nanosecond()).expect("after 1970");
    let process = ProcessPoint::default();
    let resource_metrics = vec![publish::metrics(info, Origin::Events, time, 0, &[point], &process)];
    Payload::from(MetricsRequest { resource_metrics }).to_bytes().to_vec()
}

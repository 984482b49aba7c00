//! 12, 13: backends that refuse for good, and those that say when to come again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::answers::figure;
use super::{Bench, Case, ENOUGH, Extra, Outcome, PATIENT, seconds, unsampled};
use crate::agent::{Kind, now, wait_until};
use crate::backend::{Arrival, Mode};
use crate::http::get;
use crate::load::{Load, Shape, all_arrive, until_acknowledged};
use crate::ports::free_port;

pub(crate) const CASES: [Case; 2] = [
    Case {
        number: 12,
        name: "backend answers 400, 404 and 500",
        settings: "defaults",
        bar: "one try each, dropped and counted",
        run: refused_for_good,
    },
    Case {
        number: 13,
        name: "backend answers 429 and 503, without Retry-After and with: 2, a date, a negative one, no number, 3,170 years",
        settings: "retry 100 ms to 1 s without end",
        bar: "not before the time that it was told, those that were told the same not at one instant, an hour and 5 % at most, 0 lost",
        run: told_to_wait,
    },
];

const PERMANENT: [u16; 3] = [400, 404, 500];

fn refused_for_good(kind: Kind) -> Outcome {
    let (mut outcome, own) = (Outcome::default(), free_port());
    let reader = format!(
        "metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {own}}}}}}}}}]}}"
    );
    let mut bench = Bench::edited(kind, true, Extra::default(), |yaml, _| {
        yaml.replace("metrics: {level: none}", &reader)
    });
    let mut sent = 0;
    outcome.fired = true;
    for status in PERMANENT {
        bench.backend.set(Mode::Answer(status, String::new()));
        let load = Load::start(bench.http, &bench.oracle, Shape::default());
        let share = bench.oracle.acknowledged() + ENOUGH / PERMANENT.len() + 1;
        outcome.fired &= until_acknowledged(&bench.oracle, share);
        sent += load.stop().accepted;
        // The last of them are told this status too.
        outcome.fired &=
            wait_until(Duration::from_secs(60), || (bench.backend.requests() >= sent).then_some(()))
                .is_some();
    }
    let dropped = bench.oracle.acknowledged();
    let counted = || {
        let (_, page) = get(own, "/metrics", "localhost")?;
        figure(&page, "otelcol_exporter_send_failed_log_records")
    };
    wait_until(Duration::from_secs(30), || (counted()? as usize >= dropped).then_some(()));
    let (tries, counted) = (bench.backend.requests(), counted().unwrap_or(0) as usize);
    outcome
        .see(format!("{tries} tries for {sent} requests, {counted} of {dropped} records counted as failed"));
    outcome.require(tries == sent, "not one try each");
    outcome.require(counted == dropped, "what was dropped is not counted");
    bench.backend.set(Mode::Accept);
    bench.check_alive(&mut outcome);
    outcome.judge_said(&bench.oracle, counted);
    outcome
}

/// What a backend says, and what has to come of it.
struct Told {
    status: u16,
    what: &'static str,
    /// The line of the header.
    header: String,
    /// The shortest wait.
    wish: Duration,
    /// Before this nothing comes again.
    until: Option<Instant>,
}

/// An HTTP date has whole seconds: one that is four seconds away now is more than three away. By the time that an agent is told it
/// may be less, so what counts is when it is.
#[expect(clippy::disallowed_methods, reason = "a real process is told a time of the real clock")]
fn wishes() -> Vec<Told> {
    let (time, at) = (Timestamp::now(), now());
    let then = Timestamp::from_second(time.as_second() + 4).expect("a time");
    let until = at + Duration::try_from(then.duration_since(time)).expect("it is later");
    let date = then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let told = |status, what, value: &str, wish| Told {
        status,
        what,
        header: if value.is_empty() { String::new() } else { format!("Retry-After: {value}\r\n") },
        wish: Duration::from_secs(wish),
        until: None,
    };
    vec![
        // First, because it is of now.
        Told { until: Some(until), ..told(503, "a date 3 to 4 s away", &date, 0) },
        told(429, "", "", 0),
        told(503, "", "", 0),
        told(429, "2", "2", 2),
        told(503, "2", "2", 2),
        told(429, "-5", "-5", 0),
        told(503, "soon", "soon", 0),
    ]
}

/// Requests that are told each wish: as many as are under way at once.
const AT_ONCE: usize = 10;
/// 3,170 years.
const HUGE: &str = "99999999999";
/// The longest wait that a backend may impose, with its jitter.
const LONGEST: Duration = Duration::from_secs(3780);
/// What those that were told the same time must lie apart.
const APART: Duration = Duration::from_millis(30);

fn told_to_wait(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let extra = Extra { exporter: PATIENT, ..Extra::default() };
    let mut bench = Bench::edited(kind, true, extra, |yaml, _| unsampled(&yaml));
    outcome.fired = bench.fill() && all_arrive(&bench.oracle, Duration::from_secs(60));
    for told in wishes() {
        let before = bench.backend.arrivals().len();
        bench.backend.set(Mode::Answer(told.status, told.header.clone()));
        outcome.fired &= refuse_some(&bench, before);
        bench.backend.set(Mode::Accept);
        all_arrive(&bench.oracle, Duration::from_secs(60));
        let waits = first_waits(&bench.backend.arrivals()[before..]);
        outcome.fired &= waits.len() >= AT_ONCE;
        judge_waits(&mut outcome, &told, &waits);
    }
    bench.check_alive(&mut outcome);
    told_a_huge_one(&mut outcome, &mut bench);
    bench.check_anew(&mut outcome);
    outcome.judge(&bench.oracle);
    outcome
}

/// Sends until so many requests as are under way at once have heard no; whether they have.
fn refuse_some(bench: &Bench, before: usize) -> bool {
    let load = Load::start(bench.http, &bench.oracle, Shape { clients: 2, ..Shape::default() });
    let refused = wait_until(Duration::from_secs(60), || {
        let bodies: std::collections::HashSet<u64> =
            bench.backend.arrivals()[before..].iter().map(|a| a.body).collect();
        (bodies.len() >= AT_ONCE).then_some(())
    });
    load.stop();
    refused.is_some()
}

/// The first and the second try of each request.
struct Wait {
    first: Instant,
    second: Instant,
}

/// What each request waited after its first try.
fn first_waits(arrivals: &[Arrival]) -> Vec<Wait> {
    let mut tries: HashMap<u64, Vec<Instant>> = HashMap::new();
    for arrival in arrivals {
        tries.entry(arrival.body).or_default().push(arrival.at);
    }
    let wait = |at: &Vec<Instant>| Some(Wait { first: *at.first()?, second: *at.get(1)? });
    tries.values().filter_map(wait).collect()
}

fn judge_waits(outcome: &mut Outcome, told: &Told, waits: &[Wait]) {
    let times = || waits.iter().map(|wait| wait.second - wait.first);
    let (Some(least), Some(most)) = (times().min(), times().max()) else { return };
    let what = format!("{} {}", told.status, told.what);
    let what = what.trim_end();
    outcome.see(format!("{what}: again after {} to {}", seconds(least), seconds(most)));
    let too_soon = |wait: &Wait| told.until.is_some_and(|until| wait.second < until);
    let in_time = least >= told.wish && !waits.iter().any(too_soon);
    outcome.require(in_time, format!("{what}: it came too soon"));
    let second_tries = || waits.iter().map(|wait| wait.second);
    let apart = match (told.until, second_tries().max(), second_tries().min()) {
        // However far apart they were told.
        (Some(_), Some(last), Some(first)) => last - first,
        _ => most - least,
    };
    if !told.wish.is_zero() || told.until.is_some() {
        outcome.require(apart >= APART, format!("{what}: all at one instant"));
    }
}

/// A wait without end is bounded, and a stop does not wait for it: what waits gets its last try then.
fn told_a_huge_one(outcome: &mut Outcome, bench: &mut Bench) {
    let (before, log) = (bench.backend.arrivals().len(), bench.agent.log().len());
    bench.backend.set(Mode::Answer(503, format!("Retry-After: {HUGE}\r\n")));
    outcome.fired &= refuse_some(bench, before);
    let waits = || announced(&bench.agent.log()[log..]);
    wait_until(Duration::from_secs(20), || (waits().len() >= AT_ONCE).then_some(()));
    let longest = waits().into_iter().max();
    bench.backend.set(Mode::Accept);
    let ended = bench.agent.terminate();
    let shown = longest.map_or("nothing".to_owned(), |wait| format!("{:.0} min", wait.as_secs_f64() / 60.0));
    outcome.see(format!("3,170 years: will wait {shown}; SIGTERM: {}", ended.shown()));
    outcome.require(longest.is_some_and(|wait| wait <= LONGEST), "one header stops an exporter");
}

/// The waits that a log announces.
fn announced(log: &str) -> Vec<Duration> {
    let lines = log.lines().filter(|l| l.contains("Will retry the request after interval"));
    lines.filter_map(|l| duration(l.split("\"interval\": \"").nth(1)?.split('"').next()?)).collect()
}

/// A duration as Go and Rust write it: `1h2m3.5s`, `105.3ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..unit_at].parse().ok()?;
        let unit_end = rest[unit_at..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| unit_at + n);
        sum += number
            * match &rest[unit_at..unit_end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Some(Duration::from_secs_f64(sum))
}

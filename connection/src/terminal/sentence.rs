//! The sentences about a finding that terminal and page have in common, made from the numbers of the report.

use super::text::visible;
use super::units::{self, Clock};
use crate::report::{Caller, Finding, Forecast, Site, Source, State};

/// Joins the words of a value, so that wrapping does not tear it; shown as an ordinary space.
pub(super) const GLUE: char = '\u{a0}';

/// Who it is about: `checkout -> 127.0.0.1:50051`, with `<-` for a server and without an arrow for a whole process.
///
/// The service is named by `service.name`, else by its executable, else by its pid.
pub fn who(finding: &Finding) -> String {
    let process = &finding.process;
    let service = match (finding.service.is_empty(), process.executable.is_empty(), process.pid) {
        (false, _, _) => visible(&finding.service).into_owned(),
        (true, false, _) => visible(&process.executable).into_owned(),
        (true, true, pid) if pid > 0 => format!("pid {pid}"),
        _ => "unnamed process".to_owned(),
    };
    match (finding.target.as_str(), finding.side.as_str()) {
        ("", _) => service,
        (target, "server") => format!("{service} <- {}", visible(target)),
        (target, _) => format!("{service} -> {}", visible(target)),
    }
}

/// What is counted, for people: the label, else the resource.
pub fn label(finding: &Finding) -> String {
    let label = if finding.resource_label.is_empty() { &finding.resource } else { &finding.resource_label };
    visible(label).into_owned()
}

/// When it began: the growth of what grows where its onset is known, else the state.
pub fn began(finding: &Finding) -> f64 {
    finding.onset.filter(|_| grows(finding)).unwrap_or(finding.since)
}

/// What began then: `growing since` for a growth, else `since`, which is the state's.
pub fn since(finding: &Finding) -> &'static str {
    if finding.onset.is_some() && grows(finding) { "growing since" } else { "since" }
}

fn grows(finding: &Finding) -> bool {
    matches!(finding.state, State::Suspect | State::Leaking)
}

/// From where a line is reached: `cart.go:12 checkout() 60 %, orders.go:7 cancel() 40 %`; empty when unknown.
pub fn callers(site: &Site) -> String {
    let one = |caller: &Caller| {
        let place = units::location(&visible(&caller.file), caller.line);
        let share = if site.callers.len() > 1 { units::percent(caller.share) } else { String::new() };
        let text = format!("{place} {} {share}", visible(&units::function(&caller.function)));
        glued(text.trim_end().to_owned())
    };
    site.callers.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `58 open of 58 begun, 57 idle since their first call`.
pub fn population(finding: &Finding) -> String {
    let growth = &finding.growth;
    let mut text = counted(finding);
    if growth.opened > 0.0 {
        text.push_str(&format!(" of {} begun", units::count(growth.opened)));
    }
    match (growth.unused, growth.idle) {
        (Some(unused), _) => {
            text.push_str(&format!(", {} idle since their first call", units::count(unused)))
        }
        (None, Some(idle)) => text.push_str(&format!(", {} idle", units::count(idle))),
        (None, None) => {}
    }
    text
}

/// `58 open`, or `290 goroutines` where goroutines themselves are counted.
pub(super) fn counted(finding: &Finding) -> String {
    let what = match finding.resource.as_str() {
        "goroutine" if finding.growth.open.round() == 1.0 => "goroutine",
        "goroutine" => "goroutines",
        _ => "open",
    };
    format!("{} {what}", units::count(finding.growth.open))
}

/// The forecast whose limit is reached first, if any is.
pub fn soonest(finding: &Finding) -> Option<&Forecast> {
    let left = |forecast: &&Forecast| forecast.seconds.is_some_and(f64::is_finite);
    let order = |a: &&Forecast, b: &&Forecast| a.seconds.unwrap_or(0.0).total_cmp(&b.seconds.unwrap_or(0.0));
    finding.forecast.iter().filter(left).min_by(order)
}

/// A limit for people: `memory`, `descriptors`, `ports`.
pub fn limit_name(forecast: &Forecast) -> String {
    match forecast.resource.as_str() {
        "ephemeral_ports" => "ports".to_owned(),
        other => visible(&other.replace('_', " ")).into_owned(),
    }
}

/// How many there are when the limit is reached; nothing when the cost of one is not known.
pub fn population_at(finding: &Finding, forecast: &Forecast, level: f64) -> Option<f64> {
    let items = finding.growth.open + (level - forecast.used) / forecast.per_item;
    (forecast.per_item > 0.0 && items.is_finite() && items >= 0.0).then_some(items)
}

/// What runs out and when, and what does not and why; empty without a forecast. Values are joined by [`GLUE`].
///
/// `memory (limit 2.0 GiB, 56 KB each) in 5 h 12 m (at 17:02); sockets level off near 3,600 (why): ports never`.
pub(super) fn runs_out(finding: &Finding, now: f64, clock: Clock) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut steady: Vec<(String, Vec<String>)> = Vec::new();
    for forecast in &finding.forecast {
        if let Some(seconds) = forecast.seconds {
            parts.push(hit(forecast, seconds, now, clock));
            continue;
        }
        if !forecast.unknown.is_empty() {
            parts.push(format!("{} not known yet ({})", limit_name(forecast), visible(&forecast.unknown)));
            continue;
        }
        let reason = levels_off(finding, forecast);
        match steady.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(limit_name(forecast)),
            None => steady.push((reason, vec![limit_name(forecast)])),
        }
    }
    for (reason, names) in steady {
        let never = format!("{} never", names.join(", "));
        parts.push(if reason.is_empty() { never } else { format!("{reason}: {never}") });
    }
    parts.join("; ")
}

fn hit(forecast: &Forecast, seconds: f64, now: f64, clock: Clock) -> String {
    let each = match forecast.per_item {
        cost if cost > 0.0 && forecast.unit == "By" => format!(", {} each", glued(units::bytes(cost))),
        cost if cost > 0.0 && (cost - 1.0).abs() > 0.05 => format!(", {} each", units::count(cost)),
        _ => String::new(),
    };
    let limit = glued(units::quantity(forecast.limit, &forecast.unit));
    let at = glued(format!("(at {})", clock.moment(now + seconds, now)));
    let left = glued(format!("in {}", units::duration(seconds)));
    format!("{} (limit {limit}{each}) {left} {at}", limit_name(forecast))
}

/// Why a limit is never reached: `sockets level off near 3,600 (why)`.
fn levels_off(finding: &Finding, forecast: &Forecast) -> String {
    let note = visible(&forecast.note);
    let Some(plateau) = forecast.plateau else {
        return note.into_owned();
    };
    let (subject, level) = match population_at(finding, forecast, plateau) {
        Some(items) if forecast.unit != "By" => ("sockets level off near", units::count(items.round())),
        _ => ("use levels off near", units::quantity(plateau, &forecast.unit)),
    };
    let why = if note.is_empty() { String::new() } else { format!(" ({note})") };
    format!("{subject} {}{why}", glued(level))
}

/// What there is to say of a source that is not well: `pprof failed: connection refused`.
pub fn complaint(source: &Source) -> Option<String> {
    if source.state == "ok" {
        return None;
    }
    let (id, state, message) = (visible(&source.id), visible(&source.state), visible(&source.message));
    Some(if message.is_empty() { format!("{id} {state}") } else { format!("{id} {state}: {message}") })
}

pub(super) fn glued(text: String) -> String {
    text.replace(' ', "\u{a0}")
}

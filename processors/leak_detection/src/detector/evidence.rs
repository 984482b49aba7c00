//! What each source says of a finding, in short texts with numbers, and what was not available.

use super::classify::Class;
use super::identity;
use super::input::{Resource, Side, Source};
use super::series::Series;
use super::view::{self, Judgement, View};
use super::words::{count, plural, span};
use weir_connection::report::{Evidence, State};

/// Lines of detail per source.
const MAX_DETAILS: usize = 12;
/// Growth relative to the primary's from which another source agrees, and below which it contradicts.
const AGREES: f64 = 0.5;
const CONTRADICTS: f64 = 0.3;
/// How far goroutines per connection may be from a whole number to be called so.
const WHOLE: f64 = 0.4;

/// The word of the source of a series.
pub(crate) fn word_of(series: &Series) -> &'static str {
    series.subject.source.name()
}

/// What each available source says: inside the process, kernel, goroutines, thresholds.
pub(crate) fn gather(view: &View<'_>, judgement: &Judgement) -> Vec<Evidence> {
    let mut list = Vec::new();
    list.extend(events(view, judgement));
    list.extend(sockets(view, judgement));
    list.extend(goroutines(view, judgement));
    if !judgement.exceeded.is_empty() {
        list.push(Evidence {
            source: "process".into(),
            text: judgement.exceeded.join(", "),
            age: seconds(view.now.saturating_sub(view.process.facts_seen).max(0)),
            agrees: None,
            details: Vec::new(),
        });
    }
    list
}

fn events(view: &View<'_>, judgement: &Judgement) -> Option<Evidence> {
    let members = || view.members.iter().filter(|m| m.subject.source == Source::Events);
    let own = members().find(|m| std::ptr::eq::<Series>(**m, view.primary));
    let series = *own.or_else(|| members().min_by(|a, b| a.subject.resource.cmp(&b.subject.resource)))?;
    let sample = &series.latest;
    let text = match sample.opened.zip(sample.closed) {
        Some((opened, closed)) => format!("{} begun {} ended", count(opened), count(closed)),
        None => format!("{} open", count(series.open_now())),
    };
    let mut details: Vec<String> = members().map(|m| describe(m)).take(MAX_DETAILS).collect();
    if let Some(lost) = sample.lost.filter(|lost| *lost > 0.0) {
        details.push(format!("{} known to be lost on the way", plural(lost, "event")));
    }
    let agrees = match judgement.class {
        Some(Class::TelemetryLoss) => Some(true),
        _ => agreement(view, judgement, series),
    };
    Some(Evidence {
        source: "events".into(),
        text,
        age: seconds(series.clock.silence(view.now)),
        agrees,
        details,
    })
}

fn sockets(view: &View<'_>, judgement: &Judgement) -> Option<Evidence> {
    let waiting: Vec<&Series> = view.of(Source::Sockets, &Resource::CloseWait).collect();
    let sockets = view.sockets();
    let mut parts = Vec::new();
    if let Some(sockets) = &sockets {
        let idle = sockets.idle.map_or_else(String::new, |idle| format!(", {} without payload", count(idle)));
        parts.push(format!("{} ESTABLISHED{idle}", count(sockets.open)));
    }
    let close_wait: f64 = waiting.iter().map(|m| m.open_now()).sum();
    if close_wait > 0.0 || (sockets.is_none() && !waiting.is_empty()) {
        let old: f64 = waiting.iter().filter_map(|m| m.floor_now()).sum();
        parts.push(format!(
            "{} in CLOSE_WAIT, {} for over {}",
            count(close_wait),
            count(old),
            span(view.scale.close_wait)
        ));
    }
    if parts.is_empty() {
        return None;
    }
    let members = || view.members.iter().filter(|m| m.subject.source == Source::Sockets);
    let agrees = match &sockets {
        _ if view.primary.subject.source == Source::Sockets => agreement(view, judgement, view.primary),
        // Its socket is closed when a client idles, and a stream has none of its own: nothing can be concluded.
        _ if matches!(judgement.class, Some(Class::ClientUnclosedIdle | Class::StreamNotCancelled)) => None,
        Some(sockets) if sockets.fresh => compared(view, judgement, sockets.growth, sockets.believed),
        _ => None,
    };
    let silence = members().map(|m| m.clock.silence(view.now)).max().unwrap_or(0);
    Some(Evidence {
        source: "sockets".into(),
        text: parts.join(", "),
        age: seconds(silence),
        agrees,
        details: members().map(|m| describe(m)).take(MAX_DETAILS).collect(),
    })
}

fn goroutines(view: &View<'_>, judgement: &Judgement) -> Option<Evidence> {
    let census = &view.process.census;
    let profile = || view.members.iter().copied().filter(|m| m.subject.source == Source::Profile);
    let seen = profile().map(|m| m.clock.silence(view.now)).min();
    if census.is_empty() {
        let series = profile().min_by(|a, b| a.subject.resource.cmp(&b.subject.resource))?;
        return Some(Evidence {
            source: "goroutines".into(),
            text: format!(
                "{} {}",
                count(series.open_now()),
                label(&series.subject.resource, series.subject.side)
            ),
            age: seconds(series.clock.silence(view.now)),
            agrees: agreement(view, judgement, series),
            details: profile().map(describe).take(MAX_DETAILS).collect(),
        });
    }
    let (number, each) = relevant(view, judgement);
    let seen_then = view.seen_at_census();
    let believed = seen_then.unwrap_or_else(|| view.primary.open_now());
    let per = if believed >= 1.0 { number / believed } else { 0.0 };
    // A ratio of numbers of different times would be a wrong one.
    let near = seen_then.is_some() && per >= 0.75 && (per - per.round()).abs() <= WHOLE;
    let text = match judgement.state {
        _ if view.primary.subject.resource == Resource::Goroutine => count(census.total()),
        _ if near => format!("{} = {per:.0} per {each}", count(number)),
        _ if number >= 1.0 => format!("{} for {}", count(number), plural(believed, each)),
        _ => format!("none of {} belongs to a {each}", count(census.total())),
    };
    let growing = matches!(judgement.state, State::Suspect | State::Leaking)
        && judgement.class != Some(Class::TelemetryLoss);
    let agrees = match judgement.class {
        Some(Class::TelemetryLoss) => Some(per >= 0.75),
        _ if !growing || !has_goroutines(&identity::resource(view, None)) => None,
        _ if per >= 0.75 => Some(true),
        _ => Some(false),
    };
    let mut details: Vec<String> = census
        .ranked()
        .into_iter()
        .filter(|(_, number)| *number > 0.0)
        .take(MAX_DETAILS)
        .map(|(kind, number)| format!("{} {kind}", count(number)))
        .collect();
    let leaked = view.process.proved(&view.primary.subject.resource);
    if leaked > 0.0 {
        let text = "that the runtime proved leaked (profile goroutineleak), more than at first";
        details.push(format!("{} {text}", plural(leaked, "goroutine")));
    }
    let age = view.now.saturating_sub(view.process.census_seen).max(0).min(seen.unwrap_or(i64::MAX));
    Some(Evidence { source: "goroutines".into(), text, age: seconds(age), agrees, details })
}

/// The goroutines that such a thing keeps, and what one of them is called.
fn relevant(view: &View<'_>, judgement: &Judgement) -> (f64, &'static str) {
    let census = &view.process.census;
    let server = view.primary.subject.side == Side::Server;
    match (&identity::resource(view, None), judgement.class) {
        (Resource::GrpcStream, _) => (census.count("grpc_stream"), "stream"),
        (_, Some(Class::HttpBody | Class::TransportPerRequest)) => (census.http_goroutines(), "connection"),
        (Resource::HttpConnection | Resource::HttpTransport, _) => (census.http_goroutines(), "connection"),
        (Resource::Other(name), _) if name.contains("http") => (census.http_goroutines(), "connection"),
        // Whose server it is, the kernel does not tell.
        (Resource::Socket | Resource::CloseWait, _) if server => {
            (census.grpc_server_goroutines() + census.count("http_server_connection"), "connection")
        }
        _ if server => (census.grpc_server_goroutines(), "connection"),
        _ => (census.grpc_client_goroutines(), "connection"),
    }
}

/// Whether such a thing keeps goroutines at all: sockets of unknown make may not.
fn has_goroutines(resource: &Resource) -> bool {
    !matches!(resource, Resource::Socket | Resource::CloseWait | Resource::Other(_))
}

/// Whether a series supports growth of the finding.
fn agreement(view: &View<'_>, judgement: &Judgement, series: &Series) -> Option<bool> {
    // What is not heard neither agrees nor contradicts.
    if !matches!(judgement.state, State::Suspect | State::Leaking) || !view.fresh(series) {
        return None;
    }
    if std::ptr::eq(series, view.primary) {
        return Some(true);
    }
    compared(view, judgement, series.open_growth_since(view.onset_for(series)), 0.0)
}

fn compared(view: &View<'_>, judgement: &Judgement, growth: f64, believed: f64) -> Option<bool> {
    let mine = view.primary.open_growth_since(view.onset_for(view.primary)).max(1.0);
    match (judgement.state, judgement.class) {
        (_, Some(Class::TelemetryLoss)) => Some(growth >= AGREES * believed.max(1.0)),
        (State::Ok | State::Recovering, _) => None,
        _ if growth >= AGREES * mine => Some(true),
        _ if growth < CONTRADICTS * mine => Some(false),
        _ => None,
    }
}

/// `grpc client connections to 127.0.0.1:50051: 58 open, 57 idle for 5 s, 58 begun, 0 ended`.
fn describe(series: &Series) -> String {
    let subject = &series.subject;
    let to = match (subject.target.as_str(), subject.side) {
        ("", _) => " of the whole process".to_owned(),
        (target, Side::Server) => format!(" at {target}"),
        (target, _) => format!(" to {target}"),
    };
    let mut text =
        format!("{}{to}: {} open", label(&subject.resource, subject.side), count(series.open_now()));
    if let Some(old) = series.floor_now().filter(|_| series.knows_age()) {
        let word = if series.quality().idle { "idle for" } else { "older than" };
        text.push_str(&format!(", {} {word} {}", count(old), span(series.age)));
    }
    if let Some(unused) = series.latest.unused {
        text.push_str(&format!(", {} idle since their first call", count(unused)));
    }
    for (number, word) in [(series.latest.opened, "begun"), (series.latest.closed, "ended")] {
        if let Some(number) = number {
            text.push_str(&format!(", {} {word}", count(number)));
        }
    }
    text
}

/// A resource for people: `grpc client connections`.
pub(crate) fn label(resource: &Resource, side: Side) -> String {
    match (resource, side) {
        (Resource::GrpcClient, _) => "grpc client connections".into(),
        (Resource::GrpcConnection, Side::Server) => "grpc server connections".into(),
        (Resource::GrpcConnection, _) => "grpc connections".into(),
        (Resource::GrpcStream, _) => "grpc streams".into(),
        (Resource::Socket, Side::Server) => "accepted tcp connections".into(),
        (Resource::Socket, _) => "tcp connections".into(),
        (Resource::CloseWait, _) => "tcp connections in CLOSE_WAIT".into(),
        (Resource::HttpConnection, _) => "http connections".into(),
        (Resource::HttpTransport, _) => "http transports".into(),
        (Resource::Goroutine, _) => "goroutines".into(),
        (Resource::Other(name), _) => name.replace(['_', '.'], " "),
    }
}

pub(crate) fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

/// Idle for the window, of the primary.
pub(crate) fn idle(view: &View<'_>) -> Option<f64> {
    view::idle(view.primary, view.scale)
}

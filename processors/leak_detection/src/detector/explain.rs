//! The sentences of a verdict: what the class means, why the state is what it is, what to do.

use super::classify::Class;
use super::gates::Gate;
use super::input::{Resource, Side};
use super::process::End;
use super::view::{Judgement, View};
use super::words::{count, plural, span};
use weir_connection::publish::Ending;
use weir_connection::report::State;
use weir_connection::terminal::units::Clock;

/// One line that explains the class, or why the state is ok.
pub(crate) fn explanation(view: &View<'_>, judgement: &Judgement) -> String {
    let text = match judgement.state {
        State::Ok | State::Recovering
            if judgement.class != Some(Class::TelemetryLoss) && !view.fresh(view.primary) =>
        {
            format!("{}: the process ended, or its source stopped", unheard(view))
        }
        State::Ok => fine(view, judgement),
        State::Recovering => recovering(view),
        State::Suspect | State::Leaking => {
            let text = match judgement.gate {
                Some(Gate::InUse) => in_use(view).to_owned(),
                _ => growing(view, judgement.class),
            };
            if view.fresh(view.primary) { text } else { format!("{text}; {}", silent(view)) }
        }
    };
    match judgement.masked.filter(|_| judgement.state != State::Ok) {
        None => text,
        Some(masked) => format!(
            "leak masked by restart: {} of the last {} instances grew until they were replaced, at {:.2} per second; {text}",
            masked.positive, masked.instances, masked.rate
        ),
    }
}

/// That its process has ended, and what it was until then: `leaked`, and the class where there is one.
pub(crate) fn ended(view: &View<'_>, end: End, leaked: bool, class: Option<Class>) -> String {
    let at = Clock::UTC.full(view.wall(end.time));
    let key = &view.process.key;
    let process = if key.pid > 0 { format!("process {}", key.pid) } else { "its process".to_owned() };
    let open = view.primary.open_now();
    let gone = match open.round() {
        0.0 => String::new(),
        1.0 => format!("; its {} is gone with it", one(view)),
        _ => format!("; its {} {} are gone with it", count(open), noun(view, open)),
    };
    let how = match end.ending {
        Ending::Exited => format!("{process} exited at {at}{gone}"),
        Ending::Stopped => {
            format!("the module in {process} was stopped at {at}: the process ended, or it called weir.Stop")
        }
        Ending::Replaced => {
            format!("{process} ended without a word: at {at} its service ran again under the same pid{gone}")
        }
    };
    match (leaked, class) {
        (false, _) => how,
        (true, None) => format!("{how}; it was leaking until then"),
        (true, Some(class)) => format!("{how}; it was leaking until then ({})", class.name()),
    }
}

/// Since when nothing is heard; that its growth has stopped would be a guess.
fn unheard(view: &View<'_>) -> String {
    let last = view.now.saturating_sub(view.primary.clock.silence(view.now));
    format!("nothing is heard of it since {}", Clock::UTC.full(view.wall(last)))
}

fn silent(view: &View<'_>) -> String {
    format!("{}, which does not say that it has stopped", unheard(view))
}

fn growing(view: &View<'_>, class: Option<Class>) -> String {
    let reused = view.primary.basis().unused_share.is_some_and(|share| share < 0.5);
    let text = match class {
        Some(Class::ClientPerCall) if reused => {
            "connections are made again and again and never closed; each is used for a while"
        }
        Some(Class::ClientPerCall) => "a connection is made for each call and never closed",
        Some(Class::ClientUnclosedIdle) => {
            "clients are made and never closed; grpc has closed their idle sockets, their goroutines and memory stay"
        }
        Some(Class::StreamNotCancelled) => {
            "streams are opened and neither read to their end nor cancelled; their connection itself is fine"
        }
        Some(Class::PeerClosed) => "the peer has closed these connections, this process never did",
        Some(Class::TransportPerRequest) => {
            "an http.Transport is made for each request; the idle connections of each stay open"
        }
        Some(Class::HttpBody) => {
            "bodies of HTTP responses are neither read to their end nor closed, so that connections cannot be used again"
        }
        Some(Class::ServerHalfOpen) => {
            "clients have gone without closing; without keepalive the server waits for them"
        }
        Some(Class::DescriptorDup) => {
            "connections were closed but a duplicated descriptor keeps their sockets open"
        }
        Some(Class::Churn) | Some(Class::TelemetryLoss) | None => return unclassified(view),
    };
    text.to_owned()
}

fn unclassified(view: &View<'_>) -> String {
    let what = noun(view, 2.0);
    if view.primary.subject.resource == Resource::Goroutine {
        return "goroutines grow, and no connections that would explain it".to_owned();
    }
    if view.primary.quality().idle {
        format!("{what} are opened, fall idle and are never closed")
    } else {
        format!("{what} are opened and not closed")
    }
}

fn in_use(view: &View<'_>) -> &'static str {
    if view.primary.subject.resource == Resource::GrpcStream {
        "each new stream comes with a connection of its own: watchers that are added look the same as a leak"
    } else {
        "each new connection carries an open stream: watchers that are added look the same as a leak"
    }
}

fn recovering(view: &View<'_>) -> String {
    let open = view.primary.open_now();
    if closed(view) {
        return format!("what had leaked was closed; {} open now", count(open));
    }
    format!("growth has stopped; {}", still_open(view))
}

fn still_open(view: &View<'_>) -> String {
    let open = view.primary.open_now();
    format!("{} {} still open", plural(open, one(view)), if open.round() == 1.0 { "is" } else { "are" })
}

/// Whether it was measured that most of what had leaked was closed.
fn closed(view: &View<'_>) -> bool {
    let open = || view.primary.fine.blocks().iter().map(|block| f64::from(block.open));
    let (lowest, highest) = (open().fold(f64::INFINITY, f64::min), open().fold(0.0, f64::max));
    view.primary.evaluation.dropped && highest - view.primary.open_now() > (highest - lowest) / 2.0
}

fn fine(view: &View<'_>, judgement: &Judgement) -> String {
    match judgement.class {
        Some(Class::TelemetryLoss) => return telemetry_loss(view),
        Some(Class::Churn) => {
            let sample = &view.primary.latest;
            return format!(
                "{} are made for each call and closed again: {} begun, {} ended; no leak, but each call pays for a new one",
                noun(view, 2.0),
                count(sample.opened.unwrap_or(0.0)),
                count(sample.closed.unwrap_or(0.0)),
            );
        }
        _ => {}
    }
    let open = view.primary.open_now();
    if view.verdict_in().is_some() {
        return format!(
            "watched for {}; {} open; a verdict takes about {}",
            span(view.watched()),
            count(open),
            span(view.verdict_takes())
        );
    }
    if open < 1.0 {
        return format!("no {} is open", one(view));
    }
    level(view, open)
}

/// `open connections level off at 50: 0 crossed the age of 5 s in the last 30 s`, or how they balance.
fn level(view: &View<'_>, open: f64) -> String {
    let blocks = view.primary.fine.blocks();
    let take = blocks.len().min(12);
    let recent = || blocks.iter().skip(blocks.len() - take);
    let crossed: f64 = recent().map(|block| f64::from(block.crossed)).sum();
    let died: f64 = recent().map(|block| f64::from(block.died)).sum();
    let seconds = match (recent().next(), blocks.back()) {
        (Some(first), Some(last)) => (last.index - first.index + 1) as f64 * view.scale.block as f64 / 1e9,
        _ => 0.0,
    };
    let (what, age, while_) = (noun(view, 2.0), span(view.primary.age), span(seconds));
    if !view.primary.quality().deaths {
        return format!("open {what} level off at {}: no lasting growth in the last {while_}", count(open));
    }
    if crossed <= died || crossed - died < 1.0 {
        let ended = if died > 0.0 { format!(" and {} older ones ended", count(died)) } else { String::new() };
        return format!(
            "open {what} level off at {}: {} crossed the age of {age}{ended} in the last {while_}",
            count(open),
            count(crossed)
        );
    }
    if view.primary.evaluation.load_follows {
        return format!("{} open {}: their number follows the load", count(open), noun(view, open));
    }
    format!(
        "{} open {}: {} crossed the age of {age} and {} older ones ended in the last {while_}, not enough for a lasting growth",
        count(open),
        noun(view, open),
        count(crossed),
        count(died)
    )
}

fn telemetry_loss(view: &View<'_>) -> String {
    let seen = match view.sockets() {
        Some(sockets) => format!("the kernel shows {}", plural(sockets.open, "socket")),
        None => "the goroutines do not show them".to_owned(),
    };
    format!(
        "events say {} open, but {seen}: ends were lost on the way, there is no verdict on events alone",
        count(view.primary.open_now())
    )
}

/// What to do; empty for state ok without a class.
///
/// No line to close at: the line that makes a connection is often in a function that returns it, where a `defer` would
/// close it before its first call.
pub(crate) fn cure(view: &View<'_>, judgement: &Judgement) -> String {
    match (judgement.state, judgement.class) {
        (State::Ok, Some(Class::Churn)) => "make the connection once and share it: it carries any number of calls at a time".into(),
        (State::Ok, Some(Class::TelemetryLoss)) => {
            "look at the events dropped on the way from the service to this agent; the next snapshot puts the numbers right".into()
        }
        (State::Ok, _) => String::new(),
        (State::Recovering, _) if closed(view) => {
            "nothing: it is mended; what is still open ends with the process".into()
        }
        (State::Recovering, _) => format!(
            "see whether it was mended or only rests: {}, and it is not seen that any was closed",
            still_open(view)
        ),
        (_, Some(Class::ClientPerCall | Class::ClientUnclosedIdle)) => {
            "make the connection once and share it, or close it where its last call ends (not in the function that returns it)"
                .into()
        }
        (_, Some(Class::StreamNotCancelled)) => {
            "read each stream until io.EOF, or cancel its context in the function that reads it: defer cancel()".into()
        }
        (_, Some(Class::PeerClosed)) => {
            "close the connection when a read returns io.EOF or an error".into()
        }
        (_, Some(Class::TransportPerRequest)) => {
            "make one http.Client with one Transport and share it, or call transport.CloseIdleConnections() when done".into()
        }
        (_, Some(Class::HttpBody)) => {
            "read the body to its end and close it in the function that reads it: defer resp.Body.Close()".into()
        }
        (_, Some(Class::ServerHalfOpen)) => {
            "let the server ask whether clients live: keepalive.ServerParameters{Time, Timeout, MaxConnectionIdle}".into()
        }
        (_, Some(Class::DescriptorDup)) => "close the file that TCPConn.File() returned, too".into(),
        (_, _) => "close each one when done with it, or share one".into(),
    }
}

fn one(view: &View<'_>) -> &'static str {
    match view.primary.subject.resource {
        Resource::GrpcStream => "stream",
        Resource::HttpTransport => "transport",
        Resource::Goroutine => "goroutine",
        _ => "connection",
    }
}

fn noun(view: &View<'_>, number: f64) -> String {
    let side = if view.primary.subject.side == Side::Server { "accepted " } else { "" };
    let ending = if number.round() == 1.0 { "" } else { "s" };
    format!("{side}{}{ending}", one(view))
}

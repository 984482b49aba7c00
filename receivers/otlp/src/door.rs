//! What the agent has no memory for is counted and told of at the port where it came.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use weir_component::{Budget, Clock, Count, Failure, ReceiverContext, Status};
use weir_otlp::server::{Protocols, ServerSettings};

/// Least time between two lines about one port.
const PAUSE: Duration = Duration::from_secs(60);

/// Hears of the requests that one port refuses before it has read them.
struct Door {
    id: String,
    transport: &'static str,
    refused: Count,
    clock: Clock,
    /// Refusals since the last line.
    untold: AtomicUsize,
    /// When there may be another, in nanoseconds of the engine.
    next_line: AtomicU64,
}

/// The agent's budget as a port of this transport asks it.
pub(crate) fn budget_of(cx: &ReceiverContext, transport: &'static str) -> Budget {
    let refused = cx.host.stats().counter(
        "otelcol_receiver_refused_requests",
        "Number of requests that were refused as they came in, because the agent holds as much telemetry as it may, or as \
         much as callers may send before they are known.",
        vec![("receiver", cx.id.clone()), ("transport", transport.to_owned())],
    );
    let door = Door {
        id: cx.id.clone(),
        transport,
        refused,
        clock: cx.clock.clone(),
        untold: AtomicUsize::new(0),
        next_line: AtomicU64::new(0),
    };
    cx.host.budget().telling(move |why| door.refused(why))
}

impl Door {
    fn refused(&self, why: &Failure) {
        self.refused.add(1);
        self.untold.fetch_add(1, Ordering::Relaxed);
        let (now, due) = (self.clock.now(), self.next_line.load(Ordering::Relaxed));
        let next = (now + PAUSE).as_nanos();
        if now.as_nanos() < due
            || self.next_line.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        let (what, cure) = match why.status() {
            // The budget itself gives no status to what can come again.
            Some(Status::Unavailable) => CROWDED,
            _ if why.is_retryable() => FULL,
            _ => TOO_LARGE,
        };
        tracing::warn!(
            otelcol.component.id = %self.id,
            otelcol.component.kind = "receiver",
            transport = self.transport,
            error = %why,
            refused_requests = self.untold.swap(0, Ordering::Relaxed),
            cure,
            "{what}"
        );
    }
}

/// What is said of a refusal, and what helps.
const FULL: (&str, &str) = (
    "Requests are refused: the agent holds as much telemetry as it may.",
    "give the agent more memory, or let exporters hold less: sending_queue::queue_size, or sending_queue::storage, which holds it \
     on disk",
);
const CROWDED: (&str, &str) = (
    "Requests are refused: callers who are being checked may not send more ahead.",
    "see who comes without a valid password or token; if they are your senders, let fewer connect at once, or give the agent more \
     memory: a quarter of what telemetry may take is for them",
);
const TOO_LARGE: (&str, &str) = (
    "A request is refused for good: it is larger than all the telemetry that the agent may hold.",
    "let senders send smaller requests, or give the agent more memory: limit_mib of memory_limiter, without which it is a quarter \
     of what the process may use",
);

/// Warns when a port takes requests for which there is never memory.
pub(crate) fn look_at_largest(cx: &ReceiverContext, settings: &ServerSettings) {
    let (option, largest) = match settings.protocols {
        Protocols::Grpc => ("max_recv_msg_size_mib", settings.max_message),
        _ => ("max_request_body_size", settings.max_body),
    };
    let limit = settings.budget.limit();
    if largest > limit {
        tracing::warn!(
            otelcol.component.id = %cx.id,
            otelcol.component.kind = "receiver",
            option,
            largest,
            limit,
            cure = TOO_LARGE.1,
            "Requests may be larger than all the telemetry that the agent may hold: those that are will be refused for good."
        );
    }
}

#[cfg(test)]
mod tests {
    use tracing::level_filters::LevelFilter;
    use weir_component::{Outputs, Stop};
    use weir_testkit::{Simulation, logged};

    use super::*;

    fn context(simulation: &Simulation) -> ReceiverContext {
        let (host, clock) = (weir_testkit::host(simulation), simulation.clock());
        let (_, stop) = Stop::new();
        ReceiverContext { id: "otlp/in".to_owned(), outputs: Outputs::new(Vec::new()), stop, clock, host }
    }

    #[test]
    fn refusals_are_counted_one_by_one_and_told_of_once_a_minute_with_the_reason_and_the_cure() {
        let simulation = Simulation::new(1);
        let cx = context(&simulation);
        let budget = budget_of(&cx, "grpc");
        cx.host.budget().set_limit(10);
        let tried = |requests: usize| {
            logged(LevelFilter::WARN, || {
                for _ in 0..requests {
                    assert!(budget.reserve(2).is_err());
                }
            })
        };
        assert_eq!(logged(LevelFilter::WARN, || drop(budget.reserve(10).expect("fits"))), [""; 0]);
        let _others = budget.reserve(9).expect("fits");
        let first = tried(3);
        let said =
            ["WARN ", "otlp/in", "transport=\"grpc\"", "10 are allowed", "refused_requests=1", "queue_size"];
        let names_all = |line: &String| said.iter().all(|said| line.contains(said));
        assert!(matches!(&first[..], [line] if names_all(line)), "{first:?}");
        simulation.run(cx.clock.sleep(Duration::from_secs(59))).expect("time passes");
        assert_eq!(tried(4), [""; 0]);
        simulation.run(cx.clock.sleep(Duration::from_secs(1))).expect("time passes");
        let next = tried(2);
        assert!(matches!(&next[..], [line] if line.contains("refused_requests=7")), "{next:?}");
        let samples = cx.host.stats().samples();
        let counted = samples.iter().find(|s| s.name == "otelcol_receiver_refused_requests").map(|s| s.value);
        assert_eq!(counted, Some(9));
        simulation.run(cx.clock.sleep(Duration::from_secs(60))).expect("time passes");
        let large = logged(LevelFilter::WARN, || drop(budget.reserve(11)));
        let said = ["refused for good", "needs 11 bytes", "10 are allowed", "limit_mib"];
        assert!(matches!(&large[..], [line] if said.iter().all(|said| line.contains(said))), "{large:?}");
        simulation.run(cx.clock.sleep(Duration::from_secs(60))).expect("time passes");
        let crowded = Failure::retry("too many callers wait").with_status(Status::Unavailable);
        let crowded = logged(LevelFilter::WARN, || drop(budget.refuse(crowded)));
        let said = ["are being checked", "too many callers wait", "password or token"];
        assert!(matches!(&crowded[..], [line] if said.iter().all(|said| line.contains(said))), "{crowded:?}");
    }

    #[test]
    fn a_port_that_takes_requests_for_which_there_is_never_memory_is_told_of_with_both_figures() {
        let cx = context(&Simulation::new(1));
        let settings = |protocols| ServerSettings {
            protocols,
            max_message: 10,
            max_body: 20,
            budget: budget_of(&cx, "any"),
            ..ServerSettings::default()
        };
        let said = |limit, protocols| {
            cx.host.budget().set_limit(limit);
            logged(LevelFilter::WARN, || look_at_largest(&cx, &settings(protocols)))
        };
        assert_eq!([said(10, Protocols::Grpc), said(20, Protocols::Http)], [[""; 0]; 2]);
        for (limit, protocols, names) in [
            (9, Protocols::Grpc, ["max_recv_msg_size_mib", "largest=10;", "limit=9;"]),
            (19, Protocols::Http, ["max_request_body_size", "largest=20;", "limit=19;"]),
        ] {
            let said = said(limit, protocols);
            assert!(matches!(&said[..], [line] if names.iter().all(|name| line.contains(name))), "{said:?}");
        }
    }
}

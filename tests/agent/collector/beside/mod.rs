//! Weir beside a Go Collector: the same configuration and the same input give the same output.

mod debug;
mod files;
mod normal;
mod processors;
mod sampled;

use weir_pdata::Payload;

use super::{entries, start_collector, start_weir};
use crate::backends::servers::{Fleet, free_ports, post};

/// A Go Collector and Weir with one configuration each, to which everything is sent.
pub(super) struct Pair {
    pub(super) fleet: Fleet,
    ports: [(&'static str, u16); 2],
}

impl Pair {
    /// `config` makes processors, exporters and pipelines for the agent of that name.
    pub(super) fn start(config: impl Fn(&str, &Fleet) -> (String, String)) -> Pair {
        let mut fleet = Fleet::new();
        let [collector, collector_health, weir, weir_health] = free_ports();
        let receivers = |port| {
            entries(&[("otlp", "http", port)]).replace(": {endpoint", ": {include_metadata: true, endpoint")
        };
        let (components, pipelines) = config("collector", &fleet);
        start_collector(&mut fleet, &receivers(collector), &components, &pipelines, collector_health);
        let (components, pipelines) = config("weir", &fleet);
        start_weir(&mut fleet, &receivers(weir), &components, &pipelines, weir_health);
        Pair { fleet, ports: [("collector", collector), ("weir", weir)] }
    }

    /// Sends to both and waits for their answers.
    pub(super) fn send(&self, payload: &Payload) {
        for (name, port) in self.ports {
            let answer =
                post(port, payload.signal().path(), "application/x-protobuf", &payload.to_bytes()).unwrap();
            assert_eq!(
                answer.status,
                200,
                "{name}, {}: {}\n{}",
                payload.signal(),
                answer.text(),
                self.fleet.log(name)
            );
        }
    }
}

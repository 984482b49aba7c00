//! The end of the agent's own telemetry: when other one takes its place, and with the agent.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;

use weir_pdata::Signal;

use super::send;
use crate::support::{Agent, LONG, free_port, get, wait_until};

/// Readers that push when they end and not before. Each waits for its receiver by itself then.
const READERS: usize = 8;

fn yaml(silent: &TcpListener, receiver: &str, resource: &str) -> String {
    let port = silent.local_addr().unwrap().port();
    let reader = format!(
        "{{periodic: {{interval: 3600000, exporter: {{otlp: {{protocol: http/protobuf, endpoint: 'http://127.0.0.1:{port}'}}}}}}}}"
    );
    let readers = vec![reader; READERS].join(", ");
    format!(
        "receivers: {{nop: , {receiver}}}\nexporters: {{nop: }}\nservice:\n  telemetry:\n    logs: {{level: debug}}\n    \
         resource: {{{resource}}}\n    metrics: {{readers: [{readers}]}}\n  \
         pipelines: {{logs: {{receivers: [{}], exporters: [nop]}}}}\n",
        if receiver.is_empty() { "nop" } else { "nop, otlp" },
    )
}

#[test]
fn who_never_answers_holds_up_no_signal_when_the_last_metrics_are_pushed() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let agent = Agent::start(&yaml(&silent, "", "phase: old"), 0);
    fs::write(agent.config(), yaml(&silent, "", "phase: new")).unwrap();
    agent.signal("HUP");
    let (mut first, _) = silent.accept().unwrap();
    first.read_exact(&mut [0]).unwrap();
    agent.signal("TERM");
    let log = agent.wait_for_log("Starting shutdown");
    assert!(!log.contains("the last metrics were not delivered"), "{log}");
}

#[test]
fn what_a_reload_that_is_refused_would_have_measured_is_not_pushed() {
    let (silent, taken) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let agent = Agent::start(&yaml(&silent, "", ""), 0);
    let receiver = format!("otlp: {{protocols: {{http: {{endpoint: '{}'}}}}}}", taken.local_addr().unwrap());
    fs::write(agent.config(), yaml(&silent, &receiver, "phase: new")).unwrap();
    agent.signal("HUP");
    agent.wait_for_log("keeping the running configuration");
    silent.set_nonblocking(true).unwrap();
    assert_eq!(silent.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn the_last_spans_and_the_last_metrics_do_not_wait_for_each_other() {
    let receivers = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [spans, metrics] = receivers.each_ref().map(|receiver| {
        let at = receiver.local_addr().unwrap();
        format!("{{otlp: {{protocol: http/protobuf, endpoint: 'http://{at}'}}}}")
    });
    let entry = free_port();
    let mut agent = Agent::start(
        &format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{entry}'}}}}}}}}\nexporters: {{nop: }}\nservice:\n  \
             telemetry:\n    logs: {{level: debug}}\n    metrics: {{readers: [{{periodic: {{interval: 3600000, exporter: {metrics}}}}}]}}\n    \
             traces: {{processors: [{{batch: {{schedule_delay: 3600000, exporter: {spans}}}}}]}}\n  \
             pipelines: {{logs: {{receivers: [otlp], exporters: [nop]}}}}\n"
        ),
        0,
    );
    send(entry, &[Signal::Logs]);
    agent.signal("TERM");
    // Nobody is answered before both have come.
    let mut connections = receivers.map(|receiver| receiver.accept().unwrap().0);
    for connection in &mut connections {
        connection.read_exact(&mut [0; 5]).unwrap();
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
    assert!(agent.wait_for_exit().success());
    let log = agent.log();
    assert!(!log.contains("were not delivered"), "{log}");
}

#[test]
fn the_metrics_of_the_agent_and_a_component_change_their_ports_with_each_other_in_one_reload() {
    let ports = [(); 2].map(|()| free_port());
    let yaml = |[metrics, pages]: [u16; 2]| {
        format!(
            "receivers: {{nop: }}\nexporters: {{nop: }}\nextensions: {{zpages: {{endpoint: '127.0.0.1:{pages}'}}}}\nservice:\n  \
             extensions: [zpages]\n  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, \
             port: {metrics}}}}}}}}}]}}}}\n  pipelines: {{logs: {{receivers: [nop], exporters: [nop]}}}}\n"
        )
    };
    let agent = Agent::start(&yaml(ports), 0);
    fs::write(agent.config(), yaml([ports[1], ports[0]])).unwrap();
    agent.signal("HUP");
    let log = wait_until(LONG, || Some(agent.log()).filter(|log| log.contains("Config update"))).unwrap();
    assert!(log.contains("Config updated."), "{log}");
    let status = |port: u16, path: &str| get(port, path).map(|answer| answer.status);
    let answers = || {
        let new = [status(ports[1], "/metrics"), status(ports[0], "/leaks.json")];
        (new == [Some(200); 2]).then_some(())
    };
    assert!(wait_until(LONG, answers).is_some(), "{}", agent.log());
}

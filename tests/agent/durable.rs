//! What was acknowledged arrives: with queues on disk whatever happens to the agent, its disk and its files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use crate::collector::sink::{Received, Sink};
use crate::support::{Agent, LONG, closed_port, free_port, get, post, validate, wait_until};

/// Log records in one request.
const ITEMS: u64 = 5;

/// Requests that an exporter has under way at most.
const CONSUMERS: u64 = 10;

/// An agent between this test and a backend, with a queue in a directory that outlives it.
struct Way {
    queue: TempDir,
    entry: u16,
    metrics: u16,
    backend: u16,
    processors: &'static str,
}

impl Way {
    fn to(backend: u16) -> Way {
        let queue = TempDir::new().expect("a folder");
        Way { queue, entry: free_port(), metrics: free_port(), backend, processors: "" }
    }

    fn directory(&self) -> PathBuf {
        self.queue.path().join("exporter_otlp_http__logs")
    }

    fn yaml(&self) -> String {
        let Way { queue, entry, metrics, backend, processors } = self;
        let in_use = if processors.is_empty() { "" } else { "processors: [batch], " };
        format!(
            "extensions: {{file_storage: {{directory: {}}}}}\n\
             receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{entry}'}}}}}}}}\n\
             processors: {{{processors}}}\n\
             exporters:\n  otlp_http:\n    endpoint: http://127.0.0.1:{backend}/q\n    compression: none\n\
             \x20   sending_queue: {{storage: file_storage, queue_size: 100000}}\n\
             \x20   retry_on_failure: {{initial_interval: 50ms, max_interval: 200ms, max_elapsed_time: 0}}\n\
             service:\n  extensions: [file_storage]\n\
             \x20 pipelines: {{logs: {{receivers: [otlp], {in_use}exporters: [otlp_http]}}}}\n\
             \x20 telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: \
             {{host: 127.0.0.1, port: {metrics}}}}}}}}}]}}}}\n",
            queue.path().display()
        )
    }

    fn start(&self) -> Agent {
        Agent::start(&self.yaml(), 0)
    }

    /// Sends one request with the ids from `first` up; the status of the answer.
    fn send(&self, first: u64) -> Option<u16> {
        let record = |id: u64| format!(r#"{{"body":{{"stringValue":"{id}"}}}}"#);
        let records: Vec<String> = (first..first + ITEMS).map(record).collect();
        let json =
            format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#, records.join(","));
        post(self.entry, "/v1/logs", &json).map(|answer| answer.status)
    }

    /// Sends so many requests, all of which have to be acknowledged; their ids.
    fn fill(&self, requests: u64) -> BTreeSet<u64> {
        for request in 0..requests {
            assert_eq!(self.send(request * ITEMS), Some(200));
        }
        (0..requests * ITEMS).collect()
    }

    fn metric(&self, name: &str) -> u64 {
        let page = get(self.metrics, "/metrics").expect("the metrics answer").body;
        let line = page.lines().find(|line| line.starts_with(&format!("{name}{{")));
        let line = line.unwrap_or_else(|| panic!("no {name} in:\n{page}"));
        line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok()).expect("a number") as u64
    }
}

/// How often each id came from the exporter with the queue.
fn delivered(sink: &Sink) -> BTreeMap<u64, u64> {
    delivered_to(sink, "q")
}

fn delivered_to(sink: &Sink, path: &str) -> BTreeMap<u64, u64> {
    let ids = |received: &Received| -> Vec<u64> {
        let request = received.payload.decode_logs();
        let scopes = request.resource_logs.into_iter().flat_map(|r| r.scope_logs);
        let bodies = scopes.flat_map(|s| s.log_records).filter_map(|r| r.body?.value);
        bodies
            .map(|value| format!("{value:?}").chars().filter(char::is_ascii_digit).collect::<String>())
            .map(|n| n.parse().expect("an id"))
            .collect()
    };
    let mut counts = BTreeMap::new();
    for id in sink.of(path, ids).into_iter().flatten() {
        *counts.entry(id).or_default() += 1;
    }
    counts
}

/// Waits until all of `expected` came, and gives how often each id did.
fn wait_for(sink: &Sink, expected: &BTreeSet<u64>) -> BTreeMap<u64, u64> {
    let all = || {
        let came = delivered(sink);
        expected.iter().all(|id| came.contains_key(id)).then_some(came)
    };
    wait_until(LONG, all).unwrap_or_else(|| {
        let came = delivered(sink);
        let missing: Vec<_> = expected.iter().filter(|id| !came.contains_key(id)).collect();
        panic!("{} of {} were acknowledged and lost: {missing:?}", missing.len(), expected.len());
    })
}

#[test]
fn five_kills_under_load_lose_nothing_that_was_acknowledged() {
    const KILLS: u64 = 5;
    let sink = Sink::start();
    let way = Arc::new(Way::to(sink.port));
    let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let mut agent = way.start();
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (way, next, stop) = (Arc::clone(&way), Arc::clone(&next), Arc::clone(&stop));
            let acknowledged = Arc::clone(&acknowledged);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let first = next.fetch_add(ITEMS, Ordering::Relaxed);
                    if way.send(first) == Some(200) {
                        acknowledged.lock().expect("not poisoned").extend(first..first + ITEMS);
                    }
                }
            })
        })
        .collect();
    let count = || acknowledged.lock().expect("not poisoned").len();
    for _ in 0..KILLS {
        let before = count();
        wait_until(LONG, || (count() > before + 500).then_some(())).expect("requests are acknowledged");
        agent.signal("KILL");
        agent.wait_for_exit();
        agent = way.start();
    }
    stop.store(true, Ordering::Relaxed);
    senders.into_iter().for_each(|sender| sender.join().expect("ends"));
    let acknowledged = acknowledged.lock().expect("not poisoned").clone();
    let came = wait_for(&sink, &acknowledged);
    assert!(came.keys().all(|id| *id < next.load(Ordering::Relaxed)), "everything that came was sent");
    let again: u64 = came.values().map(|n| n - 1).sum();
    assert!(again <= KILLS * CONSUMERS * ITEMS, "{again} came again: more than was under way");
    assert_eq!(way.metric("otelcol_file_storage_lost_records"), 0);
}

#[test]
fn a_batch_processor_in_front_of_a_queue_on_disk_holds_nothing_that_was_acknowledged() {
    let backend = free_port();
    let mut way = Way::to(backend);
    way.processors = "batch: {timeout: 1h, send_batch_size: 100000}";
    let mut agent = way.start();
    agent.wait_for_log("batching by these settings happens behind it");
    let mut sent = way.fill(20);
    agent.signal("KILL");
    agent.wait_for_exit();

    // An agent that is asked to end keeps what it cannot deliver too, and has nothing to complain about.
    let mut agent = way.start();
    assert_eq!(way.send(100_000), Some(200));
    sent.extend(100_000..100_000 + ITEMS);
    agent.signal("TERM");
    assert!(agent.wait_for_exit().success(), "{}", agent.log());

    way.processors = "";
    let sink = Sink::at(backend);
    let _agent = way.start();
    let came = wait_for(&sink, &sent);
    assert!(came.values().all(|n| *n == 1), "nothing was under way: {came:?}");
}

#[test]
fn a_batch_processor_in_front_of_a_connector_batches_behind_the_queue_on_disk_that_it_leads_to() {
    let sink = Sink::start();
    let mut way = Way::to(sink.port);
    way.processors = "batch: {timeout: 1h, send_batch_size: 100}";
    let own = "logs: {receivers: [otlp], processors: [batch], exporters: [otlp_http]}";
    let through = "logs/in: {receivers: [otlp], processors: [batch], exporters: [forward]}, \
                   logs/out: {receivers: [forward], exporters: [otlp_http]}";
    let _agent = Agent::start(&format!("connectors: {{forward: }}\n{}", way.yaml().replace(own, through)), 0);
    let sent = way.fill(20);
    assert_eq!(sent.len(), 100);
    wait_for(&sink, &sent);
    assert_eq!(sink.of("q", |request| request.payload.items()), [100]);
}

#[test]
fn a_full_queue_in_memory_is_told_to_senders_and_what_a_batch_processor_acknowledged_arrives() {
    let backend = free_port();
    let mut way = Way::to(backend);
    way.processors = "batch: {send_batch_size: 1}";
    let in_memory = way.yaml().replace("storage: file_storage, queue_size: 100000", "queue_size: 3");
    let agent = Agent::start(&in_memory, 0);
    let mut acknowledged = BTreeSet::new();
    for request in 0..8 {
        match way.send(request * ITEMS) {
            Some(200) => acknowledged.extend(request * ITEMS..(request + 1) * ITEMS),
            status => assert_eq!(status, Some(503)),
        }
    }
    assert_eq!(acknowledged.len() as u64, 4 * ITEMS, "three in the queue and one that waits for room");
    let sink = Sink::at(backend);
    let came = wait_for(&sink, &acknowledged);
    assert!(came.values().all(|n| *n == 1) && came.len() == acknowledged.len(), "{came:?}");
    assert_eq!(way.metric("otelcol_processor_batch_lost_items"), 0, "{}", agent.log());
}

#[test]
fn a_stop_delivers_or_names_what_a_batch_processor_holds_whatever_the_queue_behind_it() {
    for (queue, up, said) in [
        ("queue_size: 10, sizer: items", true, ""),
        ("queue_size: 10, sizer: items", false, "otlp_http"),
        ("wait_for_result: true", true, ""),
        ("wait_for_result: true", false, "batch"),
        ("enabled: false", false, "batch"),
    ] {
        let backend = free_port();
        let sink = up.then(|| Sink::at(backend));
        let mut way = Way::to(backend);
        way.processors = "batch: {timeout: 1h, send_batch_size: 100000}";
        let yaml = way.yaml().replace("storage: file_storage, queue_size: 100000", queue);
        let mut agent = Agent::start(&yaml.replace("extensions: [file_storage]", "extensions: []"), 0);
        let warned = agent.log().contains("so senders do not hear the result");
        assert_eq!(warned, queue == "wait_for_result: true", "{}", agent.log());
        let sent = way.fill(20);
        agent.signal("TERM");
        let code = agent.wait_for_exit().code();
        let expected: BTreeMap<String, u64> =
            (!said.is_empty()).then(|| (said.to_owned(), sent.len() as u64)).into_iter().collect();
        assert_eq!(said_lost(&agent.log()), expected, "{queue}:\n{}", agent.log());
        assert_eq!(code, Some(i32::from(!up)), "{queue}:\n{}", agent.log());
        let came = sink.map(|sink| delivered(&sink)).unwrap_or_default();
        assert!(
            came.values().all(|n| *n == 1) && came.len() == if up { sent.len() } else { 0 },
            "{queue}: {came:?}"
        );
    }
}

/// Pipelines in which the exporter with its queue on disk is not alone.
const MIXED: [&str; 4] = [
    "logs: {receivers: [otlp], exporters: [otlp_http, otlp_http/memory]}",
    "logs: {receivers: [otlp], processors: [batch], exporters: [otlp_http/memory, otlp_http]}",
    "logs/disk: {receivers: [otlp], processors: [batch], exporters: [otlp_http]}, \
     logs/memory: {receivers: [otlp], processors: [batch], exporters: [otlp_http/memory]}",
    "logs/in: {receivers: [otlp], processors: [batch], exporters: [forward, otlp_http/memory]}, \
     logs/out: {receivers: [forward], processors: [batch], exporters: [otlp_http]}",
];

#[test]
fn a_stop_with_dead_backends_keeps_what_is_on_disk_and_moves_there_what_an_exporter_beside_it_has_in_memory()
{
    for pipelines in MIXED {
        let mut way = Way::to(free_port());
        way.processors = "batch: {timeout: 1h, send_batch_size: 100000}";
        let own = "logs: {receivers: [otlp], processors: [batch], exporters: [otlp_http]}";
        let memory = format!(
            "exporters:\n  otlp_http/memory: {{endpoint: 'http://127.0.0.1:{}/m', compression: none}}\n",
            way.backend
        );
        let yaml = way.yaml().replace(own, pipelines).replace("exporters:\n", &memory);
        let yaml = format!("connectors: {{forward: {{}}}}\n{yaml}");
        let mut agent = Agent::start(&yaml, 0);
        let sent = way.fill(20);
        agent.signal("TERM");
        assert!(agent.wait_for_exit().success(), "{pipelines}:\n{}", agent.log());
        assert_eq!(said_lost(&agent.log()), BTreeMap::new(), "{pipelines}:\n{}", agent.log());
        let stays =
            agent.log().lines().filter(|line| line.contains("Records stay in a queue on disk")).count();
        assert_eq!(stays, 2, "{pipelines}:\n{}", agent.log());

        let sink = Sink::at(way.backend);
        let _agent = Agent::start(&yaml.replace("timeout: 1h", "timeout: 100ms"), 0);
        let came = wait_for(&sink, &sent);
        assert!(came.values().all(|n| *n == 1), "{pipelines}: nothing was under way: {came:?}");
        let beside = wait_until(LONG, || {
            let came = delivered_to(&sink, "m");
            (came.len() == sent.len()).then_some(came)
        });
        let beside = beside.unwrap_or_else(|| panic!("{pipelines}: {:?}", delivered_to(&sink, "m")));
        assert!(beside.keys().eq(&sent) && beside.values().all(|n| *n == 1), "{pipelines}: {beside:?}");
    }
}

#[test]
fn a_backend_that_hangs_leaves_time_to_move_what_is_in_memory_to_disk() {
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let way = Way::to(hangs.local_addr().expect("an address").port());
    let in_memory = way.yaml().replace("storage: file_storage, queue_size: 100000", "num_consumers: 2");
    let mut agent =
        Agent::start(&in_memory.replace("compression: none", "compression: none\n    timeout: 60s"), 0);
    let sent = way.fill(20);
    agent.signal("TERM");
    assert!(agent.wait_for_exit().success(), "{}", agent.log());
    assert_eq!(said_lost(&agent.log()), BTreeMap::new(), "{}", agent.log());

    // The same queue, whether the exporter names the storage or not.
    drop(hangs);
    let sink = Sink::at(way.backend);
    let _agent = way.start();
    let came = wait_for(&sink, &sent);
    assert!(came.len() == sent.len() && came.values().all(|n| *n == 1), "{came:?}");
}

/// Items that an agent said to have lost in its stop, by component.
fn said_lost(log: &str) -> BTreeMap<String, u64> {
    let mut lost = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("could not be delivered before the end")) {
        let after = |name: &str| {
            line.split(&format!("\"{name}\": ")).nth(1).unwrap_or_else(|| panic!("no {name}: {line}"))
        };
        let id = after("otelcol.component.id").split('"').nth(1).expect("an id");
        let items = after("dropped_items").split(|c: char| !c.is_ascii_digit()).next();
        *lost.entry(id.to_owned()).or_default() +=
            items.and_then(|n| n.parse::<u64>().ok()).expect("a number");
    }
    lost
}

/// The largest file of records.
fn segment(directory: &Path) -> PathBuf {
    let files = fs::read_dir(directory).expect("the queue's directory").map(|e| e.expect("an entry").path());
    let segments = files.filter(|path| path.extension().is_some_and(|e| e == "segment"));
    segments.max_by_key(|path| fs::metadata(path).expect("there").len()).expect("a segment")
}

#[test]
fn damaged_files_never_keep_an_agent_from_starting_and_what_they_cost_is_counted_exactly() {
    let damages: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes[1000..5096].fill(0),
        |bytes| (0..64).for_each(|n| bytes[n * 97] ^= 1 << (n % 8)),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let backend = free_port();
        let way = Way::to(backend);
        let mut agent = way.start();
        let sent = way.fill(60);
        agent.signal("KILL");
        agent.wait_for_exit();
        let path = segment(&way.directory());
        let mut bytes = fs::read(&path).expect("the segment");
        damage(&mut bytes);
        fs::write(&path, bytes).expect("written");

        let sink = Sink::at(backend);
        let agent = way.start();
        let lost = way.metric("otelcol_file_storage_lost_records") * ITEMS;
        let left = sent.len() as u64 - lost;
        assert!((1..sent.len() as u64).contains(&lost), "damage {number} cost {lost}");
        let came = wait_until(LONG, || Some(delivered(&sink)).filter(|came| came.len() as u64 >= left));
        let came = came
            .unwrap_or_else(|| panic!("damage {number}: {lost} counted, {} came", delivered(&sink).len()));
        assert_eq!(came.len() as u64, left, "damage {number}: counted exactly");
        assert!(came.keys().all(|id| sent.contains(id)));
        assert_eq!(way.send(1_000_000), Some(200), "fresh data passes");
        wait_for(&sink, &BTreeSet::from([1_000_000]));
        let queue = format!("\"queue\": \"{}\"", way.directory().display());
        for what in [
            "Records of a queue on disk are damaged and lost",
            "A segment of a queue on disk that is damaged",
        ] {
            let log = agent.wait_for_log(what);
            assert!(
                log.lines().filter(|line| line.contains(what)).all(|line| line.contains(&queue)),
                "{log}"
            );
        }
    }
}

#[test]
fn a_second_agent_on_the_same_directory_is_told_which_and_whose_it_is() {
    let way = Way::to(free_port());
    let first = way.start();
    let yaml = way.yaml().replace(&way.entry.to_string(), &free_port().to_string());
    let mut second = Agent::spawn(&yaml.replace(&way.metrics.to_string(), &free_port().to_string()), 0);
    assert!(!second.wait_for_exit().success());
    let log = second.log();
    assert!(log.contains(&way.directory().display().to_string()), "{log}");
    assert!(log.contains(&format!("process {}", first.pid())), "{log}");
    assert_eq!(way.send(0), Some(200), "the first goes on");
}

const MOUNT_NAMESPACE: [&str; 2] = ["--mount", "--map-root-user"];

/// Whether a small disk can be mounted for one process. A chroot and some containers forbid it: the test then says so and
/// checks nothing, except in CI, where it fails.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(MOUNT_NAMESPACE).arg("true").output();
    let why = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("unshare: {error}"),
    };
    let message = format!("a full disk needs a mount namespace of its own: {why}");
    assert!(std::env::var_os("CI").is_none(), "{message}");
    // Past what `cargo test` captures of a test that passes.
    writeln!(std::io::stderr(), "skipped: {message}").expect("stderr takes a line");
    false
}

#[test]
fn a_full_disk_is_a_retryable_answer_and_passes_without_a_restart() {
    if !may_mount() {
        return;
    }
    let backend = free_port();
    let way = Way::to(backend);
    let small =
        format!("mount -t tmpfs -o size=256k tmpfs {} && exec \"$0\" \"$@\"", way.queue.path().display());
    let agent = Agent::spawn_with(&way.yaml(), 0, |own| {
        let mut command = Command::new("unshare");
        command.args(MOUNT_NAMESPACE).args(["sh", "-c", &small]).arg(own.get_program()).args(own.get_args());
        if let Some(dir) = own.get_current_dir() {
            command.current_dir(dir);
        }
        command
    });
    agent.wait_for_log("Everything is ready.");
    let mut acknowledged = BTreeSet::new();
    let mut answer = None;
    for request in 0..5000 {
        answer = way.send(request * ITEMS);
        if answer != Some(200) {
            break;
        }
        acknowledged.extend(request * ITEMS..(request + 1) * ITEMS);
    }
    assert_eq!(answer, Some(503), "a full disk is told to the sender");
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let sink = Sink::at(backend);
    wait_for(&sink, &acknowledged);
    let again = wait_until(LONG, || (way.send(1_000_000) == Some(200)).then_some(()));
    again.expect("there is room again");
    wait_for(&sink, &BTreeSet::from([1_000_000]));
}

#[test]
fn a_directory_that_is_removed_is_told_to_senders_and_what_they_send_from_then_on_is_kept() {
    let backend = free_port();
    let way = Way::to(backend);
    let mut agent = way.start();
    way.fill(3);
    fs::remove_dir_all(way.directory()).expect("removed");
    assert_eq!(way.send(1_000_000), Some(503), "it would be lost with the process");
    agent.wait_for_log("its files were removed while the agent has it open");
    let kept: BTreeSet<u64> = (2_000_000..2_000_000 + ITEMS).collect();
    assert_eq!(way.send(2_000_000), Some(200));
    agent.signal("TERM");
    assert_eq!(agent.wait_for_exit().code(), Some(0), "{}", agent.log());
    let queue = format!("\"queue\": \"{}\"", way.directory().display());
    for (what, count) in
        [("lost: somebody removed their files", "\"lost_records\": 3"), ("Records stay", "\"records\": 1")]
    {
        let log = agent.log();
        let line = log.lines().find(|line| line.contains(what)).expect(&log);
        assert!(line.contains(&queue) && line.contains(count), "{line}");
    }
    let sink = Sink::at(backend);
    let _agent = way.start();
    assert_eq!(wait_for(&sink, &kept).len() as u64, ITEMS, "and nothing else");
}

#[test]
fn what_stays_in_a_directory_that_a_reload_leaves_is_named_with_it() {
    let way = Way::to(closed_port());
    let mut agent = way.start();
    way.fill(2);
    let other = TempDir::new().expect("a folder");
    let place = |folder: &TempDir| folder.path().display().to_string();
    let yaml = way.yaml().replace(&place(&way.queue), &place(&other));
    fs::write(agent.config(), yaml).expect("the file is written");
    agent.signal("HUP");
    agent.wait_for_log("Config updated.");
    agent.signal("TERM");
    assert_eq!(agent.wait_for_exit().code(), Some(0), "{}", agent.log());
    let log = agent.log();
    let stays = log.lines().find(|line| line.contains("Records stay in a queue on disk")).expect(&log);
    let directory = format!("\"directory\": \"{}\"", place(&way.queue));
    assert!(stays.contains(&directory) && stays.contains("\"records\": 2"), "{stays}");
}

#[test]
fn a_queue_is_measured_by_other_metrics_of_the_agent_as_well() {
    let mut way = Way::to(closed_port());
    let agent = way.start();
    way.fill(2);
    let names = ["disk_size", "commits", "lost_records"].map(|what| format!("otelcol_file_storage_{what}"));
    let before = names.each_ref().map(|name| way.metric(name));
    way.metrics = free_port();
    fs::write(agent.config(), way.yaml()).expect("the file is written");
    agent.signal("HUP");
    agent.wait_for_log("Config updated.");
    assert_eq!((names.each_ref().map(|name| way.metric(name)), before[0] > 0), (before, true));
    way.fill(2);
    assert!(way.metric(&names[1]) > before[1]);
}

#[test]
fn a_queue_that_no_exporter_has_any_more_is_named_at_the_start_with_its_records() {
    let way = Way::to(free_port());
    let mut agent = way.start();
    way.fill(2);
    agent.signal("TERM");
    agent.wait_for_exit();
    let line = "Records are left in a queue on disk that no exporter has open";
    assert!(!agent.log().contains(line), "{}", agent.log());
    let mut agent = Agent::start(
        &way.yaml().replace("otlp_http:", "otlp_http/new:").replace("[otlp_http]", "[otlp_http/new]"),
        0,
    );
    let log = agent.wait_for_log(line);
    let queue = format!("\"queue\": \"{}\"", way.directory().display());
    let said: Vec<_> = log.lines().filter(|said| said.contains(line)).collect();
    assert!(said.len() == 1 && said[0].contains(&queue) && said[0].contains("\"records\": 2"), "{log}");
    agent.signal("TERM");
    agent.wait_for_exit();
    let sink = Sink::at(way.backend);
    let _agent = way.start();
    wait_for(&sink, &(0..2 * ITEMS).collect());
}

#[test]
fn each_of_many_exporters_and_queues_is_named_at_the_end_however_alike_their_lines_are() {
    let down = closed_port();
    let ended = |extensions: &str, says: &str, who: &dyn Fn(usize) -> String, code: i32| {
        let way = Way::to(down);
        let ids: Vec<_> = (0..24).map(|n| format!("otlp_http/of{n}")).collect();
        let exporters: String =
            ids.iter().map(|id| format!("  {id}: {{endpoint: 'http://127.0.0.1:{down}'}}\n")).collect();
        let yaml = way.yaml().replace("exporters:\n", &format!("exporters:\n{exporters}"));
        let yaml = yaml.replace("extensions: [file_storage]", extensions);
        let yaml = yaml.replace("sending_queue: {storage: file_storage, queue_size: 100000}", "timeout: 1s");
        let mut agent = Agent::start(&yaml.replace("[otlp_http]", &format!("[{}]", ids.join(", "))), 0);
        assert_eq!(way.send(0), Some(200));
        agent.signal("TERM");
        assert_eq!(agent.wait_for_exit().code(), Some(code), "{}", agent.log());
        let log = agent.log();
        for who in (0..ids.len()).map(who) {
            assert!(log.lines().any(|line| line.contains(says) && line.contains(&who)), "{who}: {log}");
        }
    };
    let exporter = |n: usize| format!("\"otlp_http/of{n}\"");
    ended("extensions: []", "Items that had been acknowledged could not be delivered", &exporter, 1);
    let queue = |n: usize| format!("exporter_otlp_http_of{n}_logs\"");
    ended("extensions: [file_storage]", "Records stay in a queue on disk", &queue, 0);
}

#[test]
fn a_storage_that_is_not_configured_is_an_error_with_its_place() {
    let yaml = Way::to(free_port()).yaml().replace("extensions: [file_storage]", "extensions: []");
    let (code, text) = validate(&yaml);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("the extension \"file_storage\" does not run"), "{text}");
    assert!(text.contains("weir.yaml:8:30"), "{text}");
}

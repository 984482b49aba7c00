use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::task::{self, Waker};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use weir_component::{Blocking, Kind, Telemetry};
use weir_pdata::json;
use weir_pdata::otlp::common::v1::{AnyValue, KeyValue, any_value::Value};
use weir_pdata::otlp::logs::v1::{ResourceLogs, ScopeLogs};
use weir_pdata::otlp::profiles::v1development::{ProfilesDictionary, ResourceProfiles};
use weir_pdata::otlp::{LogsRequest, ProfilesRequest, kv, logs, resource};
use weir_testkit::{Simulation, Threads, payload};

use super::*;

/// An exporter on simulated time.
struct Running {
    simulation: Simulation,
    host: Host,
    exporters: Vec<Arc<dyn Exporter>>,
}

impl Running {
    /// Exporters of these signals with one id.
    fn start(body: &str, signals: &[Signal]) -> Result<Running, String> {
        let simulation = Simulation::new(1);
        let host = weir_testkit::host(&simulation);
        let mut running = Running { simulation, host, exporters: Vec::new() };
        for signal in signals {
            running.add("file", body, *signal)?;
        }
        Ok(running)
    }

    /// Another exporter beside them, which is the last from now on.
    fn add(&mut self, id: &str, body: &str, signal: Signal) -> Result<(), String> {
        let node = weir_config::parse_body(body).expect("YAML");
        let path = weir_config::Path::component("exporters", id);
        let build = Build { id, node: &node, path, host: &self.host, clock: self.simulation.clock() };
        let exporter = create(&build, signal).map_err(|e| e.0[0].core.clone())?.exporter;
        let (started, host) = (exporter.clone(), self.host.clone());
        let result = self.simulation.run(async move { started.start(&host).await }).expect("ended");
        result.map_err(|failure| failure.to_string())?;
        self.exporters.push(exporter);
        Ok(())
    }

    fn export(&self, payload: impl Into<Payload>) -> Result<Accepted, Failure> {
        self.export_by(0, payload)
    }

    fn export_by(&self, exporter: usize, payload: impl Into<Payload>) -> Result<Accepted, Failure> {
        let (exporter, payload) = (self.exporters[exporter].clone(), payload.into());
        self.simulation
            .run(async move { exporter.export(&payload, &Context::default()).await })
            .expect("ended")
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|n| n.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// One resource for each group; `None` has no attribute.
fn grouped(groups: &[Option<&str>]) -> LogsRequest {
    let resource_logs = groups.iter().map(|group| ResourceLogs {
        resource: Some(resource(group.iter().map(|g| kv("fileexporter.path_segment", *g)).collect())),
        scope_logs: vec![ScopeLogs {
            log_records: vec![logs::v1::LogRecord::default()],
            ..Default::default()
        }],
        ..Default::default()
    });
    LogsRequest { resource_logs: resource_logs.collect() }
}

#[test]
fn payloads_are_lines_of_json_in_one_file_for_all_signals() {
    let dir = folder();
    let path = dir.path().join("out.json");
    fs::write(&path, "old").expect("written");
    let body = format!("path: {}", path.display());
    let running = Running::start(&body, &[Signal::Traces, Signal::Logs]).expect("started");
    let all = [payload(Signal::Traces, 0, 2), payload(Signal::Logs, 5, 1)];
    for one in &all {
        running.export(one.clone()).expect("written");
    }
    let text = fs::read_to_string(&path).expect("readable");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (line, one) in lines.iter().zip(&all) {
        assert_eq!(json::to_protobuf(one.signal(), line.as_bytes()).expect("OTLP/JSON"), one.to_bytes());
    }
    // The exporters share the file: neither cut off what the other wrote.
    drop(running);
    let again = Running::start(&format!("{{{body}, append: true}}"), &[Signal::Logs]).expect("started");
    again.export(payload(Signal::Logs, 0, 1)).expect("written");
    assert_eq!(fs::read_to_string(&path).expect("readable").lines().count(), 3);
    let truncated = Running::start(&body, &[Signal::Logs]).expect("started");
    assert_eq!(fs::read_to_string(&path).expect("readable"), "");
    drop(truncated);
}

#[test]
fn a_reload_empties_no_file_whether_it_succeeds_or_is_refused() {
    let dir = folder();
    for (path, options) in [
        ("out.json", ""),
        ("kept.json", ", append: true"),
        ("full.json", ", rotation: {max_megabytes: 1}"),
        ("*/x.json", ", group_by: {enabled: true, max_open_files: 1}"),
    ] {
        let body = |more: &str| {
            format!("{{path: '{}', create_directory: true{more}}}", dir.path().join(path).display())
        };
        let mut running = Running::start(&body(options), &[Signal::Logs]).expect("started");
        let telemetry = grouped(&[Some("a"), Some("b")]);
        running.export(telemetry.clone()).expect("written");
        let lines = || {
            let files = if path.contains('*') { vec!["a/x.json", "b/x.json"] } else { vec![path] };
            let texts = files.iter().map(|file| fs::read_to_string(dir.path().join(file)).expect("readable"));
            texts.map(|text| text.lines().count()).collect::<Vec<_>>()
        };
        let groups = lines().len();
        // As when a reload is refused: the one before it still runs.
        let group_by = if groups > 1 { ", group_by: {enabled: true}" } else { "" };
        running
            .add("file", &body(&format!("{group_by}, flush_interval: 2s")), Signal::Logs)
            .expect("started");
        running.export_by(1, telemetry.clone()).expect("written");
        running.export(telemetry.clone()).expect("written");
        assert_eq!(lines(), vec![3; groups], "{path}");
        // Removed by one reload and added by another, with another name.
        for exporter in std::mem::take(&mut running.exporters) {
            running.simulation.run(async move { exporter.stop().await }).expect("ended");
        }
        running.add("file/new", &body(group_by), Signal::Logs).expect("started");
        running.export(telemetry).expect("written");
        assert_eq!(lines(), vec![4; groups], "{path}");
    }
}

/// The size of the largest file that this process may write.
fn largest(path: &Path) -> u64 {
    let file = fs::File::create(path).expect("made");
    let (mut fits, mut exceeds) = (0, 1 << 20);
    while exceeds - fits > 1 {
        let middle = fits + (exceeds - fits) / 2;
        if file.set_len(middle).is_ok() { fits = middle } else { exceeds = middle }
    }
    fits
}

#[test]
fn what_a_failed_write_cuts_off_is_its_own() {
    const LIMITED: &str = "WEIR_TEST_FILES_ARE_LIMITED";
    if std::env::var_os(LIMITED).is_none() {
        // Again in a process whose files cannot grow.
        let run =
            r#"trap "" XFSZ; ulimit -f 8; exec "$0" --exact tests::what_a_failed_write_cuts_off_is_its_own"#;
        let itself = std::env::current_exe().expect("a program");
        let ran =
            Command::new("sh").args(["-c", run]).arg(itself).env(LIMITED, "").output().expect("sh runs");
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let dir = folder();
    let path = dir.path().join("out");
    let body = format!("{{path: {}, format: proto}}", path.display());
    let mut running = Running::start(&body, &[Signal::Logs]).expect("started");
    running.add("file/beside", &body, Signal::Logs).expect("started");
    running.export(payload(Signal::Logs, 0, 1)).expect("written");
    let one = fs::metadata(&path).expect("there").len();
    running.export_by(1, payload(Signal::Logs, 0, 1)).expect("written");
    // Another program has left room for half a record.
    let full = largest(&dir.path().join("largest")) - one / 2;
    let file = fs::OpenOptions::new().write(true).open(&path).expect("opened");
    file.set_len(full).expect("set");
    for exporter in [0, 1] {
        let failure = running.export_by(exporter, payload(Signal::Logs, 0, 1)).expect_err("too large");
        assert!(failure.is_retryable(), "{failure}");
        assert_eq!(file.metadata().expect("there").len(), full);
    }
    // As logrotate does with copytruncate.
    file.set_len(0).expect("emptied");
    running.export(payload(Signal::Logs, 0, 1)).expect("written");
    assert_eq!(records(&fs::read(&path).expect("readable")).len(), 1);
}

#[test]
fn exporters_with_one_path_share_its_file_when_it_is_full() {
    let dir = folder();
    symlink(dir.path(), dir.path().join("again")).expect("linked");
    let body = |folder: &str| {
        let path = dir.path().join(folder).join("data.json");
        format!("{{path: {}, format: proto, rotation: {{max_megabytes: 1}}}}", path.display())
    };
    let mut running = Running::start(&body(""), &[Signal::Logs]).expect("started");
    running.add("file/again", &body("again"), Signal::Logs).expect("started");
    for exporter in [0, 1] {
        running.export_by(exporter, more_than_half_a_megabyte()).expect("written");
    }
    running.export(payload(Signal::Logs, 0, 1)).expect("written");
    let names = names(dir.path());
    assert_eq!(names.len(), 3, "{names:?}");
    let files = names.iter().filter(|name| name.starts_with("data"));
    let counts = files.map(|name| records(&fs::read(dir.path().join(name)).expect("readable")).len());
    assert_eq!(counts.collect::<Vec<_>>(), [1, 2], "the one set aside is full");
}

#[test]
fn a_full_file_that_somebody_has_moved_or_removed_is_followed_by_a_new_one() {
    let dir = folder();
    let base = dir.path().join("data");
    for (options, group) in [
        ("path: data/x.json, create_directory: true", None),
        ("path: 'data/*/x.json', group_by: {enabled: true}", Some("a")),
    ] {
        let options = options.replace("data", &base.display().to_string());
        let running =
            Running::start(&format!("{{{options}, rotation: {{max_megabytes: 1}}}}"), &[Signal::Logs]);
        let running = running.expect("started");
        let mut large = grouped(&[group]);
        large.resource_logs[0].scope_logs[0].log_records[0].severity_text = "x".repeat(600_000);
        let folder = base.join(group.unwrap_or(""));
        let file = folder.join("x.json");
        running.export(large.clone()).expect("written");
        fs::remove_file(&file).expect("removed");
        running.export(large.clone()).expect("written");
        fs::rename(&file, folder.join("moved")).expect("moved");
        running.export(large.clone()).expect("written");
        assert_eq!(names(&folder), ["moved", "x.json"]);
        fs::remove_dir_all(&base).expect("removed");
        // A group finds out by what fails.
        assert_eq!(running.export(large.clone()).is_err(), group.is_some());
        running.export(large).expect("written");
        assert!(file.exists());
        fs::remove_dir_all(&base).expect("removed");
    }
}

#[test]
fn a_file_that_stands_still_keeps_few_threads_whoever_waits_or_leaves() {
    let (dir, simulation, threads) = (folder(), Simulation::new(1), Arc::<Threads>::default());
    let host = Host::new("", 0, Telemetry::default(), Arc::clone(&threads) as Arc<dyn Blocking>);
    let body = format!("path: {}/out", dir.path().display());
    let mut running = Running { simulation, host, exporters: Vec::new() };
    running.add("file", &body, Signal::Logs).expect("started");
    threads.hang();
    let (payload, context) = (payload(Signal::Logs, 0, 1), Context::default());
    let mut senders: Vec<_> = (0..100).map(|_| running.exporters[0].export(&payload, &context)).collect();
    let wait = |senders: &mut Vec<Pin<Box<dyn Future<Output = _> + Send + '_>>>| {
        for sender in senders {
            assert!(sender.as_mut().poll(&mut task::Context::from_waker(Waker::noop())).is_pending());
        }
        threads.busy()
    };
    let few = wait(&mut senders);
    assert!(few < 10, "{few}");
    // Half of them leave, those whose writing hangs among them.
    senders.drain(..50);
    assert_eq!(wait(&mut senders), few);
    assert!(threads.end_one());
    assert_eq!(wait(&mut senders), few, "the next one has the turn");
    drop(senders);
    assert_eq!(fs::read_to_string(dir.path().join("out")).expect("readable").lines().count(), 1);
}

#[test]
fn a_large_payload_is_encoded_alone() {
    let (dir, simulation, threads) = (folder(), Simulation::new(1), Arc::<Threads>::default());
    let host = Host::new("", 0, Telemetry::default(), Arc::clone(&threads) as Arc<dyn Blocking>);
    let mut running = Running { simulation, host, exporters: Vec::new() };
    running.add("file", &format!("path: {}/out", dir.path().display()), Signal::Logs).expect("started");
    threads.hang();
    let mut large = grouped(&[None]);
    large.resource_logs[0].scope_logs[0].log_records[0].severity_text = "x".repeat(5 << 20);
    let (large, small, context) = (Payload::from(large), payload(Signal::Logs, 0, 1), Context::default());
    let mut senders: Vec<_> =
        [&large, &large, &small].map(|payload| running.exporters[0].export(payload, &context)).into();
    let poll = |senders: &mut Vec<Pin<Box<dyn Future<Output = _> + Send + '_>>>| {
        for sender in senders {
            assert!(sender.as_mut().poll(&mut task::Context::from_waker(Waker::noop())).is_pending());
        }
        threads.busy()
    };
    assert_eq!(poll(&mut senders), 1);
    assert!(threads.end_one());
    assert_eq!(poll(&mut senders), 1, "the next one, alone too");
}

#[test]
fn a_named_pipe_that_nobody_reads_yet_does_not_hold_up_the_start() {
    let dir = folder();
    let path = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    let body = format!("path: {}", path.display());
    let (tell, told) = sync_channel(1);
    thread::spawn(move || {
        let running = Running::start(&body, &[Signal::Logs]).expect("started");
        running.export(payload(Signal::Logs, 0, 1)).expect("written");
        tell.send(running).expect("waited for");
    });
    let running = told.recv_timeout(Duration::from_secs(60)).expect("it starts and writes");
    let mut line = String::new();
    BufReader::new(fs::File::open(&path).expect("opened")).read_line(&mut line).expect("readable");
    assert_eq!(
        json::to_protobuf(Signal::Logs, line.trim().as_bytes()).expect("OTLP/JSON"),
        payload(Signal::Logs, 0, 1).to_bytes()
    );
    drop(running);
}

/// The records of a file, each with its length in front.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (record, behind) = rest.split_at(u32::from_be_bytes(*length) as usize);
        records.push(record);
        bytes = behind;
    }
    assert!(bytes.is_empty());
    records
}

#[test]
fn protobuf_and_compressed_records_have_their_length_in_front() {
    let dir = folder();
    for (options, json, compressed) in [
        ("format: proto", false, false),
        ("compression: zstd", true, true),
        ("format: proto, compression: zstd, compression_params: {level: 11}", false, true),
    ] {
        let path = dir.path().join("out");
        let running = Running::start(&format!("{{path: {}, {options}}}", path.display()), &[Signal::Metrics]);
        let running = running.expect("started");
        let sent = [payload(Signal::Metrics, 0, 3), payload(Signal::Metrics, 7, 1)];
        sent.iter().for_each(|p| drop(running.export(p.clone()).expect("written")));
        let bytes = fs::read(&path).expect("readable");
        let read = records(&bytes);
        assert_eq!(read.len(), 2, "{options}");
        for (record, sent) in read.into_iter().zip(&sent) {
            let content = if compressed {
                zstd::bulk::decompress(record, 1 << 20).expect("zstd")
            } else {
                record.to_vec()
            };
            let content = if json {
                json::to_protobuf(Signal::Metrics, &content).expect("JSON")
            } else {
                content.into()
            };
            assert_eq!(content, sent.to_bytes(), "{options}");
        }
    }
}

/// Of which only one fits into a file of a megabyte.
fn more_than_half_a_megabyte() -> LogsRequest {
    let record = logs::v1::LogRecord { severity_text: "x".repeat(600 << 10), ..Default::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..Default::default() }];
    LogsRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] }
}

#[test]
fn a_file_that_is_set_aside_leaves_its_permissions_to_the_next_and_a_new_one_is_not_for_all() {
    for given in [None, Some(0o666), Some(0o600)] {
        let dir = folder();
        let path = dir.path().join("data.json");
        if let Some(mode) = given {
            fs::write(&path, "").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        }
        let body = format!("{{path: {}, rotation: {{max_megabytes: 1}}}}", path.display());
        let running = Running::start(&body, &[Signal::Logs]).expect("started");
        for _ in 0..2 {
            running.export(more_than_half_a_megabyte()).expect("written");
        }
        let names = names(dir.path());
        assert_eq!(names.len(), 2, "{names:?}");
        let modes = names.iter().map(|name| {
            let mode = fs::metadata(dir.path().join(name)).expect("there").permissions().mode();
            mode & 0o777
        });
        match given {
            Some(mode) => {
                assert!(modes.clone().all(|m| m == mode), "{mode:o} {:?}", modes.collect::<Vec<_>>())
            }
            None => assert!(modes.clone().all(|m| m & 0o027 == 0), "{:?}", modes.collect::<Vec<_>>()),
        }
    }
}

#[test]
fn a_file_that_is_full_is_set_aside_and_the_oldest_go() {
    let dir = folder();
    let path = dir.path().join("data.json");
    let body = format!(
        "{{path: {}, format: proto, rotation: {{max_megabytes: 1, max_backups: 2}}}}",
        path.display()
    );
    let running = Running::start(&body, &[Signal::Logs]).expect("started");
    let request = more_than_half_a_megabyte();
    for _ in 0..5 {
        running.export(request.clone()).expect("written");
        let clock = running.simulation.clock();
        running.simulation.run(async move { clock.sleep(Duration::from_secs(1)).await }).expect("slept");
    }
    let names = names(dir.path());
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[..2].iter().all(|n| n.starts_with("data-") && n.ends_with("-size.json")), "{names:?}");
    for name in &names {
        assert_eq!(records(&fs::read(dir.path().join(name)).expect("readable")).len(), 1, "{name}");
    }
    let two = LogsRequest { resource_logs: [request.resource_logs.clone(), request.resource_logs].concat() };
    let failure = running.export(two).expect_err("too large for any file");
    assert_eq!(failure.kind(), Kind::Permanent);
    assert!(failure.message().contains("exceeds maximum file size 1048576"), "{failure}");
}

#[test]
fn each_group_has_its_file_and_none_leaves_the_folder() {
    let dir = folder();
    let base = dir.path().join("data");
    let body =
        format!("{{path: '{}/*.json', group_by: {{enabled: true, max_open_files: 1}}}}", base.display());
    let running = Running::start(&body, &[Signal::Logs]).expect("started");
    let groups = [Some("a"), Some("b/c"), None, Some("../../out"), Some("a")];
    running.export(grouped(&groups)).expect("written");
    // With one open file each was closed meanwhile: what was written before stays.
    running.export(grouped(&groups)).expect("written");
    assert_eq!(names(&base), ["a.json", "b", "out.json"]);
    assert_eq!(names(dir.path()), ["data"]);
    let lines = |name: &str| {
        let text = fs::read_to_string(base.join(name)).expect("readable");
        let read = text.lines().map(|l| json::to_protobuf(Signal::Logs, l.as_bytes()).expect("OTLP/JSON"));
        read.map(|bytes| Payload::from_request(Signal::Logs, bytes).expect("well-formed").items())
            .collect::<Vec<_>>()
    };
    assert_eq!((lines("a.json"), lines("b/c.json"), lines("out.json")), (vec![2, 2], vec![1, 1], vec![1, 1]));
}

#[test]
fn symbolic_links_that_telemetry_leads_to_are_not_followed() {
    let dir = folder();
    let (base, secret) = (dir.path().join("data"), dir.path().join("secret"));
    fs::create_dir_all(&base).expect("made");
    fs::write(&secret, "keep").expect("written");
    symlink(&secret, base.join("file.json")).expect("linked");
    symlink(dir.path(), base.join("folder")).expect("linked");
    let body = format!("{{path: '{}/*.json', group_by: {{enabled: true}}}}", base.display());
    let running = Running::start(&body, &[Signal::Logs]).expect("started");
    for group in ["file", "folder/new"] {
        let failure = running.export(grouped(&[Some(group), Some("fine")])).expect_err("refused");
        assert_eq!(failure.kind(), Kind::Permanent, "{failure}");
    }
    assert_eq!(fs::read_to_string(&secret).expect("readable"), "keep");
    assert_eq!(names(dir.path()), ["data", "secret"]);
    assert_eq!(fs::read_to_string(base.join("fine.json")).expect("readable").lines().count(), 2);
}

#[test]
fn a_full_file_is_set_aside_where_it_was_opened_though_a_link_took_the_place_of_its_folder() {
    let dir = folder();
    let (base, outside) = (dir.path().join("data"), dir.path().join("outside"));
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("x.json"), "keep").expect("written");
    let body = format!(
        "{{path: '{}/*.json', group_by: {{enabled: true}}, rotation: {{max_megabytes: 1}}}}",
        base.display()
    );
    let running = Running::start(&body, &[Signal::Logs]).expect("started");
    let mut large = grouped(&[Some("folder/x")]);
    let record = &mut large.resource_logs[0].scope_logs[0].log_records[0];
    record.severity_text = "x".repeat(600_000);
    running.export(large.clone()).expect("written");
    fs::rename(base.join("folder"), base.join("was")).expect("moved");
    symlink(&outside, base.join("folder")).expect("linked");
    running.export(large).expect("written");
    assert_eq!(names(&outside), ["x.json"]);
    assert_eq!(fs::read_to_string(outside.join("x.json")).expect("readable"), "keep");
    assert_eq!(names(&base.join("was")).len(), 2, "one set aside, one begun");
}

#[test]
fn no_group_takes_the_place_of_files_of_another_that_were_set_aside() {
    let dir = folder();
    let options = "group_by: {enabled: true}, rotation: {max_megabytes: 1, max_backups: 2}";
    let body = format!("{{path: '{}/*.json', {options}}}", dir.path().display());
    let running = Running::start(&body, &[Signal::Logs]).expect("started");
    let mut large = grouped(&[Some("victim")]);
    large.resource_logs[0].scope_logs[0].log_records[0].severity_text = "x".repeat(600_000);
    for _ in 0..3 {
        running.export(large.clone()).expect("written");
    }
    let of_victim = names(dir.path());
    assert_eq!(of_victim.len(), 3);
    let imitations: Vec<_> = (0..3)
        .flat_map(|n| ["1970", "2099"].map(|year| format!("victim-{year}-01-01T00-00-00.00{n}-size")))
        .chain(["victim-2099-01-01T00-00-00.009-size.json/x".to_owned()])
        .collect();
    let imitations: Vec<_> = imitations.iter().map(|name| Some(name.as_str())).collect();
    running.export(grouped(&imitations)).expect("written");
    running.export(large).expect("written");
    running.export(grouped(&imitations)).expect("written");
    let now = names(dir.path());
    let (mut aside, mut others) = (Vec::new(), Vec::new());
    for name in now.iter().filter(|name| *name != "victim.json") {
        let is_aside = of_victim.contains(name) || name.ends_with("-size.json");
        if is_aside { aside.push(name) } else { others.push(name) }
    }
    assert_eq!((aside.len(), others.len()), (2, imitations.len()), "{now:?}");
    assert!(of_victim.contains(aside[0]) && !of_victim.contains(aside[1]), "the newest two: {now:?}");
    for name in others.iter().filter(|name| dir.path().join(name).is_file()) {
        let text = fs::read_to_string(dir.path().join(name)).expect("readable");
        assert_eq!(text.lines().count(), 2, "{name}");
    }
}

#[test]
fn groups_of_profiles_have_the_dictionary_with_them() {
    let dir = folder();
    let body = format!("{{path: '{}/*', format: proto, group_by: {{enabled: true}}}}", dir.path().display());
    let running = Running::start(&body, &[Signal::Profiles]).expect("started");
    let strings = ["", "fileexporter.path_segment", "b"].map(String::from).to_vec();
    let dictionary = Some(ProfilesDictionary { string_table: strings, ..Default::default() });
    // As the Collector writes them: by index into the dictionary.
    let by_index = KeyValue {
        key_strindex: 1,
        value: Some(AnyValue { value: Some(Value::StringValueStrindex(2)) }),
        ..Default::default()
    };
    let of = |attribute| ResourceProfiles { resource: Some(resource(vec![attribute])), ..Default::default() };
    let groups = [("a", of(kv("fileexporter.path_segment", "a"))), ("b", of(by_index))];
    let resource_profiles = groups.iter().map(|(_, resource)| resource.clone()).collect();
    let whole = ProfilesRequest { resource_profiles, dictionary: dictionary.clone() };
    running.export(whole).expect("written");
    for (group, resource) in groups {
        let bytes = fs::read(dir.path().join(group)).expect("readable");
        let read =
            Payload::from_request(Signal::Profiles, records(&bytes)[0].to_vec().into()).expect("well-formed");
        let expected = ProfilesRequest { resource_profiles: vec![resource], dictionary: dictionary.clone() };
        assert_eq!(read.decode_profiles(), expected);
    }
}

#[test]
fn a_group_without_a_possible_name_fails_alone_and_a_failure_names_few_of_many() {
    let dir = folder();
    let body = format!("{{path: '{}/*', group_by: {{enabled: true}}}}", dir.path().display());
    let running = Running::start(&body, &[Signal::Logs]).expect("started");
    // A path that is clean again, so that only its length tells.
    let long = format!("{}x", "a/../".repeat(1000));
    let failure = running.export(grouped(&[Some(&long), Some("fine")])).expect_err("refused");
    assert!(failure.message().contains("is longer than any path in 1 of the resources"), "{failure}");
    assert_eq!(names(dir.path()), ["fine"]);
    let folders: Vec<String> = (0..20).map(|n| format!("fine/{n}")).collect();
    let folders: Vec<Option<&str>> = folders.iter().map(|name| Some(name.as_str())).collect();
    let failure = running.export(grouped(&folders)).expect_err("no folder");
    assert_eq!(failure.kind(), Kind::Permanent);
    assert!(failure.message().ends_with("; 10 more groups failed"), "{failure}");
}

#[test]
fn folders_are_made_when_asked_for_with_their_permissions() {
    let dir = folder();
    let path = dir.path().join("x/y/out.json");
    let error = Running::start(&format!("path: {}", path.display()), &[Signal::Logs]).err().expect("refused");
    assert!(error.contains("out.json: No such file") && error.contains("create_directory: true"), "{error}");
    let body = format!("{{path: {}, create_directory: true, directory_permissions: '0700'}}", path.display());
    Running::start(&body, &[Signal::Logs]).expect("started");
    for folder in ["x", "x/y"] {
        let mode = fs::metadata(dir.path().join(folder)).expect("a folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{folder}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_failure_that_passes() {
    let groups = "{path: '/dev/*', group_by: {enabled: true}}";
    for (options, groups) in [("path: /dev/full", [None, None]), (groups, [Some("full"); 2])] {
        let running = Running::start(options, &[Signal::Logs]).expect("started");
        let failure = running.export(grouped(&groups)).expect_err("full");
        assert!(failure.is_retryable() && failure.message().contains("No space left"), "{failure}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_had_no_room_is_not_sent_again_where_another_group_is_written() {
    let dir = folder();
    symlink("/dev", dir.path().join("data")).expect("linked");
    let body = format!("{{path: '{}/data/*', group_by: {{enabled: true}}}}", dir.path().display());
    let running = Running::start(&body, &[Signal::Logs]).expect("started");
    let failure = running.export(grouped(&[Some("full"), Some("null")])).expect_err("full");
    assert!(!failure.is_retryable() && failure.message().contains("No space left"), "{failure}");
}

#[test]
fn after_the_end_nothing_is_written() {
    let dir = folder();
    let running =
        Running::start(&format!("path: {}/out", dir.path().display()), &[Signal::Logs]).expect("started");
    let exporter = running.exporters[0].clone();
    running.simulation.run(async move { exporter.stop().await }).expect("ended");
    assert!(running.export(payload(Signal::Logs, 0, 1)).is_err());
    assert_eq!(
        running.host.shared::<Stores>().open("other", &Config::default()).err().map(|e| e.is_empty()),
        Some(false)
    );
}

#[test]
fn what_is_wrong_is_said_in_the_collectors_words() {
    let cases = [
        ("{}", "path must be non-empty"),
        (
            "{path: a, append: true, rotation: }",
            "append and rotation enabled at the same time is not supported",
        ),
        ("{path: a, format: xml}", "format type is not supported"),
        ("{path: a, encoding: text_encoding}", "unknown encoding \"text_encoding\""),
        ("{path: a, compression: gzip}", "compression is not supported"),
        ("{path: a, flush_interval: -1s}", "flush_interval must be larger than zero"),
        ("{path: a, group_by: {enabled: true}}", "path must contain exactly one * when group_by is enabled"),
        (
            "{path: 'a*b*', group_by: {enabled: true}}",
            "path must contain exactly one * when group_by is enabled",
        ),
        ("{path: '*', group_by: {enabled: true}}", "path must not start with * when group_by is enabled"),
        (
            "{path: 'a*', group_by: {enabled: true, resource_attribute: ''}}",
            "resource_attribute must not be empty when group_by is enabled",
        ),
        (
            "{path: a, directory_permissions: '0700'}",
            "directory_permissions requires create_directory to be true",
        ),
        (
            "{path: a, create_directory: true, directory_permissions: '99'}",
            "directory_permissions value must be a valid octal representation",
        ),
        (
            "{path: a, create_directory: true, directory_permissions: '7777'}",
            "directory_permissions contain invalid bits for file access",
        ),
    ];
    for (body, words) in cases {
        assert_eq!(Running::start(body, &[Signal::Logs]).err().as_deref(), Some(words), "{body}");
    }
}

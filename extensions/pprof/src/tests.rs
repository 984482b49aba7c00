use std::hint::black_box;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_component::{Host, Stop, Telemetry};
use weir_profile::{Limits, Profile};
use weir_testkit::{Simulation, Threads};

use super::*;

fn build(body: &str) -> Result<Box<dyn Extension>, BuildError> {
    let simulation = Simulation::new(1);
    let node = weir_config::parse_body(body).expect("YAML");
    let (host, path) = (weir_testkit::host(&simulation), weir_config::Path::component("extensions", "pprof"));
    create(&Build { id: "pprof", node: &node, path, host: &host, clock: simulation.clock() })
}

/// Status line and body of a page, on simulated time.
fn get(path: &str) -> (StatusCode, Vec<u8>) {
    let simulation = Simulation::new(1);
    let request = Arc::new(Request::get(path).body(()).expect("a request"));
    let clock = simulation.clock();
    let work = async move {
        let response = answer(request, clock).await;
        let status = response.status();
        (status, response.into_body().collect().await.expect("a body").to_bytes().to_vec())
    };
    simulation.run(work).expect("ended")
}

/// The frames of each sample, innermost first, and its value.
fn samples(bytes: &[u8]) -> (String, Vec<(Vec<String>, i64)>) {
    let profile = Profile::parse(bytes, Limits::default()).expect("a profile in the format of pprof");
    let kinds: Vec<_> = profile.value_types().map(|t| format!("{}/{}", t.kind, t.unit)).collect();
    let samples = profile
        .samples()
        .map(|s| (profile.frames(s.stack()).map(|f| f.function.to_owned()).collect(), s.value(0)));
    (kinds.join(","), samples.collect())
}

#[test]
fn a_thread_that_works_is_in_the_cpu_profile() {
    let busy = std::thread::Builder::new().name("busy-one".to_owned());
    let before = threads::all();
    let work = || {
        let mut sum = 0u64;
        // Until the kernel has accounted some time for it.
        while !threads::all().values().any(|t| t.name == "busy-one" && t.cpu > 20_000_000) {
            sum = (0..100_000u64).fold(sum, |a, b| black_box(a ^ b));
        }
        black_box(sum);
        profiles::cpu(&BTreeMap::new(), 5_000_000_000, 1_000_000_000)
    };
    let bytes = busy.spawn(work).expect("a thread").join().expect("it ended");
    let (kinds, samples) = samples(&bytes);
    assert_eq!(kinds, "cpu/nanoseconds");
    let time: i64 =
        samples.iter().filter(|(stack, _)| stack.last().is_some_and(|f| f == "busy-one")).map(|s| s.1).sum();
    assert!(time >= 20_000_000, "{samples:?}");
    assert!(samples.iter().all(|(stack, _)| ["user mode", "kernel mode"].contains(&stack[0].as_str())));
    assert!(!before.is_empty());
}

#[test]
fn every_path_answers_what_it_says() {
    let (status, bytes) = get("/debug/pprof/profile?seconds=5");
    assert_eq!((status, samples(&bytes).0.as_str()), (StatusCode::OK, "cpu/nanoseconds"));
    let (status, bytes) = get("/debug/pprof/heap");
    let (kinds, memory) = samples(&bytes);
    assert_eq!((status, kinds.as_str()), (StatusCode::OK, "inuse_space/bytes"));
    assert!(memory.iter().any(|(stack, bytes)| stack == &["[heap]"] && *bytes > 0), "{memory:?}");
    let (status, bytes) = get("/debug/pprof/goroutine");
    assert_eq!((status, samples(&bytes).0.as_str()), (StatusCode::OK, "thread/count"));
    let (_, listed) = get("/debug/pprof/threadcreate?debug=1");
    assert!(String::from_utf8_lossy(&listed).starts_with("threads: total "));
    assert!(get("/debug/pprof/cmdline").1.starts_with(b"/"));
    for path in ["/debug/pprof/block", "/debug/pprof/mutex", "/debug/pprof/trace", "/debug/pprof/x", "/"] {
        assert_eq!(get(path).0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(get("/debug/pprof/profile?seconds=0").0, StatusCode::BAD_REQUEST);
    assert_eq!(get("/debug/pprof/profile?seconds=1000").0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn it_listens_for_this_host_and_saves_a_profile_of_the_whole_run() {
    let file = std::env::temp_dir().join(format!("weir-pprof-{}", std::process::id()));
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = free.local_addr().expect("an address");
    drop(free);
    let options = format!("{{endpoint: '{address}', save_to_file: '{}'}}", file.display());
    let mut extension = build(&options).expect("built");
    let simulation = Simulation::new(1);
    let (stopper, stop) = Stop::new();
    let host = Host::new("", 0, Telemetry::default(), Arc::<Threads>::default());
    let cx = ExtensionContext { id: "pprof".to_owned(), stop, clock: simulation.clock(), host };
    extension.start(&cx).await.expect("started");
    let mut task = tokio::task::JoinSet::new();
    task.spawn(extension.run(cx));
    let ask = async |host: &str| {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!("GET /debug/pprof/ HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut page = String::new();
        stream.read_to_string(&mut page).await.expect("read");
        page
    };
    let page = ask("localhost").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("/debug/pprof/"), "{page}");
    let foreign = ask("attacker.example").await;
    assert!(foreign.starts_with("HTTP/1.1 403") && !foreign.contains("/debug/pprof/"), "{foreign}");
    drop(stopper);
    task.join_next().await.expect("a task").expect("it ended").expect("without a failure");
    let saved = std::fs::read(&file).expect("saved");
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(samples(&saved).0, "cpu/nanoseconds");
}

#[test]
fn a_named_pipe_that_nobody_reads_ends_the_start_with_an_error() {
    let pipe = std::env::temp_dir().join(format!("weir-pprof-pipe-{}", std::process::id()));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let path = pipe.clone();
    std::thread::spawn(move || tell.send(emptied(&path.display().to_string()).map(drop)));
    let opened = told.recv_timeout(Duration::from_secs(60));
    std::fs::remove_file(&pipe).expect("removed");
    assert!(opened.expect("it does not wait for a reader").is_err());
}

#[test]
fn options_of_gos_profiler_are_accepted_and_unknown_ones_refused() {
    assert!(build("{block_profile_fraction: 3, mutex_profile_fraction: 5, dialer: {timeout: 1s}}").is_ok());
    assert!(build("{goroutine_profile_fraction: 3}").is_err());
}

//! The receiver against servers on loopback, good and bad.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, join};
use weir_component::{Capabilities, Clock, Host, Outputs, Port, SourceStatus, Stop, Stopper};
use weir_connection::names;
use weir_connection::process::{ProcessInfo, ProcessKey};
use weir_connection::table::ConnectionTable;
use weir_engine::TokioRuntime;
use weir_pdata::{Payload, view};
use weir_testkit::{Recorder, Simulation};

use super::*;

mod server;

use server::{Page, Server, path, status};

/// Longest wait of a test for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A recorded profile of a real Go program, as it was served.
fn recorded(name: &str) -> Vec<u8> {
    let path = format!("{}/../../profile/testdata/{name}.pb.gz", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("recorded")
}

fn profile(name: &str) -> Page {
    Page::Full(200, String::new(), recorded(name))
}

/// What a service with the companion module serves.
fn checkout(head: &str) -> Page {
    match path(head) {
        "/debug/pprof/goroutine" => profile("grpc-2.goroutine"),
        "/debug/pprof/heap" => profile("unused-1.heap"),
        "/debug/pprof/mutex" => profile("mutex-1.mutex"),
        "/debug/pprof/grpc.clientconn" => profile("grpc-2.clientconn"),
        other => unreachable!("asked for {other}"),
    }
}

/// A receiver in an agent of its own.
struct Agent {
    host: Host,
    clock: Clock,
    recorder: Recorder,
    owner: OwnerLookup,
}

impl Agent {
    fn new() -> Agent {
        let runtime = Arc::new(TokioRuntime::current());
        let telemetry = weir_testkit::host(&Simulation::new(1)).telemetry().clone();
        Agent {
            host: Host::new("0.0.0-test", 0, telemetry, runtime.clone()),
            clock: Clock::new(runtime),
            recorder: Recorder::accepting(),
            owner: Arc::new(|_| None),
        }
    }

    fn build(&self, body: &str) -> Pprof {
        let node = weir_config::parse_body(body).expect("YAML");
        let path = weir_config::Path::component("receivers", "pprof");
        let config: Config = weir_config::load(&node, &path).expect("valid");
        let settings = config.settings().expect("valid");
        Pprof { config, settings, clients: Vec::new(), owner: Arc::clone(&self.owner) }
    }

    fn context(&self) -> (Stopper, ReceiverContext) {
        let (stopper, stop) = Stop::new();
        let output = self.recorder.output();
        let port = Port { signal: Signal::Metrics, pipeline: "metrics".to_owned(), output };
        let outputs = Outputs::new(vec![port]);
        let (clock, host) = (self.clock.clone(), self.host.clone());
        (stopper, ReceiverContext { id: "pprof".to_owned(), outputs, stop, clock, host })
    }

    /// Runs a receiver with this configuration beside `beside` until `until` has happened.
    async fn run(&self, body: &str, beside: impl Future<Output = ()>, until: impl Fn(&Agent) -> bool) {
        let mut receiver = Box::new(self.build(body));
        let (stopper, cx) = self.context();
        receiver.start(&cx).await.expect("started");
        let watch = async {
            while !until(self) {
                self.clock.sleep(Duration::from_millis(5)).await;
            }
            drop(stopper);
        };
        let work = async {
            let (ended, ()) = join(receiver.run(cx), watch).await;
            ended.expect("ended well");
        };
        let patience = self.clock.sleep(PATIENCE);
        let ended = match select(pin!(work), pin!(select(pin!(beside), patience))).await {
            Either::Left(_) => true,
            Either::Right(_) => false,
        };
        assert!(ended, "it did not come: {:?}", self.status());
    }

    fn status(&self) -> SourceStatus {
        let sources = self.host.sources();
        sources.into_iter().find(|(id, _)| id == "pprof").expect("reported").1
    }

    fn table(&self) -> Arc<ConnectionTable> {
        self.host.shared()
    }
}

fn scraped(times: usize) -> impl Fn(&Agent) -> bool {
    move |agent| agent.recorder.payloads().len() >= times
}

fn has_state(state: &'static str) -> impl Fn(&Agent) -> bool {
    move |agent| agent.status().state == state
}

/// One target at `address`, scraped often; `more` are options of the receiver.
fn target(address: SocketAddr, more: &str) -> String {
    format!(
        "targets: [{{endpoint: 'http://{address}', service_name: checkout}}]\n\
         collection_interval: 20ms\ninitial_delay: 0s\n{more}"
    )
}

/// Points of a metric as (attributes by key, value).
fn points(payload: &Payload, name: &str) -> Vec<(Vec<(String, String)>, f64)> {
    let mut all = Vec::new();
    for resource in view::resources(payload) {
        for metric in resource.scopes().flat_map(|s| s.metrics()).filter(|m| m.name() == name) {
            for point in metric.number_points() {
                let text = |v: view::AnyValue<'_>| {
                    v.as_str().map(str::to_owned).or(v.as_i64().map(|i| i.to_string())).unwrap_or_default()
                };
                let attributes = point.attributes().into_iter().map(|(k, v)| (k.to_owned(), text(v)));
                all.push((attributes.collect(), point.value()));
            }
        }
    }
    all
}

/// The value of the point that has this attribute.
fn value(payload: &Payload, name: &str, key: &str, wanted: &str) -> Option<f64> {
    let has = |attributes: &[(String, String)]| attributes.iter().any(|(k, v)| k == key && v == wanted);
    points(payload, name).into_iter().find(|(attributes, _)| has(attributes)).map(|(_, value)| value)
}

/// The status that a target with this answer to everything leads to.
async fn status_for(page: impl Fn(&str) -> Page, state: &'static str, more: &str) -> SourceStatus {
    let (agent, server) = (Agent::new(), Server::bind().await);
    agent.run(&target(server.address, more), server.serve(page), has_state(state)).await;
    agent.status()
}

#[tokio::test]
async fn a_service_is_published_with_its_series_its_sites_and_its_name() {
    let (agent, server) = (Agent::new(), Server::bind().await);
    agent.run(&target(server.address, ""), server.serve(checkout), scraped(1)).await;
    let payload = &agent.recorder.payloads()[0];
    let open = |resource| value(payload, names::OPEN, names::ATTR_RESOURCE, resource);
    assert_eq!(
        (open("grpc_client"), open("grpc_stream"), open("goroutine")),
        (Some(55.0), Some(7.0), Some(456.0))
    );
    assert_eq!(open("sql_wait"), None);
    assert_eq!(value(payload, names::GOROUTINES, names::ATTR_GOROUTINE_KIND, "grpc_serializer"), Some(165.0));
    let by_site = points(payload, names::BY_SITE);
    let exact: Vec<_> = by_site
        .iter()
        .filter(|(a, _)| a.contains(&(names::ATTR_SITE_SOURCE.to_owned(), "custom_profile".to_owned())))
        .collect();
    assert_eq!(exact.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [40.0, 10.0]);
    assert!(exact[0].0.contains(&(names::ATTR_FUNCTION.to_owned(), "main.dialOrders".to_owned())));
    for (attributes, _) in points(payload, names::OPEN) {
        assert!(
            attributes.contains(&(names::ATTR_SOURCE.to_owned(), "profile".to_owned())),
            "{attributes:?}"
        );
    }
    let resource = view::resources(payload).next().expect("one");
    let info = ProcessInfo::read(resource.attributes());
    assert_eq!((info.service.as_str(), info.key.pid), ("checkout", 0));
}

#[tokio::test]
async fn all_scrapes_use_one_connection_and_the_source_is_ok() {
    let (agent, server) = (Agent::new(), Server::bind().await);
    let scraped_and_reported = |agent: &Agent| scraped(3)(agent) && has_state("ok")(agent);
    agent.run(&target(server.address, ""), server.serve(checkout), scraped_and_reported).await;
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    // Four for each: allocs would repeat what heap has said.
    assert!(server.requests.load(Ordering::Relaxed) >= 12);
    let SourceStatus { kind, state, last, message } = agent.status();
    assert_eq!((kind, state, message.as_str()), ("profile", "ok", ""));
    assert!(last > 0);
}

#[tokio::test]
async fn the_process_that_listens_is_the_one_that_is_published() {
    let (mut agent, server) = (Agent::new(), Server::bind().await);
    agent.owner = identity::kernel();
    agent.run(&target(server.address, ""), server.serve(checkout), scraped(1)).await;
    let payload = &agent.recorder.payloads()[0];
    let info = ProcessInfo::read(view::resources(payload).next().expect("one").attributes());
    assert_eq!(info.key.pid, i64::from(std::process::id()));
    assert!(info.key.start_ticks > 0 && !info.key.host.is_empty());
    assert_eq!((info.service.as_str(), info.instance.as_str()), ("checkout", ""));
}

#[tokio::test]
async fn a_restarted_service_is_another_process_with_a_baseline_of_its_own() {
    let (mut agent, server) = (Agent::new(), Server::bind().await);
    let starts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&starts);
    agent.owner = Arc::new(move |_| {
        let start_ticks = 100 + count.fetch_add(1, Ordering::Relaxed) as i64;
        let key = ProcessKey { host: "h".to_owned(), pid: 7, start_ticks, instance: String::new() };
        Some(ProcessInfo { key, ..ProcessInfo::default() })
    });
    let scrapes = AtomicUsize::new(0);
    let page = |head: &str| match (path(head), scrapes.load(Ordering::Relaxed)) {
        ("/debug/pprof/goroutine", 0) => {
            scrapes.store(1, Ordering::Relaxed);
            profile("grpc-1.goroutine")
        }
        ("/debug/pprof/goroutine", 3) => {
            scrapes.store(4, Ordering::Relaxed);
            // As when a service ends: the connection is closed.
            Page::Cut(Vec::new())
        }
        ("/debug/pprof/goroutine", n) => {
            scrapes.store(n + 1, Ordering::Relaxed);
            profile("grpc-2.goroutine")
        }
        _ => status(404, "", "Unknown profile\n"),
    };
    let key = |start_ticks| ProcessKey { host: "h".to_owned(), pid: 7, start_ticks, instance: String::new() };
    let before = Mutex::new(Vec::new());
    let until = |agent: &Agent| {
        let stacks = agent.table().stacks(&key(100));
        if !stacks.is_empty() {
            *before.lock().expect("free") = stacks;
        }
        agent.recorder.payloads().len() >= 4 && starts.load(Ordering::Relaxed) == 2
    };
    agent.run(&target(server.address, ""), server.serve(page), until).await;
    assert!(!before.lock().expect("free").is_empty(), "the first process had stacks that grew");
    assert_eq!(agent.table().stacks(&key(100)), [], "they went with it");
    assert_eq!(agent.table().stacks(&key(101)), [], "the second has its own baseline");
    let ticks = |payload: &Payload| {
        ProcessInfo::read(view::resources(payload).next().expect("one").attributes()).key.start_ticks
    };
    let published: Vec<_> = agent.recorder.payloads().iter().map(ticks).collect();
    assert_eq!(published[..4], [100, 100, 100, 101]);
}

#[tokio::test]
async fn a_page_of_html_is_no_profile() {
    let page = |_: &str| status(200, "content-type: text/html\r\n", "<html><title>Welcome</title></html>");
    let status = status_for(page, "failed", "").await;
    assert!(status.message.starts_with("checkout (http://127.0.0.1:"), "{}", status.message);
    let what = "/debug/pprof/goroutine: this is not a pprof profile: it starts with `<html><title>Welcome</title></ht`; \
                is the target's path right?";
    assert!(status.message.ends_with(what), "{}", status.message);
    assert_eq!(status.last, 0);
}

#[tokio::test]
async fn a_service_without_pprof_is_told_so() {
    let status = status_for(|_| status(404, "", "404 page not found\n"), "failed", "").await;
    assert!(
        status
            .message
            .contains("/debug/pprof/goroutine: no such profile (404): let the service import net/http/pprof"),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn a_service_that_asks_for_credentials_is_told_from_one_that_is_missing() {
    let status = status_for(|_| status(401, "", "no"), "failed", "").await;
    assert!(status.message.contains("asks for credentials (401)"), "{}", status.message);
}

#[tokio::test]
async fn a_target_that_hangs_is_given_up_after_the_timeout() {
    let status = status_for(|_| Page::Silence, "failed", "timeout: 50ms").await;
    assert!(status.message.contains("no answer within 50ms"), "{}", status.message);
}

#[tokio::test]
async fn an_endless_answer_is_cut_at_the_limit() {
    let status = status_for(|_| Page::Endless, "failed", "max_body_size: 1000000").await;
    assert!(status.message.contains("the answer has more than 1000000 bytes"), "{}", status.message);
}

#[tokio::test]
async fn an_announced_gigabyte_is_not_read() {
    let status = status_for(|_| Page::Announced(1 << 30), "failed", "timeout: 1h").await;
    assert!(status.message.contains("the answer has more than 67108864 bytes"), "{}", status.message);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_profile() {
    let status = status_for(|_| Page::Cut(recorded("grpc-2.goroutine")), "failed", "").await;
    assert!(
        status.message.contains("the connection broke before the answer was whole"),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn a_redirect_to_another_server_is_refused_and_its_secrets_are_not_shown() {
    let other = Server::bind().await;
    let to = format!("location: http://me:secret@{}/x?token=secret\r\n", other.address);
    let status = status_for(|_| status(302, &to, ""), "failed", "").await;
    assert!(
        status.message.contains(&format!("redirects to http://{}, another server", other.address)),
        "{}",
        status.message
    );
    assert!(!status.message.contains("secret"), "{}", status.message);
    assert_eq!(other.connections.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn redirects_on_the_same_server_are_followed_but_not_for_ever() {
    let (agent, server) = (Agent::new(), Server::bind().await);
    let page = |head: &str| match path(head).strip_prefix("/debug/pprof/") {
        Some(name) => status(307, &format!("location: /moved/{name}\r\n"), "moved"),
        None => checkout(&head.replace("/moved/", "/debug/pprof/")),
    };
    agent.run(&target(server.address, ""), server.serve(page), has_state("ok")).await;
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    let page = |head: &str| status(302, &format!("location: {}x\r\n", path(head)), "");
    let status = status_for(page, "failed", "").await;
    assert!(status.message.contains("redirects to nowhere or in circles"), "{}", status.message);
}

#[tokio::test]
async fn a_refused_connection_is_told_with_the_cure() {
    let server = Server::bind().await;
    let address = server.address;
    drop(server);
    let agent = Agent::new();
    agent.run(&target(address, ""), std::future::pending(), has_state("failed")).await;
    let message = agent.status().message;
    assert!(message.contains("connection refused, nothing listens there: start the service"), "{message}");
}

#[tokio::test]
async fn one_of_a_configuration_that_is_refused_leaves_what_is_known_of_the_one_of_its_id_that_runs() {
    let agent = Agent::new();
    let asked: Arc<Asked> = agent.host.shared();
    asked.put("pprof", vec!["checkout:6060".to_owned()]);
    let (stopper, cx) = agent.context();
    let mut receiver = Box::new(agent.build("targets: [{endpoint: 'http://other:6060'}]"));
    receiver.start(&cx).await.expect("started");
    drop(stopper);
    receiver.run(cx).await.expect("ended");
    assert_eq!(asked.all(), [("checkout:6060".to_owned(), "pprof".to_owned())]);
    assert_eq!(agent.host.sources(), []);
}

#[tokio::test]
async fn metadata_addresses_are_never_asked() {
    let agent = Agent::new();
    let body = target("169.254.169.254:80".parse().expect("address"), "");
    agent.run(&body, std::future::pending(), has_state("failed")).await;
    assert!(agent.status().message.contains("a link-local address"), "{:?}", agent.status());
}

#[tokio::test]
async fn a_missing_heap_profile_leaves_the_counts() {
    let (agent, server) = (Agent::new(), Server::bind().await);
    let page = |head: &str| match path(head) {
        "/debug/pprof/goroutine" => profile("grpc160.goroutine"),
        "/debug/pprof/heap" | "/debug/pprof/allocs" => status(404, "", "Unknown profile\n"),
        "/debug/pprof/grpc.clientconn" => status(404, "", "Unknown profile\n"),
        _ => profile("mutex-1.mutex"),
    };
    agent.run(&target(server.address, ""), server.serve(page), has_state("degraded")).await;
    let message = agent.status().message;
    assert!(message.contains("/debug/pprof/heap: no such profile (404)"), "{message}");
    assert!(message.contains("/debug/pprof/allocs") && !message.contains("grpc.clientconn"), "{message}");
    let payload = &agent.recorder.payloads()[0];
    assert_eq!(value(payload, names::OPEN, names::ATTR_RESOURCE, "grpc_client"), Some(20.0));
}

#[tokio::test]
async fn a_target_that_hangs_does_not_delay_the_others() {
    let (agent, good, bad) = (Agent::new(), Server::bind().await, Server::bind().await);
    let body = format!(
        "targets: [{{endpoint: 'http://{}', service_name: bad}}, {{endpoint: 'http://{}', service_name: good}}]\n\
         collection_interval: 20ms\ninitial_delay: 0s\ntimeout: 1h",
        bad.address, good.address
    );
    let serving = async {
        join(good.serve(checkout), bad.serve(|_| Page::Silence)).await;
    };
    agent.run(&body, serving, scraped(5)).await;
    assert_eq!(bad.requests.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn several_targets_share_one_message() {
    let (agent, good, bad) = (Agent::new(), Server::bind().await, Server::bind().await);
    let body = format!(
        "targets: [{{endpoint: 'http://{}'}}, {{endpoint: 'http://{}', service_name: good}}]\n\
         collection_interval: 20ms\ninitial_delay: 0s",
        bad.address, good.address
    );
    let serving = async {
        join(good.serve(checkout), bad.serve(|_| status(500, "", "oops"))).await;
    };
    let until = |agent: &Agent| has_state("degraded")(agent) && scraped(1)(agent);
    agent.run(&body, serving, until).await;
    let start =
        format!("1 of 2 targets: http://{}: /debug/pprof/goroutine: answers with status 500", bad.address);
    assert!(agent.status().message.starts_with(&start), "{}", agent.status().message);
}

#[tokio::test]
async fn credentials_and_headers_are_sent_and_a_compressed_answer_is_read() {
    let (agent, server) = (Agent::new(), Server::bind().await);
    let page = |head: &str| {
        let head = head.to_lowercase();
        if !head.contains("authorization: basic bwu6c2vjcmv0\r\n") || !head.contains("x-scope: shop\r\n") {
            return status(401, "", "");
        }
        let mut packed = Vec::new();
        let encoding = weir_otlp::encoding::Encoding::Gzip;
        encoding.compress(&recorded("grpc-2.goroutine"), None, &mut packed).expect("packed");
        Page::Full(200, "content-encoding: gzip\r\n".to_owned(), packed)
    };
    let body = format!(
        "targets: [{{endpoint: 'http://me:secret@{}', profiles: [goroutine], headers: {{x-scope: shop}}}}]\n\
         initial_delay: 0s",
        server.address
    );
    agent.run(&body, server.serve(page), scraped(1)).await;
    let open = value(&agent.recorder.payloads()[0], names::OPEN, names::ATTR_RESOURCE, "grpc_client");
    assert_eq!(open, Some(55.0));
}

/// Signs with a header that counts.
#[derive(Default)]
struct Counting(AtomicUsize);

#[async_trait]
impl ClientAuth for Counting {
    async fn sign(&self, headers: &mut HeaderMap, _: &weir_component::Context) -> Result<(), Failure> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        headers.insert("x-signed", number.into());
        Ok(())
    }
}

#[tokio::test]
async fn every_request_is_signed_by_the_extension_that_auth_names() {
    let server = Server::bind().await;
    let page = |head: &str| {
        let signed = head.to_lowercase().contains("x-signed: ");
        if signed { profile("grpc-2.goroutine") } else { status(401, "", "") }
    };
    let auth = "auth: {authenticator: bearertokenauth}";
    for body in [
        format!("targets: [{{endpoint: 'http://{}', profiles: [goroutine], {auth}}}]", server.address),
        format!("remote: {{endpoint: 'http://{}/debug/pprof/goroutine', {auth}}}", server.address),
    ] {
        let (agent, signer) = (Agent::new(), Arc::new(Counting::default()));
        let offers = Capabilities::default().with_client_auth(signer.clone());
        agent.host.offer("bearertokenauth", offers);
        let body = format!("{body}\ninitial_delay: 0s\ncollection_interval: 20ms");
        agent.run(&body, server.serve(page), scraped(2)).await;
        assert!(signer.0.load(Ordering::Relaxed) >= 2, "each scrape is signed");
    }
}

#[tokio::test]
async fn an_authenticator_that_does_not_run_ends_the_start() {
    let agent = Agent::new();
    let mut receiver = agent.build("targets: [{endpoint: 'http://h:1', auth: {authenticator: oauth2}}]");
    let (_stopper, stop) = Stop::new();
    let (clock, host, outputs) = (agent.clock.clone(), agent.host.clone(), Outputs::new(Vec::new()));
    let cx = ReceiverContext { id: "pprof".to_owned(), outputs, stop, clock, host };
    let why = receiver.start(&cx).await.expect_err("refused");
    assert!(
        why.message().starts_with("failed to resolve authenticator \"oauth2\": authenticator not found"),
        "{why}"
    );
}

#[tokio::test]
async fn a_service_that_comes_back_is_ok_again() {
    let (agent, server) = (Agent::new(), Server::bind().await);
    let failing = AtomicUsize::new(3);
    let page = |head: &str| {
        let left = failing.load(Ordering::Relaxed);
        if left > 0 && path(head).ends_with("goroutine") {
            failing.store(left - 1, Ordering::Relaxed);
            return status(503, "", "starting");
        }
        checkout(head)
    };
    let until = |agent: &Agent| has_state("ok")(agent);
    agent.run(&target(server.address, ""), server.serve(page), until).await;
    assert!(agent.status().last > 0 && !agent.recorder.payloads().is_empty());
}

#[test]
fn the_example_of_the_readme_is_valid() {
    let readme = include_str!("../README.md");
    let start = readme.find("```yaml\n").expect("an example") + "```yaml\n".len();
    let example = &readme[start..start + readme[start..].find("```").expect("its end")];
    let node = weir_config::parse_body(example).expect("YAML");
    let body = node.as_map().and_then(|m| m.get("receivers")?.as_map()?.get("pprof")).expect("the receiver");
    let path = weir_config::Path::component("receivers", "pprof");
    let config: Config = weir_config::load(body, &path).expect("valid");
    assert_eq!(config.settings().expect("valid").len(), 2);
}

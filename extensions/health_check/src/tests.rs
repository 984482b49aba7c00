use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_component::{Stop, Stopper};
use weir_testkit::Simulation;

use super::*;

fn build(body: &str) -> Result<Box<dyn Extension>, String> {
    let simulation = Simulation::new(1);
    let node = weir_config::parse_body(body).expect("YAML");
    let host = weir_testkit::host(&simulation);
    let path = weir_config::Path::component("extensions", "health_check");
    let build = Build { id: "health_check", node: &node, path, host: &host, clock: simulation.clock() };
    (FACTORY.create)(&build).map_err(|e| e.to_string())
}

struct Running {
    port: u16,
    host: Host,
    _stopper: Stopper,
    _task: tokio::task::JoinSet<Result<(), Failure>>,
}

async fn run(options: &str) -> Running {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = free.local_addr().expect("address").port();
    drop(free);
    let mut extension = build(&format!("{{endpoint: '127.0.0.1:{port}'{options}}}")).expect("built");
    let simulation = Simulation::new(1);
    let host = weir_testkit::host(&simulation);
    let (stopper, stop) = Stop::new();
    let cx = ExtensionContext {
        id: "health_check".to_owned(),
        stop,
        clock: simulation.clock(),
        host: host.clone(),
    };
    extension.start(&cx).await.expect("started");
    let mut task = tokio::task::JoinSet::new();
    task.spawn(extension.run(cx));
    Running { port, host, _stopper: stopper, _task: task }
}

impl Running {
    async fn ask(&self, method: &str, path: &str, host: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("connected");
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer
    }

    async fn get(&self, path: &str) -> String {
        self.ask("GET", path, "localhost").await
    }
}

#[tokio::test]
async fn the_answer_is_503_until_the_agent_is_ready_and_after_it_stops() {
    let running = run("").await;
    for (health, code) in [(Health::NotReady, 503), (Health::Ready, 200), (Health::NotReady, 503)] {
        running.host.set_health(health);
        let answer = running.get("/").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(head.contains("content-type: application/json"), "{head}");
        let json: serde_json::Value = serde_json::from_str(body).expect("JSON");
        if code == 200 {
            assert_eq!(json["status"], "Server available");
            assert_eq!(json["upSince"], rfc3339::format(running.host.started()));
            assert!(json["uptime"].as_str().is_some_and(|text| text.ends_with('s')), "{json}");
        } else {
            assert_eq!(
                json,
                serde_json::json!({"status": "Server not available", "upSince": "0001-01-01T00:00:00Z", "uptime": ""})
            );
        }
    }
}

#[tokio::test]
async fn path_and_bodies_follow_the_options() {
    let running = run(", path: /healthz, response_body: {healthy: good, unhealthy: bad}").await;
    assert!(running.get("/healthz").await.ends_with("\r\n\r\nbad"));
    running.host.set_health(Health::Ready);
    assert!(running.get("/healthz").await.ends_with("\r\n\r\ngood"));
    assert!(running.get("/").await.starts_with("HTTP/1.1 404 "));
    assert!(running.get("/healthz/x").await.starts_with("HTTP/1.1 404 "));
    assert!(running.ask("HEAD", "/healthz", "localhost").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_path_that_ends_with_a_slash_stands_for_all_below_it_and_is_found_without_one() {
    let running = run(", path: /health/").await;
    running.host.set_health(Health::Ready);
    for path in ["/health/", "/health/x"] {
        assert!(running.get(path).await.starts_with("HTTP/1.1 200 "), "{path}");
    }
    for (path, to) in [("/health", "/health/"), ("/health?full=1", "/health/?full=1")] {
        let answer = running.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
        assert!(answer.contains(&format!("location: {to}\r\n")), "{answer}");
    }
    for path in ["/", "/healt", "/healthx"] {
        assert!(running.get(path).await.starts_with("HTTP/1.1 404 "), "{path}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_get_no_answer_through_a_loopback_address() {
    let running = run("").await;
    assert!(running.ask("GET", "/", "evil.example").await.starts_with("HTTP/1.1 403 "));
    assert!(
        running.ask("GET", "/", &format!("127.0.0.1:{}", running.port)).await.starts_with("HTTP/1.1 503 ")
    );
}

#[tokio::test]
async fn web_pages_of_allowed_origins_may_read_the_answer() {
    let options =
        ", cors: {allowed_origins: ['https://*.example'], max_age: 7}, response_headers: {x-agent: weir}";
    let running = run(options).await;
    let origin = "localhost\r\norigin: https://status.example";
    let answer = running.ask("GET", "/", origin).await;
    assert!(answer.contains("access-control-allow-origin: https://status.example\r\n"), "{answer}");
    assert!(answer.contains("x-agent: weir\r\n"), "{answer}");
    let preflight = format!("{origin}\r\naccess-control-request-method: GET");
    let answer = running.ask("OPTIONS", "/", &preflight).await;
    assert!(answer.starts_with("HTTP/1.1 204 ") && answer.contains("access-control-max-age: 7"), "{answer}");
    let answer = running.ask("GET", "/", "localhost\r\norigin: https://evil.test").await;
    assert!(!answer.contains("access-control"), "{answer}");
}

#[tokio::test]
async fn a_connection_is_for_one_request_unless_keep_alives_are_enabled() {
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (options, again) in [("", false), (", keep_alives_enabled: true", true)] {
        let running = run(options).await;
        let mut stream = TcpStream::connect(("127.0.0.1", running.port)).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        while !answer.contains("\"uptime\":") {
            let mut part = [0; 1024];
            let length = stream.read(&mut part).await.expect("read");
            answer += &String::from_utf8_lossy(&part[..length]);
        }
        assert_eq!(!answer.contains("connection: close"), again, "{answer}");
    }
}

#[test]
fn options_of_the_second_version_are_read_and_refused() {
    for (options, words) in [
        ("http: {endpoint: 'localhost:1'}", "v2 healthcheck configuration (http/grpc fields) detected"),
        ("grpc: {}", "v2 healthcheck configuration"),
        ("component_health: {recovery_duration: 1s}", "v2 healthcheck configuration"),
        ("use_v2: true", "must specify at least one protocol"),
        ("http: {statsu: {}}", "statsu"),
    ] {
        let why = build(options).err().expect("refused");
        assert!(why.contains(words), "{options}: {why}");
    }
    assert!(build("use_v2: false").is_ok());
}

#[test]
fn mistakes_are_named_when_the_extension_is_built() {
    assert!(build("endpoint: ''").err().expect("refused").contains("http endpoint required"));
    assert!(build("path: healthz").err().expect("refused").contains("path must start with /"));
    assert!(build("endpont: x").err().expect("refused").contains("endpont"));
    assert!(
        build("{check_collector_pipeline: {enabled: true, interval: 5m, exporter_failure_threshold: 5}}")
            .is_ok()
    );
    assert!(build("").is_ok());
}

#[test]
fn the_example_in_the_readme_builds() {
    let readme = include_str!("../README.md");
    let yaml = readme.split("```yaml").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let node = weir_config::parse_body(yaml).expect("YAML");
    let body = node.get(&["extensions", "health_check"]).expect("the extension");
    let simulation = Simulation::new(1);
    let host = weir_testkit::host(&simulation);
    let path = weir_config::Path::component("extensions", "health_check");
    let build = Build { id: "health_check", node: body, path, host: &host, clock: simulation.clock() };
    assert!((FACTORY.create)(&build).is_ok());
}

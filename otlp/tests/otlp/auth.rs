//! Authenticators: callers are checked by the head of their request, requests are signed right before they are sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use http::{HeaderMap, HeaderValue};
use opentelemetry::metrics::MeterProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_component::{
    AuthData, Blocking, Budget, Capabilities, ClientAuth, Context, Failure, Host, ServerAuth, async_trait,
};
use weir_config::net::{AuthConfig, ServerAuthConfig};
use weir_otlp::auth::{Authenticator, client_auth};
use weir_otlp::client::{GrpcClient, GrpcSettings, HttpClient, HttpSettings, Target};
use weir_otlp::server::{Protocols, ServerSettings};
use weir_pdata::{Payload, Signal};

use crate::floods::LOGS;
use crate::support::{Server, framed, grpc, h2_client, http, logs_request, sample, start, within};

/// Lets those through who know the word, and tells it; who asks for it waits for ever; signs with the first value of `x-tenant`.
struct Word;

#[async_trait]
impl ServerAuth for Word {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<AuthData, Failure> {
        match headers.get("x-word") {
            Some(word) if word == "sesame" => Ok(vec![("tenant".into(), vec!["forty".into()])]),
            Some(word) if word.as_bytes().starts_with(b"?") => std::future::pending().await,
            _ => Err(Failure::permanent("wrong word")),
        }
    }
}

#[async_trait]
impl ClientAuth for Word {
    async fn sign(&self, headers: &mut HeaderMap, context: &Context) -> Result<(), Failure> {
        let tenant = context.metadata("x-tenant").first().ok_or(Failure::permanent("no tenant"))?;
        headers.insert("x-tenant", HeaderValue::try_from(tenant).expect("text"));
        headers.insert("x-word", HeaderValue::from_static("sesame"));
        Ok(())
    }
}

struct Inline;

impl Blocking for Inline {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> futures_util::future::BoxFuture<'static, ()> {
        work();
        Box::pin(std::future::ready(()))
    }
}

fn host() -> Host {
    let meter = opentelemetry::metrics::noop::NoopMeterProvider::new().meter("test");
    let host = Host::new("1.0.0", 0, meter, Arc::new(Inline));
    let word = Capabilities::default().with_server_auth(Arc::new(Word)).with_client_auth(Arc::new(Word));
    host.offer("word", word);
    host.offer("mute", Capabilities::default());
    host
}

fn named(id: &str) -> AuthConfig {
    AuthConfig { authenticator: id.parse().ok() }
}

async fn guarded(request_params: &[&str]) -> Server {
    guarded_on(Protocols::Both, request_params).await
}

pub(crate) async fn guarded_on(protocols: Protocols, request_params: &[&str]) -> Server {
    guarded_within(Budget::default(), protocols, request_params).await
}

async fn guarded_within(budget: Budget, protocols: Protocols, request_params: &[&str]) -> Server {
    let request_params = request_params.iter().map(ToString::to_string).collect();
    let auth = ServerAuthConfig { auth: named("word"), request_params };
    let auth = Authenticator::of_http(Some(&auth), &host()).expect("found");
    start(ServerSettings { protocols, auth, budget, include_metadata: true, ..ServerSettings::default() })
        .await
}

/// The answer to a request of which only the head is ever sent.
async fn answer_to_head(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4096];
    let length = within(stream.read(&mut answer)).await.expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn a_stranger_is_refused_before_anything_of_the_body_came_whatever_he_asks_for() {
    let server = guarded(&[]).await;
    for path in ["/v1/logs", "/nowhere"] {
        let answer = answer_to_head(server.address, path, "content-type: application/json\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.ends_with(r#"{"code":16,"message":"wrong word"}"#), "{answer}");
    }
    let (mut sender, _driver) = h2_client(server.address).await;
    let path = format!("http://x/{}/Export", Signal::Logs.service());
    let request = http::Request::post(path).header("content-type", "application/grpc").body(());
    let (response, _open) = sender.send_request(request.expect("request"), false).expect("sent");
    let headers = within(response).await.expect("an answer").into_parts().0.headers;
    assert_eq!(
        (&headers["grpc-status"], &headers["grpc-message"]),
        (&"16".parse().unwrap(), &"wrong word".parse().unwrap())
    );
    assert!(server.pipeline.payloads().is_empty());
}

#[tokio::test]
async fn a_head_that_waits_for_its_authenticator_is_held_and_counts() {
    let large = "t".repeat(10_000);
    for protocols in [Protocols::Grpc, Protocols::Both] {
        let budget = Budget::default();
        budget.set_limit(15_000);
        let others = budget.reserve(10_000).expect("room");
        let server = guarded_within(budget.clone(), protocols, &[]).await;
        let code = async |value: &str| {
            let headers = [("x-word", value)];
            within(grpc(server.address, LOGS, &headers, &framed(false, b""))).await.1["grpc-status"].clone()
        };
        assert_eq!((code(&large).await, code("wrong").await), ("14".parse().unwrap(), "16".parse().unwrap()));
        if protocols == Protocols::Both {
            let answer = answer_to_head(server.address, "/v1/logs", &format!("x-word: {large}\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        }
        drop(others);
        assert_eq!(budget.held(), 0);
    }
}

#[tokio::test]
async fn what_a_caller_may_send_of_his_body_while_he_waits_for_his_authenticator_counts() {
    for protocols in [Protocols::Both, Protocols::Http] {
        let budget = Budget::default();
        let server = guarded_within(budget.clone(), protocols, &[]).await;
        let (mut sender, mut driver) = h2_client(server.address).await;
        let mut ask = async |length: &str, holds: std::ops::Range<usize>| {
            let request = http::Request::post(server.url("/v1/logs")).header("x-word", "?");
            let request = request.header("content-length", length).body(()).expect("a request");
            let (answer, body) = sender.send_request(request, false).expect("sent");
            let held = async {
                while !holds.contains(&budget.held()) {
                    tokio::task::yield_now().await;
                }
            };
            within(held).await;
            (answer, body)
        };
        let _small = ask("100000", 100_000..110_000).await;
        let _large = ask("20000000", (1 << 20) + 100_000..(1 << 20) + 120_000).await;
        driver.shutdown().await;
        let gone = async {
            while budget.held() > 0 {
                tokio::task::yield_now().await;
            }
        };
        within(gone).await;
    }
}

#[tokio::test]
async fn strangers_take_a_part_of_the_budget_at_most_and_leave_the_rest_to_callers_who_are_known() {
    const WINDOW: usize = 1 << 20;
    let budget = Budget::default();
    budget.set_limit(64 * WINDOW);
    let server = guarded_within(budget.clone(), Protocols::Http, &[]).await;
    let (mut sender, _driver) = h2_client(server.address).await;
    let mut asked = Vec::new();
    for _ in 0..65 {
        let request = http::Request::post(server.url("/v1/logs")).header("x-word", "?").body(());
        asked.push(sender.send_request(request.expect("a request"), false).expect("sent"));
    }
    let all = async {
        while budget.held() / WINDOW + budget.refused() < asked.len() {
            tokio::task::yield_now().await;
        }
    };
    within(all).await;
    assert!((10..=16).contains(&(budget.held() / WINDOW)), "{}", budget.held());
    let (refused, _) = asked.pop().expect("the last");
    assert_eq!(within(refused).await.expect("an answer").status().as_u16(), 503);
    let known = http::Request::post(server.url("/v1/logs")).header("x-word", "sesame");
    let large = logs_request(1, |_| "x".repeat(15 * WINDOW));
    let known = known.header("content-type", "application/x-protobuf");
    assert!(within(http(known, Payload::from(large).to_bytes())).await.0.is_success());
}

#[tokio::test]
async fn what_strangers_send_ahead_to_a_port_of_grpc_takes_a_part_of_the_budget_at_most() {
    const SENT: usize = 60_000;
    let refused = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&refused);
    let budget = Budget::default().telling(move |why| told.lock().expect("lock").push(why.to_string()));
    // A part has room for 16 and their heads.
    budget.set_limit(4 * 16 * (SENT + 1_000));
    let server = guarded_within(budget.clone(), Protocols::Grpc, &[]).await;
    let message = &framed(false, &vec![0; 1_000_000])[..SENT];
    let mut asked = Vec::new();
    for _ in 0..40 {
        let (mut sender, driver) = h2_client(server.address).await;
        let request = http::Request::post(server.url(LOGS)).header("x-word", "?");
        let request = request.header("content-type", "application/grpc").body(()).expect("a request");
        let (answer, mut body) = sender.send_request(request, false).expect("sent");
        body.send_data(message.to_vec().into(), false).expect("sent");
        asked.push((answer, body, sender, driver));
    }
    let mut sent_away = 0;
    let all = async {
        while budget.held() / SENT + sent_away < 40 {
            let mut waiting = Vec::new();
            for (mut answer, body, sender, driver) in asked.drain(..) {
                match futures_util::poll!(&mut answer) {
                    Poll::Ready(answer) => {
                        assert_eq!(answer.expect("an answer").headers()["grpc-status"], "14");
                        sent_away += 1;
                    }
                    Poll::Pending => waiting.push((answer, body, sender, driver)),
                }
            }
            asked = waiting;
            tokio::task::yield_now().await;
        }
    };
    within(all).await;
    assert!((10..=16).contains(&(budget.held() / SENT)), "{}", budget.held());
    let refused = std::mem::take(&mut *refused.lock().expect("lock"));
    assert!(refused.iter().all(|why| why.contains("too many callers wait")), "{refused:?}");
    // Who is known finds the other parts.
    let large = framed(false, &Payload::from(logs_request(1, |_| "x".repeat(2 << 20))).to_bytes());
    let known = within(grpc(server.address, LOGS, &[("x-word", "sesame")], &large)).await;
    assert_eq!(known.1["grpc-status"], "0");
    server.pipeline.batches.lock().expect("lock").clear();
    drop(asked);
    let left = async {
        while budget.held() > 0 {
            tokio::task::yield_now().await;
        }
    };
    within(left).await;
}

#[tokio::test]
async fn one_stranger_alone_has_room_for_his_head_and_what_comes_with_it() {
    let budget = Budget::default();
    budget.set_limit(40_000);
    let server = guarded_within(budget.clone(), Protocols::Grpc, &[]).await;
    let (mut sender, _driver) = h2_client(server.address).await;
    let request = http::Request::post(server.url(LOGS)).header("x-word", "?".repeat(1_000));
    let request = request.header("content-type", "application/grpc").body(()).expect("a request");
    let (mut answer, mut body) = sender.send_request(request, false).expect("sent");
    body.send_data(framed(false, &[0; 20_000])[..9_500].to_vec().into(), false).expect("sent");
    let kept = async {
        while budget.held() < 10_500 {
            tokio::task::yield_now().await;
        }
    };
    within(kept).await;
    assert!(futures_util::poll!(&mut answer).is_pending() && budget.refused() == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_his_authenticator_is_sent_away_when_the_server_stops() {
    let word = "?".repeat(10_000);
    for protocols in [Protocols::Grpc, Protocols::Both] {
        let budget = Budget::default();
        let server = guarded_within(budget.clone(), protocols, &[]).await;
        let asked = async {
            let headers = [("x-word", word.as_str())];
            match protocols {
                Protocols::Grpc => {
                    let answer = grpc(server.address, LOGS, &headers, &framed(false, b"")).await;
                    assert_eq!(answer.1["grpc-status"], "14");
                }
                _ => {
                    let answer =
                        answer_to_head(server.address, "/v1/logs", &format!("x-word: {word}\r\n")).await;
                    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                }
            }
        };
        let stopped = async {
            while budget.held() < word.len() {
                tokio::task::yield_now().await;
            }
            drop(server.stopper);
        };
        within(async { tokio::join!(asked, stopped) }).await;
        within(server.task).await.expect("ended");
    }
}

#[tokio::test]
async fn what_the_authenticator_found_out_travels_with_the_batch() {
    let server = guarded(&[]).await;
    let context = Context { metadata: vec![("x-tenant".into(), vec!["forty".into()])], ..Context::default() };
    let auth = client_auth(Some(&named("word")), &host()).expect("found");
    let target = Target::parse(&server.address.to_string()).expect("target");
    let grpc = GrpcSettings { auth: auth.clone(), ..GrpcSettings::new(target) };
    let grpc = GrpcClient::new(grpc).expect("client");
    let http = HttpSettings { auth, ..HttpSettings::new(&server.url("/v1/logs")) };
    let http = HttpClient::new(http).expect("client");
    within(grpc.export_for(&sample(Signal::Logs, 1), &context)).await.expect("accepted");
    within(http.export_for(&sample(Signal::Logs, 1), &context)).await.expect("accepted");
    for (_, context) in server.pipeline.batches.lock().expect("lock").iter() {
        assert_eq!(context.auth("tenant"), ["forty"]);
        assert_eq!(context.metadata("x-tenant"), ["forty"]);
    }
    // A context that cannot be signed for ends the attempt with the authenticator's word.
    let unsigned = [grpc.export(&sample(Signal::Logs, 1)).await, http.export(&sample(Signal::Logs, 1)).await];
    for failure in unsigned {
        assert_eq!(failure.expect_err("refused").message(), "no tenant");
    }
}

#[tokio::test]
async fn parameters_of_the_query_count_as_headers_when_they_are_listed() {
    let listed = guarded(&["x-word"]).await;
    let answer = answer_to_head(listed.address, "/nowhere?a=b&x-word=ses%61me", "").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let unlisted = guarded(&[]).await;
    let answer = answer_to_head(unlisted.address, "/nowhere?x-word=sesame", "").await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[test]
fn an_authenticator_that_is_not_there_or_cannot_do_it_is_named() {
    let server = |id| Authenticator::of_grpc(Some(&named(id)), &host()).err().expect("refused");
    let client = |id| client_auth(Some(&named(id)), &host()).err().expect("refused");
    let missing = "failed to resolve authenticator \"absent\": authenticator not found";
    assert!(server("absent").message().starts_with(missing));
    assert!(client("absent").message().starts_with(missing));
    assert!(server("mute").message().ends_with("requested authenticator is not a server authenticator"));
    assert!(client("mute").message().ends_with("requested authenticator is not a client authenticator"));
    assert!(Authenticator::of_grpc(None, &host()).expect("none").is_none());
}

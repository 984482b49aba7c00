//! Proxies and cookies: what a client does on the way to its server.

use std::sync::{Arc, Mutex};

use http::{HeaderValue, Response, header};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use weir_component::Stop;
use weir_otlp::client::{Compression, HttpClient, HttpSettings};
use weir_otlp::http_server::{self, ServerLimits};
use weir_otlp::server::ServerSettings;
use weir_otlp::{Body, Listener};
use weir_pdata::Signal;

use crate::support::{sample, start, within};
use crate::tls::{identity, secured};

/// A proxy that connects to one server, whatever is asked for, and remembers the heads of requests.
struct Proxy {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Proxy {
    async fn to(server: std::net::SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://me:word@{}", listener.local_addr().expect("address"));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (mut task, seen) = (JoinSet::new(), Arc::clone(&heads));
        task.spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("accepted");
                pass(client, server, &seen).await;
            }
        });
        Proxy { url, heads, _task: task }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("lock").clone()
    }
}

async fn pass(
    client: impl AsyncRead + AsyncWrite + Unpin,
    server: std::net::SocketAddr,
    heads: &Mutex<Vec<String>>,
) {
    let (mut client, mut head) = (BufReader::new(client), String::new());
    while !head.ends_with("\r\n\r\n") {
        client.read_line(&mut head).await.expect("a line");
    }
    heads.lock().expect("lock").push(head.clone());
    let mut server = TcpStream::connect(server).await.expect("connected");
    if head.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.expect("answered");
    } else {
        // A request to the server begins with a path instead of a URL.
        let (line, rest) = head.split_once("\r\n").expect("lines");
        let path = line.split('/').skip(3).collect::<Vec<_>>().join("/");
        server.write_all(format!("POST /{path}\r\n{rest}").as_bytes()).await.expect("sent");
    }
    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
}

fn settings(url: &str, proxy: &Proxy) -> HttpSettings {
    HttpSettings { proxy_url: proxy.url.clone(), max_idle: 0, ..HttpSettings::new(url) }
}

#[tokio::test]
async fn requests_in_clear_text_are_handed_to_the_proxy_whole() {
    let server = start(ServerSettings::default()).await;
    let proxy = Proxy::to(server.address).await;
    // A name that only the proxy could know.
    let client = HttpClient::new(settings("http://backend.invalid:4318/v1/logs", &proxy)).expect("client");
    within(client.export(&sample(Signal::Logs, 2))).await.expect("accepted");
    assert_eq!(server.pipeline.payloads().len(), 1);
    let head = proxy.heads().concat();
    assert!(head.starts_with("POST http://backend.invalid:4318/v1/logs HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic bWU6d29yZA==\r\n"), "{head}");
}

#[tokio::test]
async fn encrypted_requests_go_through_a_tunnel_and_the_server_does_not_see_the_proxys_password() {
    let (server, tls) = secured("backend.invalid").await;
    let proxy = Proxy::to(server.address).await;
    let settings = HttpSettings { tls: Some(tls), ..settings("https://backend.invalid/v1/logs", &proxy) };
    let client = HttpClient::new(settings).expect("client");
    within(client.export(&sample(Signal::Logs, 2))).await.expect("accepted");
    let head = proxy.heads().concat();
    assert!(head.starts_with("CONNECT backend.invalid:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic bWU6d29yZA==\r\n"), "{head}");
    let (_, context) = server.pipeline.batches.lock().expect("lock").pop().expect("arrived");
    assert_eq!(context.metadata("proxy-authorization"), [""; 0]);
    assert_eq!(context.metadata("content-type"), ["application/x-protobuf"]);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let mut task = JoinSet::new();
    task.spawn(async move {
        let (mut client, _) = listener.accept().await.expect("accepted");
        let mut head = [0; 1024];
        let _read = client.read(&mut head).await.expect("read");
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.expect("answered");
    });
    let (_server, tls) = secured("backend.invalid").await;
    let proxy_url = format!("http://me:hunter2@{address}");
    let settings =
        HttpSettings { tls: Some(tls), proxy_url, ..HttpSettings::new("https://backend.invalid/v1/logs") };
    let failure = within(HttpClient::new(settings).expect("client").export(&sample(Signal::Logs, 1))).await;
    let failure = failure.expect_err("refused");
    assert!(failure.is_retryable() && failure.message().contains(&address.to_string()), "{failure}");
    assert!(failure.message().contains("407") && !failure.message().contains("hunter2"), "{failure}");
}

/// A proxy that speaks SOCKS5 (RFC 1928, 1929) with a name and a password, and connects to one server.
async fn socks_to(server: std::net::SocketAddr, asked: Arc<Mutex<Vec<String>>>) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("socks5://me:p%40ss@{}", listener.local_addr().expect("address"));
    let mut task = JoinSet::new();
    task.spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.expect("accepted");
            assert_eq!(client.read_u8().await.expect("version"), 5);
            let methods = bytes_of(&mut client).await;
            assert!(methods.contains(&2), "{methods:?}");
            client.write_all(&[5, 2]).await.expect("chosen");
            assert_eq!(client.read_u8().await.expect("version"), 1);
            let (name, word) = (bytes_of(&mut client).await, bytes_of(&mut client).await);
            assert_eq!((&name[..], &word[..]), (&b"me"[..], &b"p@ss"[..]));
            client.write_all(&[1, 0]).await.expect("let in");
            let mut head = [0; 4];
            client.read_exact(&mut head).await.expect("a request");
            assert_eq!(head, [5, 1, 0, 3], "connect to a name");
            let name = String::from_utf8(bytes_of(&mut client).await).expect("text");
            let port = client.read_u16().await.expect("a port");
            asked.lock().expect("lock").push(format!("{name}:{port}"));
            client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.expect("granted");
            let mut server = TcpStream::connect(server).await.expect("connected");
            drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
        }
    });
    (url, task)
}

/// Bytes with their number in front.
async fn bytes_of(client: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(client.read_u8().await.expect("a length"))];
    client.read_exact(&mut bytes).await.expect("bytes");
    bytes
}

#[tokio::test]
async fn a_socks_proxy_connects_to_the_server_by_its_name() {
    let clear = start(ServerSettings::default()).await;
    let (secret, tls) = secured("backend.invalid").await;
    for (server, url, tls, name) in [
        (&clear, "http://backend.invalid:4318/v1/logs", None, "backend.invalid:4318"),
        (&secret, "https://backend.invalid/v1/logs", Some(tls), "backend.invalid:443"),
    ] {
        let asked = Arc::default();
        let (proxy_url, _task) = socks_to(server.address, Arc::clone(&asked)).await;
        let settings = HttpSettings { tls, proxy_url, max_idle: 0, ..HttpSettings::new(url) };
        let client = HttpClient::new(settings).expect("client");
        within(client.export(&sample(Signal::Logs, 2))).await.expect("accepted");
        assert_eq!(server.pipeline.payloads().len(), 1);
        assert_eq!(*asked.lock().expect("lock"), [name]);
    }
}

#[tokio::test]
async fn a_proxy_can_itself_be_reached_by_tls() {
    let server = start(ServerSettings::default()).await;
    let (acceptor, proxy_tls) = identity("localhost");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("address").port();
    let (mut task, heads) = (JoinSet::new(), Arc::new(Mutex::new(Vec::new())));
    let (seen, address) = (Arc::clone(&heads), server.address);
    task.spawn(async move {
        let (client, _) = listener.accept().await.expect("accepted");
        let client = acceptor.accept(client).await.expect("a handshake");
        pass(client, address, &seen).await;
    });
    let proxy_url = format!("https://me:word@localhost:{port}");
    let url = "http://backend.invalid:4318/v1/logs";
    let settings = HttpSettings { proxy_url, proxy_tls, ..HttpSettings::new(url) };
    within(HttpClient::new(settings).expect("client").export(&sample(Signal::Logs, 2)))
        .await
        .expect("accepted");
    assert_eq!(server.pipeline.payloads().len(), 1);
    let head = heads.lock().expect("lock").concat();
    assert!(head.starts_with("POST http://backend.invalid:4318/v1/logs HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic bWU6d29yZA==\r\n"), "{head}");
}

#[tokio::test]
async fn cookies_are_sent_back_when_that_is_asked_for() {
    let listener = Listener::tcp("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}/v1/logs", listener.local_addr().expect("address"));
    let seen: Arc<Mutex<Vec<Option<HeaderValue>>>> = Arc::default();
    let (_stopper, stop) = Stop::new();
    let (mut task, all) = (JoinSet::new(), Arc::clone(&seen));
    task.spawn(http_server::serve(listener, None, ServerLimits::default(), stop, move |request, _| {
        all.lock().expect("lock").push(request.headers().get(header::COOKIE).cloned());
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(header::SET_COOKIE, HeaderValue::from_static("route=7; Path=/"));
        std::future::ready(response)
    }));
    for cookies in [true, false] {
        let settings = HttpSettings { cookies, compression: Compression::NONE, ..HttpSettings::new(&url) };
        let client = HttpClient::new(settings).expect("client");
        for _ in 0..2 {
            within(client.export(&sample(Signal::Logs, 1))).await.expect("accepted");
        }
    }
    let route = Some(HeaderValue::from_static("route=7"));
    assert_eq!(*seen.lock().expect("lock"), [None, route, None, None]);
}

#[tokio::test]
async fn no_more_requests_than_allowed_are_under_way() {
    let server = start(ServerSettings::default()).await;
    server.pipeline.open.send_replace(false);
    let settings = HttpSettings { max_connections: Some(2), ..HttpSettings::new(&server.url("/v1/logs")) };
    let client = Arc::new(HttpClient::new(settings).expect("client"));
    let mut exports = JoinSet::new();
    for _ in 0..5 {
        let client = Arc::clone(&client);
        exports.spawn(async move { client.export(&sample(Signal::Logs, 1)).await.is_ok() });
    }
    within(server.pipeline.holds(2)).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.pipeline.payloads().len(), 2);
    server.pipeline.open.send_replace(true);
    assert!(within(exports.join_all()).await.into_iter().all(|accepted| accepted));
    assert_eq!(server.pipeline.payloads().len(), 5);
}

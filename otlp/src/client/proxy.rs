//! Connecting through a proxy: the one that is configured, else that of the environment.
//!
//! Sources: RFC 9110, 9.3.6 (CONNECT); RFC 1928 (SOCKS5), by hyper-util; the kinds of proxies that Go knows.

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod check;
mod environment;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::rt::TokioIo;
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tower_service::Service;

use super::connect::{Target, connect};
use crate::io::Io;
use crate::status::percent_decode;
use crate::tls::{ClientTls, TlsConnector};
use environment::Environment;

/// Longest head of a proxy's answer to CONNECT.
const MAX_ANSWER: usize = 16 << 10;

/// A proxy on the way to one server. It has no `Debug`, because it holds a password.
#[derive(Clone)]
pub(super) struct Proxy {
    kind: Kind,
    /// Where it listens.
    target: Target,
    credentials: Option<(String, String)>,
    /// How it is reached when it is reached by TLS.
    tls: Option<TlsConnector>,
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Https,
    Socks5,
}

impl Proxy {
    /// The proxy on the way to `uri`: `configured` unless that is empty, else that of the environment.
    ///
    /// # Errors
    /// What is wrong with its URL, which is not repeated, as it may hold a password.
    pub(super) fn find(configured: &str, uri: &Uri) -> Result<Option<Proxy>, String> {
        if !configured.is_empty() {
            return Proxy::parse(configured).map(Some).map_err(|why| format!("proxy_url {why}"));
        }
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let environment = Environment::of_the_process();
        let variable = if https { "HTTPS_PROXY" } else { "HTTP_PROXY" };
        let Some(found) = environment.proxy(https, uri.host().unwrap_or_default(), port)? else {
            return Ok(None);
        };
        Proxy::named(found).map(Some).map_err(|why| format!("{variable} in the environment {why}"))
    }

    /// The proxy through which gRPC reaches `server`: that of the environment for `https`. As in grpc-go it is spoken to
    /// in clear text, and its port is 443 where none is given.
    ///
    /// # Errors
    /// As [`Proxy::find`].
    pub(super) fn for_grpc(server: &Target) -> Result<Option<Proxy>, String> {
        let Target::Tcp(host, port) = server else { return Ok(None) };
        let environment = Environment::of_the_process();
        let Some(found) = environment.proxy(true, host, *port)? else { return Ok(None) };
        let mut proxy = Proxy::named(found).map_err(|why| format!("HTTPS_PROXY in the environment {why}"))?;
        if proxy.kind != Kind::Socks5 {
            proxy.kind = Kind::Http;
            if let (Target::Tcp(_, port), None) = (&mut proxy.target, port_of(found)) {
                *port = 443;
            }
        }
        Ok(Some(proxy))
    }

    /// From the environment, where the scheme may be left out.
    fn named(text: &str) -> Result<Proxy, String> {
        let text = text.trim();
        if text.contains("://") { Proxy::parse(text) } else { Proxy::parse(&format!("http://{text}")) }
    }

    fn parse(text: &str) -> Result<Proxy, String> {
        let no_url = "must be a URL of a proxy, such as http://proxy:3128 or socks5://proxy:1080";
        let uri: Uri = text.parse().map_err(|_| no_url.to_owned())?;
        let (kind, port) = match uri.scheme_str() {
            Some("http") => (Kind::Http, 80),
            Some("https") => (Kind::Https, 443),
            Some("socks5" | "socks5h") => (Kind::Socks5, 1080),
            Some(other) => {
                return Err(format!(
                    "begins with {other}://: proxies are reached by http, https, socks5 and socks5h"
                ));
            }
            None => return Err(no_url.to_owned()),
        };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(no_url.to_owned());
        }
        let user = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
        let credentials = user.map(|(user, _)| {
            let (name, word) = user.split_once(':').unwrap_or((user, ""));
            (percent_decode(name.as_bytes()), percent_decode(word.as_bytes()))
        });
        let target = Target::Tcp(host.to_owned(), uri.port_u16().unwrap_or(port));
        Ok(Proxy { kind, target, credentials, tls: None })
    }

    /// Sets up TLS to the proxy itself where that is how it is reached.
    ///
    /// # Errors
    /// What is wrong with a certificate or key.
    pub(super) fn secured(mut self, tls: &ClientTls) -> Result<Proxy, String> {
        if self.kind == Kind::Https {
            self.tls = Some(tls.connector(&["http/1.1"])?);
        }
        Ok(self)
    }

    /// Whether requests in clear text are handed to it whole, instead of going through a tunnel.
    pub(super) fn forwards(&self) -> bool {
        self.kind != Kind::Socks5
    }

    /// What it is to know of who sends, as HTTP has it.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let (name, word) = self.credentials.as_ref()?;
        let mut value: HeaderValue =
            format!("Basic {}", STANDARD.encode(format!("{name}:{word}"))).parse().ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Connects to the proxy itself.
    pub(super) async fn connect(&self) -> Result<Io, String> {
        if self.tls.is_none() && self.kind == Kind::Https {
            return Err(format!("proxy {}: TLS is not set up", self.target));
        }
        connect(&self.target, self.tls.as_ref().map(|tls| (tls, self.target.host()))).await
    }

    /// Connects to the proxy and lets it connect to `server`.
    pub(super) async fn tunnel(&self, server: &Target) -> Result<Io, String> {
        let wrong = |why: String| format!("proxy {}: connecting to {server}: {why}", self.target);
        match self.kind {
            Kind::Http | Kind::Https => {
                let mut io = self.connect().await?;
                self.ask(&mut io, server).await.map(|()| io).map_err(wrong)
            }
            Kind::Socks5 => self.socks(server).await.map_err(wrong),
        }
    }

    async fn socks(&self, server: &Target) -> Result<Io, String> {
        // The address of the proxy is that of the way to it; hyper-util only passes it on.
        let mut socks = SocksV5::new(Uri::default(), Way(self.clone()));
        if let Some((name, word)) = self.credentials.clone() {
            socks = socks.with_auth(name, word);
        }
        let destination = Uri::builder().scheme("socks5").authority(server.to_string()).path_and_query("/");
        let destination = destination.build().map_err(|e| e.to_string())?;
        let io = socks.call(destination).await.map_err(|e| e.to_string())?;
        Ok(io.into_inner().0)
    }

    /// Asks for a tunnel (CONNECT).
    async fn ask(&self, io: &mut Io, server: &Target) -> Result<(), String> {
        let mut head = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n").into_bytes();
        if let Some(value) = self.authorization() {
            head.extend_from_slice(b"Proxy-Authorization: ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        io.write_all(&head).await.map_err(|e| e.to_string())?;
        io.flush().await.map_err(|e| e.to_string())?;
        granted(io).await
    }
}

/// The port that a text names.
fn port_of(text: &str) -> Option<u16> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    text.parse::<Uri>().ok()?.port_u16()
}

/// The way to a proxy, for hyper-util.
#[derive(Clone)]
struct Way(Proxy);

impl Service<Uri> for Way {
    type Response = TokioIo<ByteByByte>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _proxy: Uri) -> Self::Future {
        let proxy = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(ByteByByte(proxy.connect().await?))) })
    }
}

/// A connection of which a byte is read at a time: what comes with the last answer of a proxy, but behind it, belongs to the
/// server, which may speak first.
struct ByteByByte(Io);

impl AsyncRead for ByteByByte {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut one = [0];
        let mut part = ReadBuf::new(&mut one);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut part))?;
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteByByte {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Reads the answer to CONNECT.
///
/// # Errors
/// What it says where that is no tunnel.
async fn granted(io: &mut (impl AsyncRead + Unpin)) -> Result<(), String> {
    let answer = read_head(io).await?;
    match answer.split(' ').nth(1) {
        Some(code) if code.starts_with('2') => Ok(()),
        _ => Err(format!("it answered {:?}", answer.lines().next().unwrap_or_default())),
    }
}

/// Reads up to the empty line and no further, because what follows belongs to the server.
async fn read_head(io: &mut (impl AsyncRead + Unpin)) -> Result<String, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_ANSWER {
            return Err(format!("its answer is longer than {MAX_ANSWER} bytes"));
        }
        head.push(io.read_u8().await.map_err(|e| e.to_string())?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(configured: &str, uri: &str) -> Result<Option<Proxy>, String> {
        Proxy::find(configured, &uri.parse().expect("a URL"))
    }

    #[test]
    fn proxies_of_the_corpus_are_read() {
        crate::corpus::corpus("proxy").iter().for_each(|text| check::proxy(&String::from_utf8_lossy(text)));
    }

    #[test]
    fn an_answer_is_read_to_its_empty_line_and_not_beyond_the_limit() {
        let long = |bytes: usize| format!("HTTP/1.1 200 {}\r\n\r\n", "x".repeat(bytes - 17)).into_bytes();
        for length in MAX_ANSWER - 2..MAX_ANSWER + 3 {
            check::answer(&[&long(length)[..], b"TLS"].concat());
        }
        for answer in
            ["HTTP/1.1 200\r\n\r\n", "HTTP/1.1 407 Who?\r\n\r\n", "HTTP/1.1 200 OK\r\n\r", "\r\n\r\n", ""]
        {
            check::answer(answer.as_bytes());
        }
    }

    #[tokio::test]
    async fn what_a_server_says_first_comes_behind_what_a_socks_proxy_says() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let proxy = Proxy::named(&format!("socks5://{}", listener.local_addr().expect("address")));
        let proxied = async {
            let (mut client, _) = listener.accept().await.expect("accepted");
            client.read_exact(&mut [0; 3]).await.expect("greeted");
            client.write_all(&[5, 0]).await.expect("let in");
            client.read_exact(&mut [0; 4 + 1 + 6 + 2]).await.expect("a request");
            client.write_all(b"\x05\0\0\x01\0\0\0\0\0\0hello").await.expect("granted");
            client
        };
        let server = Target::Tcp("server".to_owned(), 4317);
        let proxy = proxy.expect("valid");
        let (tunnel, _client) = tokio::join!(proxy.tunnel(&server), proxied);
        let mut heard = [0; 5];
        tunnel.expect("a tunnel").read_exact(&mut heard).await.expect("read");
        assert_eq!(&heard, b"hello");
    }

    #[test]
    fn the_configured_proxy_is_used_for_everything() {
        for uri in ["http://backend:4318/v1/logs", "https://127.0.0.1/", "http://localhost/"] {
            let proxy = find("http://me:p%40ss@proxy:3128", uri).expect("valid").expect("a proxy");
            assert_eq!(proxy.target, Target::Tcp("proxy".to_owned(), 3128));
            assert_eq!(proxy.authorization().expect("a header"), "Basic bWU6cEBzcw==");
        }
    }

    #[test]
    fn the_scheme_says_what_a_proxy_speaks_and_its_port() {
        let of = |text: &str| Proxy::parse(text).map(|p| (p.kind, p.target.to_string()));
        assert_eq!(of("http://[::1]"), Ok((Kind::Http, "[::1]:80".to_owned())));
        assert_eq!(of("https://proxy"), Ok((Kind::Https, "proxy:443".to_owned())));
        assert_eq!(of("socks5://proxy"), Ok((Kind::Socks5, "proxy:1080".to_owned())));
        assert_eq!(of("socks5h://me@proxy:9"), Ok((Kind::Socks5, "proxy:9".to_owned())));
        assert!(Proxy::named("proxy:3128").is_ok_and(|p| p.kind == Kind::Http));
        assert_eq!((port_of("proxy:3128"), port_of("http://proxy")), (Some(3128), None));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_being_repeated() {
        for configured in ["ftp://secret@proxy:1080", "secret@proxy", "proxy:3128", "http://"] {
            let why = find(configured, "http://backend/").err().expect("refused");
            assert!(why.contains("proxy") && !why.contains("secret"), "{why}");
        }
    }
}

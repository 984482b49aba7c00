//! Connecting through a proxy: the one that is configured, else that of the environment (`HTTP_PROXY`, `HTTPS_PROXY`,
//! `NO_PROXY`).
//!
//! Source: RFC 9110, 9.3.6 (CONNECT); Go's rules for the environment, by which this machine itself is never reached through
//! a proxy.

use std::net::IpAddr;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connect::{Target, connect};
use crate::io::Io;

/// Longest head of a proxy's answer to CONNECT.
const MAX_ANSWER: usize = 16 << 10;

/// A proxy on the way to one server. It has no `Debug`, because it holds a password.
#[derive(Clone)]
pub(super) struct Proxy {
    /// Where it listens.
    pub(super) target: Target,
    /// What it is to know.
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy on the way to `uri`: `configured` unless that is empty, else that of the environment.
    pub(super) fn find(configured: &str, uri: &Uri) -> Result<Option<Proxy>, String> {
        if configured.is_empty() {
            let local = uri.host().is_none_or(is_this_machine);
            let found = if local { None } else { Matcher::from_env().intercept(uri) };
            return found.map(|found| Proxy::of(&found)).transpose();
        }
        let found = Matcher::builder().all(configured.to_owned()).build().intercept(uri);
        match found.filter(|_| configured.contains("://")) {
            Some(found) => Proxy::of(&found).map(Some),
            // The URL is not repeated: it may hold a password.
            None => Err("proxy_url must be a URL that begins with http://".to_owned()),
        }
    }

    fn of(found: &Intercept) -> Result<Proxy, String> {
        let uri = found.uri();
        if let Some(other) = uri.scheme_str().filter(|scheme| *scheme != "http") {
            return Err(format!(
                "proxies that are reached by {other} are not supported: use an http:// proxy"
            ));
        }
        let host = uri.host().ok_or("the proxy's URL names no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(80);
        let authorization = found.basic_auth().cloned().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Ok(Proxy { target: Target::Tcp(host, port), authorization })
    }

    /// Connects to the proxy and lets it connect to `server` (CONNECT).
    pub(super) async fn tunnel(&self, server: &Target) -> Result<Io, String> {
        let mut io = connect(&self.target).await?;
        let wrong = |why: String| format!("proxy {}: connecting to {server}: {why}", self.target);
        let mut head = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n").into_bytes();
        if let Some(value) = &self.authorization {
            head.extend_from_slice(b"Proxy-Authorization: ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        io.write_all(&head).await.map_err(|e| wrong(e.to_string()))?;
        io.flush().await.map_err(|e| wrong(e.to_string()))?;
        let answer = read_head(&mut io).await.map_err(wrong)?;
        match answer.split(' ').nth(1) {
            Some(code) if code.starts_with('2') => Ok(io),
            _ => Err(wrong(format!("it answered {:?}", answer.lines().next().unwrap_or_default()))),
        }
    }
}

/// Reads up to the empty line and no further, because what follows belongs to the server.
async fn read_head(io: &mut Io) -> Result<String, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_ANSWER {
            return Err(format!("its answer is longer than {MAX_ANSWER} bytes"));
        }
        head.push(io.read_u8().await.map_err(|e| e.to_string())?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(configured: &str, uri: &str) -> Result<Option<Proxy>, String> {
        Proxy::find(configured, &uri.parse().expect("a URL"))
    }

    #[test]
    fn the_configured_proxy_is_used_for_everything() {
        for uri in ["http://backend:4318/v1/logs", "https://127.0.0.1/", "http://localhost/"] {
            let proxy = find("http://me:p%40ss@proxy:3128", uri).expect("valid").expect("a proxy");
            assert_eq!(proxy.target, Target::Tcp("proxy".to_owned(), 3128));
            assert_eq!(proxy.authorization.expect("a header"), "Basic bWU6cEBzcw==");
        }
        let proxy = find("http://[::1]", "http://backend/").expect("valid").expect("a proxy");
        assert_eq!(proxy.target, Target::Tcp("::1".to_owned(), 80));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_being_repeated() {
        for configured in ["socks5://secret@proxy:1080", "https://secret@proxy", "proxy:3128", "http://"] {
            let why = find(configured, "http://backend/").err().expect("refused");
            assert!(why.contains("proxy") && !why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn this_machine_is_never_behind_the_environments_proxy() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        assert!(!is_this_machine("localhost.example") && !is_this_machine("10.0.0.1"));
    }
}

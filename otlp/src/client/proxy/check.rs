//! What must hold for any text that names proxies and the servers without one, and for any answer of a proxy; for tests and for
//! fuzzing.
#![expect(clippy::expect_used, reason = "a check that does not hold is a fault")]

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{self, ReadBuf};

use super::environment::Environment;
use super::*;

/// The first line is the URL of a proxy, the second `NO_PROXY`, the third a server. What follows is an answer to CONNECT.
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn proxy(text: &str) {
    let mut lines = text.lines();
    let [url, without, host] = [(); 3].map(|()| lines.next().unwrap_or_default());
    match Proxy::named(url) {
        Ok(proxy) => {
            assert!(!proxy.target.host().is_empty(), "no host in {url:?}");
            assert_eq!(proxy.credentials.is_some(), proxy.authorization().is_some(), "of {url:?}");
            if let (Some((name, word)), Some(value)) = (&proxy.credentials, proxy.authorization()) {
                let encoded = value.as_bytes().strip_prefix(b"Basic ").expect("the scheme");
                let sent = STANDARD.decode(encoded).expect("base64");
                assert_eq!(sent, format!("{name}:{word}").into_bytes(), "of {url:?}");
            }
        }
        Err(why) => assert!(why.contains("prox"), "{why:?} does not say what is wrong"),
    }
    let proxied = |without: &str| {
        let of = Environment::named("http://proxy:3128", without);
        of.proxy(false, host, 4318).expect("no CGI").is_some()
    };
    let given = proxied(without);
    // More entries only take servers away; order and case mean nothing.
    assert!(!proxied("*"));
    assert!(given || !proxied(&format!("{without},other.example")), "{without:?} and one more");
    let mut turned: Vec<&str> = without.split(',').collect();
    turned.reverse();
    assert_eq!(proxied(&turned.join(",")), given, "{without:?} in another order");
    assert_eq!(proxied(&without.to_ascii_uppercase()), given, "{without:?} in capitals");
    // A server that is named is reached without a proxy.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if host.bytes().all(plain) && !host.starts_with('.') {
        assert!(!proxied(host), "{host:?} is named");
    }
    if let Some(said) = text.splitn(4, '\n').nth(3) {
        answer(said.as_bytes());
    }
}

/// An answer is read to its empty line and no further, never beyond the limit, and means the same when it comes at once and
/// when it drips.
pub(in crate::client) fn answer(answer: &[u8]) {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    let (end, is_whole) = match end.filter(|end| *end <= MAX_ANSWER) {
        Some(end) => (end, true),
        None => (answer.len().min(MAX_ANSWER), false),
    };
    let code = answer[..end].split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let [(at_once, rest), (dripping, rest_of_it)] = [false, true].map(|drips| {
        let mut io = Coming { rest: answer, drips, waits: false };
        let said = {
            let mut read = pin!(granted(&mut io));
            std::iter::repeat_with(|| read.as_mut().poll(&mut Context::from_waker(Waker::noop())))
                .find_map(|polled| if let Poll::Ready(said) = polled { Some(said) } else { None })
        };
        (said.expect("an end"), io.rest)
    });
    assert_eq!((&at_once, rest), (&dripping, rest_of_it), "of {answer:?}");
    assert_eq!(rest, &answer[end..], "behind {answer:?}");
    assert_eq!(at_once.is_ok(), is_whole && code.starts_with(b"2"), "{at_once:?} of {answer:?}");
}

/// What a proxy sends.
struct Coming<'a> {
    rest: &'a [u8],
    /// Whether one byte comes at a time, after a while.
    drips: bool,
    waits: bool,
}

impl AsyncRead for Coming<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.waits = self.drips && !self.waits;
        if self.waits {
            return Poll::Pending;
        }
        let most = if self.drips { 1 } else { buf.remaining() };
        let (part, rest) = self.rest.split_at(self.rest.len().min(most));
        buf.put_slice(part);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

//! What must hold for any text that names proxies and the servers without one; for tests and for fuzzing.
#![expect(clippy::expect_used, reason = "a check that does not hold is a fault")]

use super::environment::Environment;
use super::*;

/// The first line is the URL of a proxy, the second `NO_PROXY`, the third a server.
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
}

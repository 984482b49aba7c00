//! Whether a request names this machine, so that a web site cannot read pages through a name that it has rebound to
//! 127.0.0.1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::uri::Authority;
use http::{Request, header};

/// Whether the request names a host that can only be this machine.
pub(crate) fn is_named<B>(request: &Request<B>) -> bool {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    request.uri().authority().map(Authority::as_str).or(header).is_some_and(is_this_machine)
}

/// A host as requests have it (RFC 9110, 7.2): addresses of IPv6 are in brackets, a port may follow.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => name.parse::<Ipv4Addr>().map(IpAddr::V4),
    };
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The first line as the host of a request, in the header and in the URL: it is this machine exactly when it is one of its
/// names, with a port or without, and never with anything in front of it or behind it that makes it another name.
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn check(text: &str) {
    let host = text.split('\n').next().unwrap_or_default();
    let lower = host.to_ascii_lowercase();
    let without_port = lower.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix(':');
    let is_name = |name: &str| {
        let inner = name.trim_matches(['[', ']']);
        let is_v4 = |ip: Ipv4Addr| ip.octets()[0] == 127 && name == inner;
        let is_v6 = |ip: Ipv6Addr| ip == Ipv6Addr::LOCALHOST && name == format!("[{inner}]");
        name == "localhost" || inner.parse().is_ok_and(is_v4) || inner.parse().is_ok_and(is_v6)
    };
    let expected = is_name(&lower) || without_port.is_some_and(is_name);
    assert_eq!(is_this_machine(host), expected, "{host:?}");
    for other in
        [format!("{host}.evil.example"), format!("evil.example.{host}"), format!("{host}@evil.example")]
    {
        assert!(!is_this_machine(&other), "{other:?}");
    }
    if let Ok(request) = Request::builder().header(header::HOST, host).body(()) {
        assert_eq!(is_named(&request), expected, "{host:?}");
    }
    if let Ok(request) = Request::builder().uri(format!("http://{host}/")).body(())
        && request.uri().authority().is_some_and(|authority| authority == host)
    {
        assert_eq!(is_named(&request), expected, "{host:?} in a URL");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local_hosts() {
        let local =
            |host: &str| is_named(&Request::builder().header("host", host).body(()).expect("request"));
        for host in ["localhost", "LOCALHOST:55679", "127.0.0.1:1", "127.9.9.9", "[::1]:55679", "[::1]"] {
            assert!(local(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "10.0.0.1", "127.0.0.1.evil.example", ""] {
            assert!(!local(host), "{host}");
        }
        for host in ["[localhost]", "]127.0.0.1[", "[127.0.0.1]", "[[::1]]", "::1", "localhost:80:80"] {
            assert!(!local(host), "{host}");
        }
        assert!(!is_named(&Request::new(())));
        for (url, expected) in [("http://localhost:1/", true), ("http://x@localhost/", false), ("/", false)] {
            assert_eq!(is_named(&Request::get(url).body(()).expect("request")), expected, "{url}");
        }
    }

    #[test]
    fn hosts_of_the_corpus_are_this_machine_when_they_are_its_names() {
        for input in crate::corpus::corpus("url") {
            check(&String::from_utf8_lossy(&input));
        }
    }
}

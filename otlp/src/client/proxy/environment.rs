//! Which proxy the environment names for a server: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or the same in lower case.
//!
//! Source: the rules of Go's `httpproxy`, which the Collector follows. This machine itself is never reached through such a
//! proxy.

use std::net::IpAddr;

use ipnet::IpNet;

/// What the environment says.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    http: String,
    https: String,
    without: Vec<Rule>,
    /// Under CGI `HTTP_PROXY` is a header that anybody can send.
    cgi: bool,
}

/// An entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq)]
enum Rule {
    All,
    Network(IpNet),
    Address(IpAddr, Option<String>),
    /// A name, itself too unless only what is below it is meant.
    Name {
        below: String,
        itself: bool,
        port: Option<String>,
    },
}

impl Environment {
    /// That of the process.
    pub(super) fn of_the_process() -> Environment {
        Environment::of(|name| std::env::var(name).ok())
    }

    /// These values of `HTTP_PROXY` and `NO_PROXY`.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn named(http: &str, without: &str) -> Environment {
        Environment::of(|name| match name {
            "HTTP_PROXY" => Some(http.to_owned()),
            "NO_PROXY" => Some(without.to_owned()),
            _ => None,
        })
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Environment {
        let first = |upper: &str, lower: &str| {
            let given = [upper, lower].into_iter().filter_map(&variable).find(|value| !value.is_empty());
            given.unwrap_or_default()
        };
        Environment {
            http: first("HTTP_PROXY", "http_proxy"),
            https: first("HTTPS_PROXY", "https_proxy"),
            without: first("NO_PROXY", "no_proxy").split(',').filter_map(Rule::parse).collect(),
            cgi: variable("REQUEST_METHOD").is_some_and(|method| !method.is_empty()),
        }
    }

    /// The proxy for a server, as it is written.
    ///
    /// # Errors
    /// That `HTTP_PROXY` cannot be trusted.
    pub(super) fn proxy(&self, https: bool, host: &str, port: u16) -> Result<Option<&str>, String> {
        let proxy = if https { &self.https } else { &self.http };
        if proxy.is_empty() || !self.wanted(host, port) {
            return Ok(None);
        }
        if self.cgi && !https {
            return Err(
                "HTTP_PROXY is not used where REQUEST_METHOD is set: anybody could set it by a header"
                    .to_owned(),
            );
        }
        Ok(Some(proxy))
    }

    /// Whether a server is to be reached through a proxy at all.
    fn wanted(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let local = host.is_empty() || host == "localhost" || address.is_some_and(|ip| ip.is_loopback());
        !local && !self.without.iter().any(|rule| rule.holds(&host, address, &port.to_string()))
    }
}

impl Rule {
    fn parse(text: &str) -> Option<Rule> {
        let text = text.trim().to_lowercase();
        if text == "*" {
            return Some(Rule::All);
        }
        if let Ok(network) = text.parse() {
            return Some(Rule::Network(network));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port.to_owned())),
            _ => (text.as_str(), None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse() {
            return Some(Rule::Address(address, port));
        }
        let below = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        match below.strip_prefix('.') {
            _ if below.is_empty() => None,
            Some(_) => Some(Rule::Name { below: below.to_owned(), itself: false, port }),
            None => Some(Rule::Name { below: format!(".{below}"), itself: true, port }),
        }
    }

    fn holds(&self, host: &str, address: Option<IpAddr>, at: &str) -> bool {
        let same = |port: &Option<String>| port.as_deref().is_none_or(|port| port == at);
        match self {
            Rule::All => true,
            Rule::Network(network) => address.is_some_and(|ip| network.contains(&ip)),
            Rule::Address(ip, port) => address == Some(*ip) && same(port),
            Rule::Name { below, itself, port } => {
                let names = host.ends_with(below) || (*itself && below.strip_prefix('.') == Some(host));
                names && same(port)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(|name| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn each_scheme_has_its_variable_and_capitals_come_first() {
        let of = environment(&[("HTTP_PROXY", "a"), ("http_proxy", "b"), ("https_proxy", "c")]);
        assert_eq!(of.proxy(false, "backend", 80), Ok(Some("a")));
        assert_eq!(of.proxy(true, "backend", 443), Ok(Some("c")));
        assert_eq!(environment(&[("ALL_PROXY", "a")]).proxy(true, "backend", 443), Ok(None));
    }

    #[test]
    fn this_machine_is_never_behind_the_environments_proxy() {
        let of = environment(&[("HTTP_PROXY", "a"), ("HTTPS_PROXY", "a")]);
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "[::1]", ""] {
            assert_eq!(of.proxy(true, host, 443), Ok(None), "{host}");
        }
        for host in ["localhost.example", "10.0.0.1"] {
            assert_eq!(of.proxy(false, host, 80), Ok(Some("a")), "{host}");
        }
    }

    #[test]
    fn servers_without_a_proxy_are_named_as_in_go() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("*", &["a.example", "10.0.0.1"], &[]),
            ("example.com", &["example.com", "a.example.com", "A.Example.COM"], &["badexample.com"]),
            (".example.com", &["a.example.com"], &["example.com"]),
            ("*.example.com", &["a.example.com"], &["example.com", "b.org"]),
            ("10.0.0.0/8, fd00::/8", &["10.1.2.3", "[fd00::1]"], &["11.0.0.1", "ten.example"]),
            ("10.1.2.3", &["10.1.2.3"], &["10.1.2.4"]),
            ("example.com:4318,[fe80::1]:4318", &["example.com", "[fe80::1]"], &["other.com"]),
            ("example.com:80,10.1.2.3:80", &[], &["example.com", "10.1.2.3"]),
            (" , :80", &[], &["example.com"]),
        ];
        for (rules, direct, proxied) in cases {
            let of = environment(&[("HTTP_PROXY", "a"), ("NO_PROXY", rules)]);
            for host in *direct {
                assert_eq!(of.proxy(false, host, 4318), Ok(None), "{rules}: {host}");
            }
            for host in *proxied {
                assert_eq!(of.proxy(false, host, 4318), Ok(Some("a")), "{rules}: {host}");
            }
        }
    }

    #[test]
    fn a_proxy_that_a_header_may_have_set_is_refused() {
        let of = environment(&[("HTTP_PROXY", "a"), ("HTTPS_PROXY", "b"), ("REQUEST_METHOD", "GET")]);
        assert!(of.proxy(false, "backend", 80).is_err());
        assert_eq!(of.proxy(true, "backend", 443), Ok(Some("b")));
    }
}

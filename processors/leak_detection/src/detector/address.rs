//! Targets and peers: when does `dns:///localhost:50051` mean the socket peer `[::1]:50051`?

/// A target or peer, taken apart for comparison.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// An IP address in canonical form and a port; every loopback address is `loopback`.
    Ip(String, u16),
    /// A host name and a port: any address may stand behind it.
    Name(String, u16),
    /// Something without a port, such as a path of a Unix socket; compared as text.
    Text(String),
}

/// Port that grpc-go adds to a target without one.
const DEFAULT_PORT: u16 = 443;

impl Address {
    /// Reads `host:port`, `[v6]:port`, `scheme:///host:port`, `scheme://authority/host:port` and `scheme:host:port`.
    ///
    /// Source: gRPC Name Resolution, grpc/doc/naming.md.
    pub(crate) fn parse(target: &str) -> Self {
        let endpoint = strip_scheme(target);
        let Some((host, port)) = split_port(endpoint) else { return Address::Text(target.to_owned()) };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let bare = bare.split('%').next().unwrap_or(bare);
        if bare.eq_ignore_ascii_case("localhost") {
            return Address::Ip("loopback".to_owned(), port);
        }
        match bare.parse::<std::net::IpAddr>() {
            Ok(ip) if ip.to_canonical().is_loopback() => Address::Ip("loopback".to_owned(), port),
            Ok(ip) => Address::Ip(ip.to_canonical().to_string(), port),
            Err(_) => Address::Name(bare.to_ascii_lowercase(), port),
        }
    }

    /// Whether it is an address of the host itself.
    pub(crate) fn is_loopback(&self) -> bool {
        matches!(self, Address::Ip(host, _) if host == "loopback")
    }

    /// Whether both may mean the same place. A name matches every address with its port.
    pub(crate) fn matches(&self, other: &Address) -> bool {
        match (self, other) {
            (Address::Ip(_, a), Address::Name(_, b)) | (Address::Name(_, a), Address::Ip(_, b)) => a == b,
            _ => self == other,
        }
    }
}

fn strip_scheme(target: &str) -> &str {
    if let Some((_, rest)) = target.split_once("://") {
        // The authority, such as a name server, ends at the next slash.
        return rest.split_once('/').map_or(rest, |(_, endpoint)| endpoint);
    }
    match target.split_once(':') {
        Some(("dns" | "ipv4" | "ipv6" | "passthrough", rest)) => rest,
        _ => target,
    }
}

fn split_port(endpoint: &str) -> Option<(&str, u16)> {
    if endpoint.is_empty() || endpoint.contains('/') {
        return None;
    }
    match endpoint.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') => {
            Some((host, port.parse().ok()?))
        }
        // A bare IPv6 address, or a name without a port.
        _ => Some((endpoint, DEFAULT_PORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        Address::parse(a).matches(&Address::parse(b))
    }

    #[test]
    fn the_ways_to_write_one_target_match() {
        for target in [
            "127.0.0.1:50051",
            "localhost:50051",
            "dns:///localhost:50051",
            "dns:localhost:50051",
            "dns://8.8.8.8/localhost:50051",
            "passthrough:///127.0.0.1:50051",
            "[::1]:50051",
            "[::ffff:127.0.0.1]:50051",
            "ipv4:127.0.0.1:50051",
        ] {
            assert!(same(target, "127.0.0.1:50051"), "{target}");
        }
    }

    #[test]
    fn a_name_matches_addresses_by_port_and_other_names_not_at_all() {
        assert!(same("dns:///orders.svc:50051", "10.0.0.7:50051"));
        assert!(!same("dns:///orders.svc:50051", "10.0.0.7:50052"));
        assert!(!same("orders.svc:50051", "users.svc:50051"));
        assert!(same("Orders.svc:50051", "dns:///orders.svc:50051"));
        assert!(same("dns:///orders.svc", "10.0.0.7:443"));
    }

    #[test]
    fn different_addresses_do_not_match() {
        assert!(!same("10.0.0.7:50051", "10.0.0.8:50051"));
        assert!(!same("127.0.0.1:50051", "127.0.0.1:50052"));
        assert!(!same("unix:///run/a.sock", "unix:///run/b.sock"));
        assert!(same("unix:///run/a.sock", "unix:///run/a.sock"));
    }

    #[test]
    fn nonsense_is_only_equal_to_itself() {
        for text in ["", ":", "a:b:c", "host:99999", "://", "[", "[::1", "dns:///"] {
            assert!(same(text, text), "{text}");
            assert!(!same(text, "127.0.0.1:50051"), "{text}");
        }
    }
}

//! Which addresses a target may have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::error::FetchError;

/// The addresses of a host that may be asked, in the order of the system's resolver.
///
/// Decided on the addresses that are then connected to, so that a name cannot mean another one later.
///
/// # Errors
/// When the name has no address, or only forbidden ones.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, FetchError> {
    let failed = |why: String| FetchError::Resolve { host: host.to_owned(), why };
    let all = tokio::net::lookup_host((host, port)).await.map_err(|e| failed(e.to_string()))?;
    let (allowed, forbidden): (Vec<_>, Vec<_>) = all.partition(|address| !is_forbidden(address.ip()));
    match (allowed.is_empty(), forbidden.first()) {
        (false, _) => Ok(allowed),
        (true, Some(first)) => {
            Err(FetchError::Forbidden { host: host.to_owned(), address: first.ip().to_canonical() })
        }
        (true, None) => Err(failed("the name has no address".to_owned())),
    }
}

/// Link-local addresses (RFC 3927, RFC 4291 2.5.6) and the other addresses at which clouds serve metadata.
fn is_forbidden(address: IpAddr) -> bool {
    const METADATA_V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4 == METADATA_V4,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == METADATA_V6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_forbidden_in_every_form() {
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "100.100.100.200",
        ] {
            assert!(is_forbidden(text.parse().expect("an address")), "{text}");
        }
        for text in ["127.0.0.1", "10.0.0.1", "::1", "fec0::1", "fd00::254", "169.253.1.1", "::ffff:10.0.0.1"]
        {
            assert!(!is_forbidden(text.parse().expect("an address")), "{text}");
        }
    }

    #[tokio::test]
    async fn a_forbidden_address_is_named() {
        let error = resolve("169.254.169.254", 80).await.expect_err("forbidden");
        assert!(
            error.to_string().starts_with("169.254.169.254 is at 169.254.169.254, a link-local"),
            "{error}"
        );
    }
}

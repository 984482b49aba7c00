//! What must hold for any PEM text; for tests and for fuzzing.
#![expect(clippy::expect_used, reason = "a check that does not hold is a fault")]

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::{bundle, chain, private_key};

/// A certificate that can be used.
const GOOD: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBbzCCARWgAwIBAgIUWNxQCpbKOw0S+SIAXugS+jvYCWMwCgYIKoZIzj0EAwIw\n\
DDEKMAgGA1UEAwwBYTAgFw0yNjExMjcxMTA4MDRaGA8yMTI2MTEwMzExMDgwNFow\n\
DDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBY11i34arKW\n\
XpuCjISJoDYFNbVPNw12E0w1CaeyztBD21knjpMUsPFo/2P1uetlzVa/A1z9AlFZ\n\
Kc3BgVF0Je6jUzBRMB0GA1UdDgQWBBTb8gtk3n9+wG05/7G2AgNRgcj2hTAfBgNV\n\
HSMEGDAWgBTb8gtk3n9+wG05/7G2AgNRgcj2hTAPBgNVHRMBAf8EBTADAQH/MAoG\n\
CCqGSM49BAMCA0gAMEUCIQCxnNJFAofNt+hVgWD+Yhl3C9SCYKa1wRC8kR0NQEV/\n\
rgIgSDuc8AoUACKVBRtdUQBHSrL7Xxq/2fbkARmG74vY3Xg=\n\
-----END CERTIFICATE-----\n\
";

/// The bytes as a bundle of authorities: all that is left of it can be used, nothing of that is lost when it is read again,
/// and no entry takes the one in front of it or behind it with it. The same bytes as a certificate and as a key: an error
/// repeats none of them.
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn pem(text: &[u8]) {
    let left = usable(text);
    let good = usable(GOOD.as_bytes());
    assert_eq!(good.len(), 1);
    let in_front = usable(&[GOOD.as_bytes(), text].concat());
    assert_eq!(in_front, [&good[..], &left].concat());
    let behind = usable(&[text, b"\n", GOOD.as_bytes()].concat());
    assert_eq!(behind, [&left[..], &good].concat());
    for error in [chain(text).err(), private_key(text).err()].into_iter().flatten() {
        assert!(error.len() < 300, "{error}");
    }
}

/// The certificates of a bundle that can be used.
fn usable(text: &[u8]) -> Vec<CertificateDer<'static>> {
    let usable = match bundle::usable(text, "ca.pem") {
        Ok(usable) => usable,
        Err(error) => {
            assert!(error.len() < 300, "{error}");
            return Vec::new();
        }
    };
    let certificates = chain(&usable).expect("what is left can be read");
    for certificate in &certificates {
        RootCertStore::empty().add(certificate.clone()).expect("what is left can be used");
    }
    assert_eq!(bundle::usable(&usable, "ca.pem").as_ref(), Ok(&usable));
    certificates
}

#[cfg(test)]
mod tests {
    #[test]
    fn bundles_of_the_corpus_lose_nothing_that_can_be_used() {
        crate::corpus::corpus("pem").iter().for_each(|text| super::pem(text));
    }
}

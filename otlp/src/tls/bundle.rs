//! Authorities in PEM text, as Go's `AppendCertsFromPEM` reads them: what cannot be used is passed over, so that one bad
//! entry of a bundle does not take the others away.

use memchr::memmem;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::broken::words;

const BEGIN: &[u8] = b"-----BEGIN ";
const OF_CERTIFICATES: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The text without the certificates that cannot be used, which the log names; `source` is its file.
///
/// # Errors
/// There is no certificate that can be used; with what is wrong with the first.
pub(crate) fn usable(pem: &[u8], source: &str) -> Result<Vec<u8>, String> {
    let (mut usable, mut first_bad) = (Vec::new(), None);
    let certificates = sections(pem).filter(|section| section.starts_with(OF_CERTIFICATES));
    for (entry, section) in certificates.enumerate() {
        match check(section) {
            Ok(()) => usable.extend_from_slice(section),
            Err(error) => {
                let entry = entry + 1;
                tracing::warn!(file = source, entry, %error, "a certificate of a bundle cannot be used and is passed over");
                first_bad.get_or_insert(format!("certificate {entry}: {error}"));
            }
        }
    }
    match first_bad {
        Some(error) if usable.is_empty() => Err(format!("no certificate can be used: {error}")),
        None if usable.is_empty() => {
            Err("no CERTIFICATE section in the PEM text; DER becomes PEM by `openssl x509 -inform der`"
                .to_owned())
        }
        _ => Ok(usable),
    }
}

/// From each `BEGIN` at the begin of a line to the next. Whoever reads the text takes each of both characters for an end of
/// a line.
fn sections(pem: &[u8]) -> impl Iterator<Item = &[u8]> {
    let at_line = |at: &usize| *at == 0 || matches!(pem[at - 1], b'\n' | b'\r');
    let begins: Vec<usize> = memmem::find_iter(pem, BEGIN).filter(at_line).collect();
    let ends: Vec<usize> = begins.iter().skip(1).copied().chain([pem.len()]).collect();
    begins.into_iter().zip(ends).map(|(begin, end)| &pem[begin..end])
}

fn check(section: &[u8]) -> Result<(), String> {
    let certificate = CertificateDer::from_pem_slice(section).map_err(|e| words(&e))?;
    RootCertStore::empty().add(certificate).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(Vec::new()).expect("params");
        params.self_signed(&key).expect("a certificate").pem()
    }

    #[test]
    fn a_bad_entry_of_a_bundle_takes_no_other_with_it() {
        let (first, last) = (authority(), authority());
        let damaged = authority().replacen("MII", "!!!", 1);
        let (cut, _) = first.split_at(first.len() / 2);
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n";
        for bad in [damaged.as_str(), cut, no_certificate, key, "text\n"] {
            for end_of_line in ["\n", "\r\n", "\r"] {
                let bundle = format!("{first}{bad}\n{last}").replace('\n', end_of_line);
                let usable = usable(bundle.as_bytes(), "ca.pem").expect("two are left");
                let left: Vec<_> = CertificateDer::pem_slice_iter(&usable).collect();
                assert_eq!(left.len(), 2, "{bad}");
                assert!(left.iter().all(Result::is_ok), "{bad}");
            }
        }
    }

    #[test]
    fn a_bundle_of_nothing_is_refused_with_what_is_wrong() {
        let cut = authority();
        let refused = usable(&cut.as_bytes()[..cut.len() / 2], "ca.pem").expect_err("refused");
        assert!(
            refused.starts_with("no certificate can be used: certificate 1: missing section end"),
            "{refused}"
        );
        for nothing in ["", "x", "-----BEGIN"] {
            let refused = usable(nothing.as_bytes(), "ca.pem").expect_err("refused");
            assert!(refused.contains("no CERTIFICATE section"), "{refused}");
        }
    }
}

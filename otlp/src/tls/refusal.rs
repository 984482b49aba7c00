//! What to do about a certificate that was refused.

use std::io;

use rustls::{CertificateError, Error};

/// Whose certificate it is, seen from the side that refused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Server,
    Client,
}

/// The failure of a handshake; with the cure, where a certificate of the peer is what is wrong.
pub(super) fn explained(peer: Peer, e: io::Error) -> io::Error {
    let refused = e.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match refused.and_then(|refused| cure(peer, refused)) {
        Some(cure) => io::Error::new(e.kind(), format!("{e}: {cure}")),
        None => e,
    }
}

fn cure(peer: Peer, refused: &Error) -> Option<String> {
    let Error::InvalidCertificate(what) = refused else { return None };
    let (option, purpose) = match peer {
        Peer::Server => ("`ca_file`", "serverAuth"),
        Peer::Client => ("`client_ca_file`", "clientAuth"),
    };
    match what {
        CertificateError::UnknownIssuer => Some(format!(
            "it was signed by none of the authorities of {option}: add the authority, or this certificate itself"
        )),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Some(format!(
            "its extended key usage lacks {purpose}, for which anyExtendedKeyUsage does not stand: issue it again with \
             `extendedKeyUsage = {purpose}` (`-addext`, `-extfile` of openssl)"
        )),
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => Some(
            "it names no host, for which a common name does not stand: issue it again with `subjectAltName = DNS:NAME` \
             (`-addext`, `-extfile` of openssl)"
                .to_owned(),
        ),
        // webpki's error has no name in rustls.
        CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => Some(format!(
            "it is of an authority (CA:TRUE) and may sign certificates, not be shown as one: issue it again with \
             `basicConstraints = CA:FALSE` (`-addext`, `-extfile` of openssl), or add this certificate itself to {option}"
        )),
        _ => None,
    }
}

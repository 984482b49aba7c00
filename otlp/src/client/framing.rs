//! Headers that say how a request is framed: the protocol sets them, and whoever else does breaks the request.
//!
//! Left out where a configuration or a signer names them, as in the Collector's clients: another `content-length` would
//! have a server read nothing and call it a success.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Of HTTP.
pub(super) const OF_HTTP: &[&str] = &["content-length", "transfer-encoding", "trailer"];

/// Of gRPC: what HTTP/2 does not allow, and what a call has one of.
pub(super) const OF_GRPC: &[&str] = &[
    "content-length",
    "transfer-encoding",
    "trailer",
    "connection",
    "proxy-connection",
    "keep-alive",
    "upgrade",
    "te",
    "content-type",
    "user-agent",
    "grpc-encoding",
    "grpc-accept-encoding",
    "grpc-timeout",
];

/// The configured headers without those; the log says which `destination` goes without.
pub(super) fn allowed<'a>(
    configured: &'a [(HeaderName, HeaderValue)],
    framing: &[&str],
    destination: &str,
) -> impl Iterator<Item = &'a (HeaderName, HeaderValue)> {
    let (allowed, refused): (Vec<_>, Vec<_>) =
        configured.iter().partition(|(name, _)| !framing.contains(&name.as_str()));
    for (name, _) in refused {
        tracing::warn!(
            endpoint = destination,
            header = %name,
            "a header of `headers` is one that the protocol sets itself: it is left out; take it out of the configuration"
        );
    }
    allowed.into_iter()
}

/// Undoes what a signer has done to them: they are again as in `own`.
pub(super) fn restore(headers: &mut HeaderMap, own: &HeaderMap, framing: &'static [&str]) {
    for name in framing.iter().copied() {
        match own.get(name) {
            Some(value) => drop(headers.insert(name, value.clone())),
            None => drop(headers.remove(name)),
        }
    }
}

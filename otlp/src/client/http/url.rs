//! A URL that can be shown: without the user, password and query that may hold secrets.

use std::fmt;

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::status::percent_decode;

/// A parsed URL. `Display` leaves out user, password and query.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::client) struct Url {
    uri: Uri,
    user_info: Option<String>,
}

impl Url {
    /// Parses an absolute `http` or `https` URL.
    pub(super) fn parse(text: &str) -> Result<Url, String> {
        let uri: Uri = text.parse().map_err(|e| format!("not a URL: {e}"))?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        let (true, Some(authority)) = (known, uri.authority().cloned()) else {
            return Err("a URL has to begin with http:// or https:// and name a host".to_owned());
        };
        let (user_info, host) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(percent_decode(user.as_bytes())), host.to_owned()),
            None => (None, authority.to_string()),
        };
        let mut parts = uri.into_parts();
        parts.authority = Some(Authority::from_maybe_shared(host).map_err(|e| format!("not a URL: {e}"))?);
        let uri = Uri::from_parts(parts).map_err(|e| format!("not a URL: {e}"))?;
        Ok(Url { uri, user_info })
    }

    /// Without user and password.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// `user:password`, decoded.
    pub(super) fn user_info(&self) -> Option<&str> {
        self.user_info.as_deref()
    }

    pub(super) fn is_https(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority = self.uri.authority().map_or("", |a| a.as_str());
        write!(f, "{scheme}://{authority}{}", self.uri.path())
    }
}

/// The URL to which a request to `from` is redirected, when it is on the same server.
pub(super) fn same_server(from: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(location.parse().ok()?);
        return Uri::from_parts(parts).ok();
    }
    let to: Uri = location.parse().ok()?;
    (to.scheme() == from.scheme() && to.authority() == from.authority() && to.authority().is_some())
        .then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_url_are_used_and_never_shown() {
        let url = Url::parse("https://me:p%40ss%zz@host:4318/v1/traces?token=secret").expect("a URL");
        assert_eq!(url.to_string(), "https://host:4318/v1/traces");
        assert_eq!(url.user_info(), Some("me:p@ss%zz"));
        assert_eq!(url.uri(), "https://host:4318/v1/traces?token=secret");
    }

    #[test]
    fn other_schemes_and_fragments_of_urls_are_refused() {
        for text in ["host:4318", "/v1/traces", "ftp://host/", "http://", ""] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn redirects_stay_on_the_server() {
        let from: Uri = "http://a:1/v1/traces?x".parse().expect("a URL");
        assert_eq!(
            same_server(&from, "/other?y").map(|u| u.to_string()).as_deref(),
            Some("http://a:1/other?y")
        );
        assert!(same_server(&from, "http://a:1/other").is_some());
        for elsewhere in ["http://b:1/", "https://a:1/", "//b/x", "", "other"] {
            assert_eq!(same_server(&from, elsewhere), None, "{elsewhere}");
        }
    }
}

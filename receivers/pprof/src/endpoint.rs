//! The server of a target: parsed, compared, and shown without its password.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};

/// Scheme, host and port of a server, and the credentials for it. `Display` leaves the credentials out.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// With TLS.
    pub(crate) https: bool,
    /// Name or address, IPv6 without brackets.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// Value of the header `authorization`, from `user:password@`; debug output does not show it.
    pub(crate) authorization: Option<HeaderValue>,
}

/// An absolute URL.
#[derive(Debug, Clone)]
pub(crate) struct Url {
    /// Its server.
    pub(crate) endpoint: Endpoint,
    /// Its path, at least `/`.
    pub(crate) path: String,
    /// What stands behind the question mark.
    pub(crate) query: Option<String>,
}

impl PartialEq for Endpoint {
    /// The same server; credentials do not matter.
    fn eq(&self, other: &Self) -> bool {
        self.https == other.https && self.port == other.port && self.host.eq_ignore_ascii_case(&other.host)
    }
}

impl Eq for Endpoint {}

impl Endpoint {
    /// `host:port` as in the header `host` and in the names of instances.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The path to ask next, after `path` was redirected to `location`. A location on another server is the error.
    ///
    /// # Errors
    /// The other server; none when `location` is no place at all.
    pub(crate) fn redirected(&self, path: &str, location: &str) -> Result<String, Option<Box<Endpoint>>> {
        let absolute = if location.starts_with("//") {
            format!("{}:{location}", if self.https { "https" } else { "http" })
        } else if location.contains("://") {
            location.to_owned()
        } else if location.starts_with('/') {
            format!("{self}{location}")
        } else {
            let directory = path.split('?').next().and_then(|p| p.rsplit_once('/')).map_or("", |(d, _)| d);
            format!("{self}{directory}/{location}")
        };
        let url = Url::parse(&absolute).map_err(|_| None)?;
        if url.endpoint != *self {
            return Err(Some(Box::new(url.endpoint)));
        }
        Ok(url.query.map_or(url.path.clone(), |query| format!("{}?{query}", url.path)))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }
}

impl Url {
    /// Parses an absolute `http` or `https` URL.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it: it may hold a password.
    pub(crate) fn parse(text: &str) -> Result<Url, String> {
        let uri: Uri = text.parse().map_err(|e| format!("not a URL ({e})"))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("has to begin with http:// or https://".to_owned()),
        };
        let authority = uri.authority().map_or("", |a| a.as_str());
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("has no host".to_owned());
        }
        let endpoint = Endpoint {
            https,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
            authorization: user.map(basic).transpose()?,
        };
        let query = uri.query().map(str::to_owned);
        Ok(Url { endpoint, path: uri.path().to_owned(), query })
    }
}

/// Basic authentication (RFC 7617).
fn basic(user: &str) -> Result<HeaderValue, String> {
    let encoded = format!("Basic {}", STANDARD.encode(percent_decode(user)));
    let mut value = HeaderValue::from_str(&encoded).map_err(|e| e.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

/// Undoes percent-encoding (RFC 3986, 2.1); what is no escape stays as it is.
fn percent_decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| tail.first_chunk::<2>()).flatten();
        let byte = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(2..).unwrap_or(&[]);
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Url::parse(text).expect("a URL").endpoint
    }

    #[test]
    fn credentials_are_used_and_never_shown() {
        let url = Url::parse("https://me:p%40ss%zz@[::1]:6060/debug?token=secret").expect("a URL");
        assert_eq!(url.endpoint.to_string(), "https://[::1]:6060");
        assert_eq!((url.path.as_str(), url.query.as_deref()), ("/debug", Some("token=secret")));
        let sent = url.endpoint.authorization.clone().expect("credentials");
        assert_eq!(sent, format!("Basic {}", STANDARD.encode("me:p@ss%zz")));
        assert!(
            !format!("{url:?}").contains("p@ss")
                && !format!("{url:?}").contains(&STANDARD.encode("me:p@ss%zz"))
        );
    }

    #[test]
    fn what_is_no_http_url_is_refused() {
        for text in ["127.0.0.1:6060", "/debug", "ftp://host/", "http://", ""] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn redirects_stay_on_the_server() {
        let here = endpoint("http://a:6060");
        let to = |location: &str| here.redirected("/debug/pprof/heap?x", location);
        assert_eq!(to("/other?y"), Ok("/other?y".to_owned()));
        assert_eq!(to("goroutine"), Ok("/debug/pprof/goroutine".to_owned()));
        assert_eq!(to("http://A:6060/x"), Ok("/x".to_owned()));
        for elsewhere in ["http://b:6060/", "https://a:6060/", "http://a:6061/", "//b/x"] {
            assert!(matches!(to(elsewhere), Err(Some(_))), "{elsewhere}");
        }
        assert_eq!(to("ftp://a/"), Err(None));
    }
}

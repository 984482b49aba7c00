//! The cookies of one server (RFC 6265), as far as load balancers use them: names and values that are sent back until they
//! are replaced, removed or too old.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};

/// Further cookies are not kept.
const MAX_COOKIES: usize = 50;
/// Longer ones are not kept.
const MAX_LENGTH: usize = 4 << 10;

/// What a server wants to get back.
#[derive(Default)]
pub(super) struct Cookies(Mutex<Vec<Cookie>>);

struct Cookie {
    name: String,
    value: String,
    /// Path under which it is sent.
    path: String,
    secure: bool,
    expires: Option<SystemTime>,
}

impl Cookies {
    /// Keeps the cookies of a response.
    pub(super) fn keep(&self, headers: &HeaderMap, now: SystemTime) {
        for text in headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let Some(cookie) = Cookie::parse(text, now).filter(|_| text.len() <= MAX_LENGTH) else {
                continue;
            };
            let mut jar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            jar.retain(|kept| (&kept.name, &kept.path) != (&cookie.name, &cookie.path));
            if cookie.is_alive(now) && jar.len() < MAX_COOKIES {
                jar.push(cookie);
            }
        }
    }

    /// The header for a request to that path; `None` when there is nothing to send.
    pub(super) fn header(&self, path: &str, encrypted: bool, now: SystemTime) -> Option<HeaderValue> {
        let mut jar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jar.retain(|cookie| cookie.is_alive(now));
        let fits = |cookie: &&Cookie| cookie.covers(path) && (encrypted || !cookie.secure);
        let pairs: Vec<String> =
            jar.iter().filter(fits).map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        let mut value = HeaderValue::try_from(pairs.join("; ")).ok().filter(|value| !value.is_empty())?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl Cookie {
    /// From `name=value; attribute; attribute=value`. `Domain` is passed over: all requests go to one server.
    fn parse(text: &str, now: SystemTime) -> Option<Cookie> {
        let mut parts = text.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        if name.is_empty() {
            return None;
        }
        let mut cookie = Cookie {
            name: name.to_owned(),
            value: value.to_owned(),
            path: "/".to_owned(),
            secure: false,
            expires: None,
        };
        let mut lasts = None;
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key.to_ascii_lowercase().as_str() {
                "secure" => cookie.secure = true,
                "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
                "expires" => cookie.expires = httpdate::parse_http_date(value).ok().or(cookie.expires),
                "max-age" => lasts = value.parse::<i64>().ok(),
                _ => {}
            }
        }
        // `Max-Age` counts more than `Expires`, in whatever order they stand.
        if let Some(seconds) = lasts {
            let after = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            cookie.expires = now.checked_add(after);
        }
        Some(cookie)
    }

    fn is_alive(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }

    fn covers(&self, path: &str) -> bool {
        path.strip_prefix(&self.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn jar(set: &[&str]) -> Cookies {
        let cookies = Cookies::default();
        for text in set {
            let value = HeaderValue::try_from(*text).expect("a value");
            cookies.keep(&HeaderMap::from_iter([(header::SET_COOKIE, value)]), NOW);
        }
        cookies
    }

    fn sent(cookies: &Cookies, path: &str) -> String {
        let header = cookies.header(path, false, NOW);
        header.map_or_else(String::new, |value| value.to_str().expect("text").to_owned())
    }

    #[test]
    fn cookies_are_sent_back_where_they_belong() {
        let cookies =
            jar(&["a=1; Path=/v1; HttpOnly", "b=x=y", "c=3; Secure", "d=4; path=/other", "nonsense", "=5"]);
        assert_eq!(sent(&cookies, "/v1/traces"), "a=1; b=x=y");
        assert_eq!(sent(&cookies, "/v10"), "b=x=y");
        assert!(cookies.header("/", true, NOW).is_some_and(|v| v == "b=x=y; c=3" && v.is_sensitive()));
    }

    #[test]
    fn later_ones_replace_and_old_ones_go() {
        let cookies =
            jar(&["a=1", "a=2", "b=1", "b=; Max-Age=0", "c=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT"]);
        assert_eq!(sent(&cookies, "/"), "a=2; c=1");
        let later = NOW + Duration::from_secs(3_000_000_000);
        assert!(cookies.header("/", false, later).is_some_and(|value| value == "a=2"));
        assert_eq!(sent(&jar(&["a=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT; Max-Age=-1"]), "/"), "");
    }

    #[test]
    fn a_server_cannot_fill_the_memory() {
        let many: Vec<String> = (0..200).map(|i| format!("n{i}=v")).collect();
        let cookies = jar(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(sent(&cookies, "/").split("; ").count(), MAX_COOKIES);
        assert_eq!(sent(&jar(&[&format!("a={}", "x".repeat(MAX_LENGTH))]), "/"), "");
    }
}

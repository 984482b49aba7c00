//! Cross-origin requests from web pages (Fetch standard, "CORS protocol").

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::body::Body;

/// Which pages may send telemetry. Credentials are always allowed, as in the Collector; browsers give a page no answer to a
/// request with credentials when it is for all origins.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cors {
    /// Origins such as `https://shop.example`; one `*` in an origin stands for any text, `*` alone for all origins.
    pub allowed_origins: Vec<String>,
    /// Headers that pages may set; `*` for all; when empty `accept`, `content-type` and `x-requested-with`.
    /// `content-language` and the like need no permission.
    pub allowed_headers: Vec<String>,
    /// Headers of responses that pages may read.
    pub exposed_headers: Vec<String>,
    /// How long a browser may remember a preflight; zero: its own default of 5 s.
    pub max_age: Duration,
}

impl Cors {
    /// The answer to a preflight request, without any permission when not all that it asks for is allowed; `None` when
    /// the request is none.
    pub(crate) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let headers = request.headers();
        let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        if request.method() != Method::OPTIONS {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let origin = headers.get(header::ORIGIN);
        let may = METHODS.iter().any(|known| method == known)
            && self.allows_origin(origin)
            && wanted.is_none_or(|names| self.allows_headers(names));
        let out = response.headers_mut();
        out.insert(header::VARY, PREFLIGHT_VARY);
        if let Some(origin) = origin.filter(|_| may) {
            self.allow(origin, out);
            out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
            if let Some(names) = wanted {
                out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            if !self.max_age.is_zero() {
                out.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age.as_secs()));
            }
        }
        Some(response)
    }

    /// Marks a response as readable for the page that asked, when its origin is allowed.
    pub(crate) fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin.filter(|origin| self.allows_origin(Some(origin))) else {
            return;
        };
        self.allow(origin, headers);
        if let (false, Ok(names)) = (self.exposed_headers.is_empty(), self.exposed_headers.join(", ").parse())
        {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
    }

    /// Names an origin that is allowed. Where all are, the answer is for all: with the name of whoever asks, any page could
    /// read what the credentials of its visitors show.
    fn allow(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        let everybody = self.allowed_origins.iter().any(|allowed| allowed == "*");
        let origin = if everybody { HeaderValue::from_static("*") } else { origin.clone() };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }

    fn allows_origin(&self, origin: Option<&HeaderValue>) -> bool {
        let Some(origin) = origin.and_then(|o| o.to_str().ok()).map(str::to_ascii_lowercase) else {
            return false;
        };
        self.allowed_origins.iter().any(|allowed| matches_origin(&allowed.to_ascii_lowercase(), &origin))
    }

    fn allows_headers(&self, names: &HeaderValue) -> bool {
        let Ok(names) = names.to_str() else { return false };
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).all(|name| {
            if self.allowed_headers.is_empty() {
                return ALLOWED_HEADERS.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
            }
            self.allowed_headers.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(name))
        })
    }
}

/// Headers that pages may set where none are listed, as in the Collector.
const ALLOWED_HEADERS: [&str; 3] = ["accept", "content-type", "x-requested-with"];
/// What simple requests may use, and the Collector allows in preflights.
const METHODS: [&str; 3] = ["GET", "POST", "HEAD"];
/// On what the answer to a preflight depends.
const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");

fn matches_origin(allowed: &str, origin: &str) -> bool {
    match allowed.split_once('*') {
        None => allowed == origin,
        Some((head, tail)) => {
            origin.len() >= head.len() + tail.len() && origin.starts_with(head) && origin.ends_with(tail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors() -> Cors {
        Cors {
            allowed_origins: vec!["https://*.shop.example".into(), "http://localhost:3000".into()],
            allowed_headers: vec!["content-type".into()],
            ..Cors::default()
        }
    }

    fn preflight(origin: &str, headers: &str) -> Response<Body> {
        asked(&cors(), origin, headers)
    }

    fn asked(cors: &Cors, origin: &str, headers: &str) -> Response<Body> {
        let request = Request::options("/v1/traces")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", headers);
        cors.preflight(&request.body(()).expect("request")).expect("a preflight")
    }

    #[test]
    fn allowed_pages_get_permission() {
        let response = preflight("https://www.shop.example", "Content-Type");
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.headers()["access-control-allow-origin"], "https://www.shop.example");
        assert_eq!(response.headers()["access-control-allow-headers"], "Content-Type");
    }

    #[test]
    fn other_pages_and_other_headers_do_not() {
        for origin in ["https://evil.example", "https://shop.example", "https://www.shop.example.evil"] {
            assert!(
                !preflight(origin, "content-type").headers().contains_key("access-control-allow-origin"),
                "{origin}"
            );
        }
        let response = preflight("http://localhost:3000", "x-secret");
        assert!(response.headers().keys().all(|name| !name.as_str().starts_with("access-control")));
    }

    #[test]
    fn without_a_list_pages_may_set_what_the_collector_allows() {
        let cors = Cors { allowed_headers: Vec::new(), ..cors() };
        let may = |headers| {
            let response = asked(&cors, "http://localhost:3000", headers);
            response.headers().contains_key("access-control-allow-headers")
        };
        assert!(may("content-type") && may("accept, content-type,x-requested-with"));
        assert!(!may("content-type,x-tenant") && !may("authorization"));
    }

    #[test]
    fn what_all_pages_may_read_is_not_marked_for_the_one_that_asks() {
        for (allowed, marked) in [
            (&["*"][..], "*"),
            (&["http://localhost:3000", "*"], "*"),
            (&["http://*"], "http://localhost:3000"),
            (&["http://other", "http://localhost:*"], "http://localhost:3000"),
        ] {
            let allowed_origins = allowed.iter().map(ToString::to_string).collect();
            let cors = Cors { allowed_origins, ..Cors::default() };
            let response = asked(&cors, "http://localhost:3000", "content-type");
            assert_eq!(response.headers()["access-control-allow-origin"], marked);
            let mut headers = HeaderMap::new();
            cors.mark(Some(&HeaderValue::from_static("http://localhost:3000")), &mut headers);
            assert_eq!(headers["access-control-allow-origin"], marked);
        }
    }

    #[test]
    fn an_options_request_without_a_method_is_no_preflight() {
        assert!(cors().preflight(&Request::options("/").body(()).expect("request")).is_none());
    }
}

//! From the fields of a header block to the head of a request (RFC 9113, 8.2 and 8.3).

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header};

use super::hpack::Field;

/// The peer broke the rules of HTTP: its stream is reset.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Fields that are another one in each request of a client, and that say only how it is carried: the length of the body, and
/// how long the client waits. They are no part of the head.
fn varies(name: &[u8]) -> bool {
    name == b"content-length" || name == b"grpc-timeout"
}

/// Whether these fields make the same head as those, which make one. Fields that are malformed do not.
pub(super) fn are_alike(those: &[Field], fields: &[Field]) -> bool {
    let is_alike = |(that, field): (&Field, &Field)| {
        that.0 == field.0
            && (that.1 == field.1 || varies(&field.0) && field.1.iter().all(u8::is_ascii_alphanumeric))
    };
    those.len() == fields.len() && those.iter().zip(fields).all(is_alike)
}

/// The head of a request with these fields.
pub(super) fn head(fields: &[Field]) -> Result<Request<()>, Malformed> {
    let mut pseudo = Pseudo::default();
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    let mut regular = false;
    for (name, value) in fields {
        if name.first() == Some(&b':') {
            if regular {
                return Err(Malformed);
            }
            pseudo.set(name, value.clone())?;
            continue;
        }
        regular = true;
        let (header, value) = checked(name, value)?;
        if !varies(name) {
            request.headers_mut().append(header, value);
        }
    }
    if let Some(Named::Otherwise(text)) = &pseudo.authority
        && !request.headers().contains_key(header::HOST)
    {
        request.headers_mut().insert(header::HOST, text.clone());
    }
    let (method, uri) = pseudo.finish()?;
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    Ok(request)
}

/// Whether these fields may be the trailers of a request.
pub(super) fn are_trailers(fields: &[Field]) -> bool {
    fields.iter().all(|(name, value)| checked(name, value).is_ok())
}

/// The length of the body that the fields of a head announce.
pub(super) fn content_length(fields: &[Field]) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    for (_, value) in fields.iter().filter(|(name, _)| name == "content-length") {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let text = str::from_utf8(value).map_err(|_| Malformed)?;
        let this = if is_number { text.parse().map_err(|_| Malformed)? } else { return Err(Malformed) };
        if length.is_some_and(|before: u64| before != this) {
            return Err(Malformed);
        }
        length = Some(this);
    }
    Ok(length)
}

/// A field that HTTP/2 allows: names in lower case, nothing that belongs to a connection.
fn checked(name: &[u8], value: &Bytes) -> Result<(HeaderName, HeaderValue), Malformed> {
    let name = HeaderName::from_lowercase(name).map_err(|_| Malformed)?;
    let value = HeaderValue::from_maybe_shared(value.clone()).map_err(|_| Malformed)?;
    let allowed = match name {
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => false,
        header::TE => value == "trailers",
        _ => !matches!(name.as_str(), "keep-alive" | "proxy-connection"),
    };
    if allowed { Ok((name, value)) } else { Err(Malformed) }
}

#[derive(Default)]
struct Pseudo {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Named>,
    path: Option<PathAndQuery>,
}

/// What a client calls the server. Nothing is decided by it: clients of a Unix socket name its path, those of several
/// addresses all of them.
enum Named {
    Host(Authority),
    Otherwise(HeaderValue),
}

impl Named {
    fn read(text: Bytes) -> Result<Named, Malformed> {
        match Authority::from_maybe_shared(text.clone()) {
            Ok(host) => Ok(Named::Host(host)),
            Err(_) => HeaderValue::from_maybe_shared(text).map(Named::Otherwise).map_err(|_| Malformed),
        }
    }
}

impl Pseudo {
    fn set(&mut self, name: &[u8], value: Bytes) -> Result<(), Malformed> {
        match name {
            b":method" => once(&mut self.method, Method::from_bytes(&value)),
            b":scheme" => once(&mut self.scheme, Scheme::try_from(&value[..])),
            b":authority" => once(&mut self.authority, Named::read(value)),
            b":path" if value.is_empty() => Err(Malformed),
            b":path" => once(&mut self.path, PathAndQuery::from_maybe_shared(value)),
            _ => Err(Malformed),
        }
    }

    fn finish(self) -> Result<(Method, Uri), Malformed> {
        let (Some(method), Some(scheme), Some(path)) = (self.method, self.scheme, self.path) else {
            return Err(Malformed);
        };
        let mut uri = http::uri::Parts::default();
        if let Some(Named::Host(host)) = self.authority {
            // A URI without an authority has no scheme in this library.
            (uri.scheme, uri.authority) = (Some(scheme), Some(host));
        }
        uri.path_and_query = Some(path);
        Ok((method, Uri::from_parts(uri).map_err(|_| Malformed)?))
    }
}

fn once<T, E>(place: &mut Option<T>, value: Result<T, E>) -> Result<(), Malformed> {
    match (&place, value) {
        (None, Ok(value)) => {
            *place = Some(value);
            Ok(())
        }
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Vec<Field> {
        let own = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        list.iter().map(|(name, value)| (own(name), own(value))).collect()
    }

    const GOOD: [(&str, &str); 4] =
        [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "weir:4317")];

    #[test]
    fn a_head_has_its_method_its_path_and_its_fields() {
        let rest = [("te", "trailers"), ("x-a", "1"), ("x-a", "2")];
        let request = head(&fields(&[&GOOD[..], &rest].concat())).expect("well formed");
        assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/x"));
        assert_eq!(request.uri().authority().map(Authority::as_str), Some("weir:4317"));
        assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
        assert!(head(&fields(&GOOD[..3])).is_ok(), "an authority is not demanded");
    }

    #[test]
    fn a_server_may_be_called_by_what_is_no_host_and_that_is_kept_as_its_name() {
        for name in ["%2Ftmp%2Fs", "h%2Cx", "127.0.0.1:1,127.0.0.1:2", "/tmp/s", ""] {
            let named = [&GOOD[..3], &[(":authority", name)]].concat();
            let request = head(&fields(&named)).expect("well formed");
            assert_eq!((request.uri().authority(), request.uri().path()), (None, "/x"));
            assert_eq!(request.headers()["host"], name);
            let request = head(&fields(&[&named[..], &[("host", "other")]].concat())).expect("well formed");
            assert_eq!(request.headers()["host"], "other", "as where it is a host");
            for second in [name, "weir"] {
                assert!(
                    head(&fields(&[&named[..], &[(":authority", second)]].concat())).is_err(),
                    "{name:?} twice"
                );
            }
        }
        assert!(head(&fields(&[&GOOD[..3], &[(":authority", "a\nb")]].concat())).is_err());
    }

    #[test]
    fn what_http_2_forbids_is_malformed() {
        for demanded in &GOOD[..3] {
            let without: Vec<_> = GOOD.into_iter().filter(|field| field != demanded).collect();
            assert!(head(&fields(&without)).is_err(), "without {}", demanded.0);
        }
        let further = [
            GOOD[0],
            (":status", "200"),
            (":path", ""),
            ("X-Upper", "1"),
            ("connection", "close"),
            ("keep-alive", "5"),
            ("proxy-connection", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "trailers, deflate"),
            ("x-line", "a\nb"),
            ("", "x"),
        ];
        for field in further {
            assert!(head(&fields(&[&GOOD[..], &[field]].concat())).is_err(), "{field:?}");
            assert!(!are_trailers(&fields(&[field])), "{field:?}");
        }
        let late = [&GOOD[..3], &[("x-a", "1"), GOOD[3]]].concat();
        assert!(head(&fields(&late)).is_err());
    }

    #[test]
    fn announced_lengths_are_numbers_that_agree() {
        let length = |values: &[&str]| {
            let own = values.iter().map(|value| ("content-length", *value)).collect::<Vec<_>>();
            content_length(&fields(&[&GOOD[..], &own].concat()))
        };
        assert_eq!((length(&[]), length(&["7"]), length(&["7", "7"])), (Ok(None), Ok(Some(7)), Ok(Some(7))));
        for wrong in [&["x"][..], &["-1"], &["+1"], &[""], &["1", "2"], &["99999999999999999999"]] {
            assert_eq!(length(wrong), Err(Malformed), "{wrong:?}");
        }
    }
}

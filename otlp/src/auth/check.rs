//! What must hold for any query of a caller; for tests and for fuzzing.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use super::{add_params, form_decode};

const TOKEN: HeaderName = HeaderName::from_static("token");

/// The first line as the query of a request: only headers that are asked for change, each to what stands in the query under
/// its name. All of the text as one value: it is the same when it was escaped.
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn params(text: &str) {
    let first = text.split('\n').next().unwrap_or_default();
    if let Ok(uri) = format!("/?{first}").parse::<Uri>() {
        query(uri.query().unwrap_or_default());
    }
    let mut escaped = String::new();
    for byte in text.bytes() {
        // Writing into a string does not fail.
        write!(escaped, "%{byte:02x}").unwrap_or_default();
    }
    let expected = text.parse::<HeaderValue>().unwrap_or(HeaderValue::from_static("old"));
    for form in [&escaped, &escaped.replace("%20", "+")] {
        let mut headers = HeaderMap::from_iter([(TOKEN, HeaderValue::from_static("old"))]);
        add_params(&[TOKEN], &format!("a=b&tok%65n={form}&c"), &mut headers);
        assert_eq!(headers.get_all(TOKEN).iter().collect::<Vec<_>>(), [&expected], "{form}");
    }
}

fn query(query: &str) {
    let old = HeaderMap::from_iter([
        (header::AUTHORIZATION, HeaderValue::from_static("one")),
        (header::AUTHORIZATION, HeaderValue::from_static("two")),
        (TOKEN, HeaderValue::from_static("old")),
        (header::HOST, HeaderValue::from_static("here")),
    ]);
    let mut new = old.clone();
    add_params(&[header::AUTHORIZATION, TOKEN], query, &mut new);
    assert_eq!(new.keys_len(), old.keys_len(), "{query:?}");
    assert_eq!(new.get_all(header::HOST).iter().collect::<Vec<_>>(), ["here"], "{query:?}");
    for name in [header::AUTHORIZATION, TOKEN] {
        let values = |headers: &HeaderMap| headers.get_all(&name).iter().cloned().collect::<Vec<_>>();
        if values(&new) == values(&old) {
            continue;
        }
        let mut pairs = query.split('&').map(form_decode);
        for value in values(&new) {
            let value = String::from_utf8_lossy(value.as_bytes());
            let pair = format!("{name}={value}");
            assert!(
                pairs.any(|p| p == pair || value.is_empty() && p == name.as_str()),
                "{pair:?} of {query:?}"
            );
        }
    }
}

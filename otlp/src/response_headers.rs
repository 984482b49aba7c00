//! Headers that the configuration adds to every answer of a server.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config;

/// Those that say where an answer ends.
const FRAMING: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// Reads the option `response_headers`.
///
/// # Errors
/// Names the header that HTTP cannot carry, or that is not for the configuration to set.
pub fn response_headers(option: &weir_config::HeaderMap) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let headers = config::headers(option).map_err(|e| format!("response_{e}"))?;
    match headers.iter().find(|(name, _)| FRAMING.contains(name)) {
        Some((name, _)) => {
            Err(format!("response_headers: {:?} follows from each answer: leave it out", name.as_str()))
        }
        None => Ok(headers),
    }
}

/// Adds them to an answer. What that says of itself stays, as in the Collector, which sets them before it answers; on what
/// it depends is added to.
pub(crate) fn add(configured: &[(HeaderName, HeaderValue)], answer: &mut HeaderMap) {
    for (name, value) in configured {
        if *name == header::VARY {
            answer.append(name, value.clone());
        } else {
            answer.entry(name).or_insert_with(|| value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_of_itself_stays_and_nothing_is_there_twice() {
        let pair = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let configured = [("content-type", "text/x"), ("vary", "a"), ("x-agent", "weir")].map(pair);
        let mut answer: HeaderMap =
            [("content-type", "text/plain"), ("vary", "origin")].map(pair).into_iter().collect();
        add(&configured, &mut answer);
        let all = |name| answer.get_all(name).iter().map(|v| v.to_str().expect("text")).collect::<Vec<_>>();
        assert_eq!(all("content-type"), ["text/plain"]);
        assert_eq!(all("vary"), ["origin", "a"]);
        assert_eq!(all("x-agent"), ["weir"]);
    }
}

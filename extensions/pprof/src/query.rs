//! What is asked for behind the `?` of a page.

/// Longest profile.
pub(crate) const MAX_SECONDS: u64 = 300;
const DEFAULT_SECONDS: u64 = 30;

/// How long a profile is to be, 30 s where it is not said; `None` for what it cannot be.
pub(crate) fn seconds(query: &str) -> Option<u64> {
    let seconds = option(query, "seconds").map_or(Some(DEFAULT_SECONDS), |text| text.parse().ok());
    seconds.filter(|seconds| (1..=MAX_SECONDS).contains(seconds))
}

/// Whether a page is to be text.
pub(crate) fn debug(query: &str) -> bool {
    option(query, "debug").is_some_and(|level| level != "0")
}

/// The first of that name.
fn option<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// The last line as the query of a page: no profile is longer than it may be, and what is asked for first counts.
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn check(text: &str) {
    let query = text.rsplit('\n').next().unwrap_or_default();
    let asked = seconds(query);
    assert!(asked.is_none_or(|seconds| (1..=MAX_SECONDS).contains(&seconds)), "{query:?}");
    assert_eq!(seconds(&format!("seconds=7&{query}")), Some(7));
    let behind = seconds(&format!("{query}&seconds=7"));
    let is_asked = query.split('&').any(|pair| pair.starts_with("seconds="));
    assert_eq!(behind, if is_asked { asked } else { Some(7) }, "{query:?}");
    assert!(debug(&format!("debug=1&{query}")) && !debug(&format!("debug=0&{query}")));
}

#[cfg(test)]
mod tests {
    #[test]
    fn queries_of_the_corpus_ask_for_no_profile_that_is_too_long() {
        for input in crate::corpus::corpus("url") {
            super::check(&String::from_utf8_lossy(&input));
        }
    }
}

//! Values of the attribute `goroutine.kind`.

use weir_profile::{Census, Kind, Profile};

/// Goroutines by kind, those of client libraries by library.
pub(crate) fn goroutines(census: &Census<'_>) -> Vec<(String, u64)> {
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    let kinds = census.total.iter().filter(|(kind, _)| *kind != Kind::Library);
    let kinds = kinds.map(|(kind, n)| (kind.as_str().to_owned(), count(n)));
    let libraries = census.libraries.iter().map(|(library, n)| (format!("library_{library}"), count(*n)));
    kinds.chain(libraries).collect()
}

/// Goroutines of the profile goroutineleak by kind; never empty, so that none is told apart from not asked.
pub(crate) fn leaked(profile: &Profile) -> Vec<(String, u64)> {
    let counts = goroutines(&Census::take(profile.view(), 0));
    if counts.is_empty() { vec![(Kind::Other.as_str().to_owned(), 0)] } else { counts }
}

/// The kind for a person: `grpc reader`.
pub(crate) fn words(kind: Kind) -> String {
    kind.as_str().replace('_', " ")
}

//! Values of the attribute `goroutine.kind`.

use weir_profile::{Census, Kind};

/// Goroutines by kind, those of client libraries by library.
pub(crate) fn goroutines(census: &Census<'_>) -> Vec<(String, u64)> {
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    let kinds = census.total.iter().filter(|(kind, _)| *kind != Kind::Library);
    let kinds = kinds.map(|(kind, n)| (kind.as_str().to_owned(), count(n)));
    let libraries = census.libraries.iter().map(|(library, n)| (format!("library_{library}"), count(*n)));
    kinds.chain(libraries).collect()
}

/// The kind for a person: `grpc reader`.
pub(crate) fn words(kind: Kind) -> String {
    kind.as_str().replace('_', " ")
}

//! Fixed thresholds, all off by default: for those who know theirs. They can raise ok to suspect, never to leaking.

use super::view::View;
use super::words::count;

/// Fixed limits; each is off when absent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Thresholds {
    /// Sockets in ESTABLISHED towards one target, such as 3,200.
    pub established: Option<f64>,
    /// Goroutines of the process, such as 5,000.
    pub goroutines: Option<f64>,
    /// Goroutines of connections, such as 500.
    pub connection_goroutines: Option<f64>,
    /// Contentions of mutexes per second, such as 100.
    pub mutex_contentions: Option<f64>,
    /// Mean delay of a contention in seconds, such as 0.0005.
    pub mutex_delay: Option<f64>,
    /// Sockets and goroutines of connections differ by no more than this, such as 3, and are more than it.
    pub socket_goroutine_difference: Option<f64>,
}

/// What is exceeded, as sentences.
pub(crate) fn exceeded(view: &View<'_>, thresholds: &Thresholds) -> Vec<String> {
    let census = &view.process.census;
    let known = !census.is_empty();
    let sockets = view.sockets().map(|sockets| sockets.open);
    let connection =
        census.grpc_client_goroutines() + census.grpc_server_goroutines() + census.http_goroutines();
    let mut list = Vec::new();
    let mut over = |value: Option<f64>, limit: Option<f64>, what: &str| {
        if let (Some(value), Some(limit)) = (value, limit)
            && value > limit
        {
            list.push(format!("{} {what}, over the threshold of {}", count(value), count(limit)));
        }
    };
    over(sockets, thresholds.established, "ESTABLISHED");
    over(known.then(|| census.total()), thresholds.goroutines, "goroutines");
    over(known.then_some(connection), thresholds.connection_goroutines, "goroutines of connections");
    let contention = view.process.contention();
    let per_second = contention.map(|c| c.per_second);
    over(per_second, thresholds.mutex_contentions, "mutex contentions per second");
    let micros = |value: Option<f64>| value.map(|seconds| seconds * 1e6);
    over(micros(contention.map(|c| c.delay)), micros(thresholds.mutex_delay), "µs mean mutex delay");
    if let (Some(sockets), Some(limit), true) = (sockets, thresholds.socket_goroutine_difference, known)
        && sockets > limit
        && (sockets - connection).abs() <= limit
    {
        list.push(format!("{} sockets and {} goroutines of connections", count(sockets), count(connection)));
    }
    list
}

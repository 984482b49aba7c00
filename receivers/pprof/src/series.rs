//! A census as series: how many of each resource are open, and by which lines.

use std::collections::{BTreeMap, BTreeSet};

use weir_connection::publish::{CodeSite, SeriesPoint};
use weir_profile::sites::{
    Amount, MOST_SITES, Measure, Opened, by_allocations, by_custom_profile, by_entry, by_label,
};
use weir_profile::{Census, Counts, Kind, Profile, Resource, SiteCandidate, SiteRules};

/// An estimate from sampled memory is published when its standard deviation is at most this part of it: four sampled
/// allocations, 2 MiB at Go's default rate. Below that the line may as well be that of an innocent pool.
const MOST_ERROR: f64 = 0.5;
/// Two samples are enough when there are hardly others: that an innocent line gathers both is unlikely.
const MOST_ERROR_ALONE: f64 = 0.72;
const ALONE: f64 = 0.8;
/// Exact sites that explain less than this part of what is open are joined by estimates for the rest, as in a service
/// that makes only some of its clients through the companion module.
const EXPLAINS: f64 = 0.9;

/// Goroutines that share the function they were started with are a site when they are at least this many and this
/// part of all: the rest are the ordinary workers of a service, which come and go.
const MANY: i64 = 5;
const MANY_OF_ALL: f64 = 0.1;

/// What the stacks of goroutines themselves tell.
#[derive(Clone, Copy)]
enum Started {
    /// Nothing: they run in a library.
    Nothing,
    /// The line at which the program waits, of goroutines of this kind.
    At(Kind),
    /// The function that goroutines of any kind were started with. Not its line: that changes while they work.
    With,
}

/// A resource that goroutines prove.
struct Series {
    resource: &'static str,
    side: &'static str,
    open: fn(&Counts) -> i64,
    /// What the label `weir.site` of goroutines tells of it.
    label: Option<Resource>,
    /// Whether the profile `grpc.clientconn` counts it.
    custom: bool,
    /// What is allocated when one is opened.
    opened: Option<Opened>,
    /// What its own goroutines show of the program.
    started: Started,
}

impl Series {
    const fn client(resource: &'static str, open: fn(&Counts) -> i64) -> Series {
        Series {
            resource,
            side: "client",
            open,
            label: None,
            custom: false,
            opened: None,
            started: Started::Nothing,
        }
    }
}

/// All series, of the whole process each.
///
/// Labels name the targets of clients too, but a client that goes idle loses its labels on two of three goroutines:
/// series by target would end and begin anew in the middle of the very leak that they should show.
const SERIES: [Series; 9] = [
    Series {
        label: Some(Resource::GrpcClient),
        custom: true,
        opened: Some(Opened::GrpcClient),
        ..Series::client("grpc_client", Counts::grpc_clients)
    },
    Series {
        label: Some(Resource::GrpcConnection),
        ..Series::client("grpc_connection", Counts::grpc_connections)
    },
    Series { label: Some(Resource::GrpcStream), ..Series::client("grpc_stream", Counts::grpc_streams) },
    Series {
        label: Some(Resource::HttpConnection),
        opened: Some(Opened::HttpRequest),
        ..Series::client("http_connection", Counts::http_connections)
    },
    Series { opened: Some(Opened::HttpRequest), ..Series::client("http_body", Counts::http_bodies_unread) },
    Series {
        label: Some(Resource::SqlTransaction),
        opened: Some(Opened::Sql),
        ..Series::client("sql_transaction", |c| c.resource(Resource::SqlTransaction))
    },
    Series {
        label: Some(Resource::SqlRows),
        opened: Some(Opened::Sql),
        ..Series::client("sql_rows", |c| c.resource(Resource::SqlRows))
    },
    Series {
        started: Started::At(Kind::SqlWaiting),
        ..Series::client("sql_wait", |c| c.resource(Resource::SqlWait))
    },
    Series { side: "", started: Started::With, ..Series::client("goroutine", Counts::total) },
];

/// The profiles of one scrape.
pub(crate) struct Profiles<'a> {
    pub(crate) goroutine: &'a Profile,
    pub(crate) heap: Option<&'a Profile>,
    pub(crate) clients: Option<&'a Profile>,
}

/// The series of a scrape. One that was never above zero is left out; `seen` remembers those that were.
pub(crate) fn points(
    census: &Census<'_>,
    profiles: &Profiles<'_>,
    rules: &SiteRules,
    seen: &mut BTreeSet<&'static str>,
) -> Vec<SeriesPoint> {
    let mut points = Vec::new();
    for series in &SERIES {
        let open = (series.open)(&census.total).max(0);
        if open > 0 {
            seen.insert(series.resource);
        } else if !seen.contains(series.resource) {
            continue;
        }
        points.push(SeriesPoint {
            resource: series.resource.to_owned(),
            side: series.side.to_owned(),
            open: open.unsigned_abs(),
            by_site: sites(series, open, census, profiles, rules),
            ..SeriesPoint::default()
        });
    }
    points
}

/// Open by line: what is known exactly, then estimates for what that leaves open, then where goroutines were started.
fn sites(
    series: &Series,
    open: i64,
    census: &Census<'_>,
    profiles: &Profiles<'_>,
    rules: &SiteRules,
) -> Vec<(CodeSite, u64, &'static str)> {
    let custom = profiles.clients.filter(|_| series.custom).map(|p| by_custom_profile(p.view(), rules));
    let mut candidates = custom.unwrap_or_default();
    if candidates.is_empty() {
        candidates = series.label.map(|resource| by_label(census, resource)).unwrap_or_default();
    }
    let explained: i64 = candidates.iter().map(|c| count(c, open)).fold(0, i64::saturating_add);
    if (explained as f64) < EXPLAINS * open as f64 {
        let known: BTreeSet<_> = candidates.iter().map(|c| (c.file.clone(), c.line)).collect();
        let estimates = series.opened.zip(profiles.heap).map(|(opened, heap)| estimates(heap, opened, rules));
        let new = estimates.unwrap_or_default().into_iter();
        candidates.extend(new.filter(|c| !known.contains(&(c.file.clone(), c.line))));
    }
    match series.started {
        Started::Nothing => {}
        Started::At(kind) => candidates.extend(by_entry(profiles.goroutine.view(), &[kind], rules)),
        Started::With => candidates.extend(started_with(profiles.goroutine, open, rules)),
    }
    let published = candidates.iter().map(|c| (site(c), count(c, open).unsigned_abs(), c.source.as_str()));
    published.filter(|(_, count, _)| *count > 0).take(MOST_SITES).collect()
}

/// Lines by memory in use, else by all that was ever allocated.
fn estimates(heap: &Profile, opened: Opened, rules: &SiteRules) -> Vec<SiteCandidate> {
    let of = |measure| {
        let mut sites = by_allocations(heap.view(), opened, measure, rules);
        sites.retain(is_trusted);
        sites
    };
    let in_use = of(Measure::InUse);
    if in_use.is_empty() { of(Measure::Allocated) } else { in_use }
}

/// The functions that many goroutines were started with.
fn started_with(goroutine: &Profile, open: i64, rules: &SiteRules) -> Vec<SiteCandidate> {
    let mut functions: BTreeMap<String, SiteCandidate> = BTreeMap::new();
    for site in by_entry(goroutine.view(), &Kind::ALL, rules) {
        let count = count(&site, open);
        let whole = SiteCandidate { line: 0, amount: Amount::Count(0), ..site };
        let sum = functions.entry(whole.function.clone()).or_insert(whole);
        if let Amount::Count(sum) = &mut sum.amount {
            *sum = sum.saturating_add(count);
        }
    }
    let mut functions: Vec<_> = functions.into_values().collect();
    functions.retain(|f| count(f, open) >= MANY.max((MANY_OF_ALL * open as f64) as i64));
    functions.sort_by_key(|f| std::cmp::Reverse(f.amount));
    functions
}

/// Whether it rests on more than chance.
fn is_trusted(candidate: &SiteCandidate) -> bool {
    let error = candidate.relative_error;
    error <= MOST_ERROR || error <= MOST_ERROR_ALONE && candidate.share >= ALONE
}

/// How many of the resource: counted, or the line's share of the memory as a share of what the goroutines count
/// exactly.
fn count(candidate: &SiteCandidate, open: i64) -> i64 {
    match candidate.amount {
        Amount::Count(count) => count.max(0),
        Amount::Bytes(_) => (candidate.share * open as f64).round() as i64,
    }
}

fn site(candidate: &SiteCandidate) -> CodeSite {
    CodeSite {
        file: candidate.file.clone(),
        line: i64::from(candidate.line),
        function: candidate.function.clone(),
    }
}

#[cfg(test)]
mod tests {
    use weir_profile::SiteSource;
    use weir_profile::sites::sampled;

    use super::*;

    /// Memory of a line of which `objects` of 4 KiB are in use, sampled at Go's rate.
    fn line(objects: i64, share: f64) -> SiteCandidate {
        let samples = sampled(objects, objects * 4096, 512 << 10);
        SiteCandidate {
            file: "orders.go".to_owned(),
            line: 41,
            function: "main.dial".to_owned(),
            amount: Amount::Bytes(objects * 4096),
            share,
            source: SiteSource::Heap,
            relative_error: 1.0 / samples.max(1.0).sqrt(),
            uncertainty: String::new(),
        }
    }

    #[test]
    fn a_line_needs_four_samples_or_two_almost_alone() {
        assert!(!is_trusted(&line(500, 0.7)) && is_trusted(&line(520, 0.7)));
        assert!(!is_trusted(&line(200, 1.0)) && is_trusted(&line(260, 1.0)));
    }

    #[test]
    fn memory_is_a_share_of_what_goroutines_count() {
        assert_eq!(count(&line(5000, 0.25), 200), 50);
        assert_eq!(count(&line(5000, 0.001), 200), 0);
        let exact = SiteCandidate { amount: Amount::Count(7), ..line(1, 0.5) };
        assert_eq!(count(&exact, 200), 7);
    }
}

//! Sites from heap and allocs profiles: the stacks of what was allocated while something was being opened.

use std::collections::HashMap;

use super::rules::Scope;
use super::{Amount, SiteCandidate, SiteRules, SiteSource, largest, share};
use crate::View;
use crate::census::add;
use crate::profile::Frame;
use crate::symbol::unvendored;

/// Go's `runtime.MemProfileRate` unless a program sets it, bytes.
const DEFAULT_PERIOD: i64 = 512 << 10;

/// What was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opened {
    /// `grpc.NewClient`, `Dial`, `DialContext`.
    GrpcClient,
    /// `net/http`: a request made or sent.
    HttpRequest,
    /// `net.Dial` and `tls.Dial` in all their forms.
    Socket,
    /// `database/sql`: a pool opened, a query or transaction begun.
    Sql,
}

/// Which memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// In use at the last garbage collection: what leaks stays here.
    InUse,
    /// Allocated since the start: what is opened often, leaked or not.
    Allocated,
}

impl Measure {
    fn types(self) -> (&'static str, &'static str, SiteSource) {
        match self {
            Self::InUse => ("inuse_objects", "inuse_space", SiteSource::Heap),
            Self::Allocated => ("alloc_objects", "alloc_space", SiteSource::Allocs),
        }
    }
}

/// Functions by which things are opened: package and names, where a `*` stands for any ending.
fn entries(opened: Opened) -> &'static [(&'static str, &'static [&'static str])] {
    match opened {
        Opened::GrpcClient => &[("google.golang.org/grpc", &["NewClient", "Dial", "DialContext"])],
        Opened::HttpRequest => &[(
            "net/http",
            &["NewRequest*", "(*Client).*", "(*Transport).RoundTrip", "Get", "Head", "Post", "PostForm"],
        )],
        Opened::Socket => {
            &[("net", &["Dial*", "(*Dialer).Dial*"]), ("crypto/tls", &["Dial*", "(*Dialer).Dial*"])]
        }
        Opened::Sql => &[("database/sql", &["Open", "OpenDB", "(*DB).*", "(*Conn).*", "(*Stmt).*"])],
    }
}

fn is_entry(frame: &Frame<'_>, opened: Opened) -> bool {
    let package = unvendored(frame.package);
    let name = frame.local_name();
    entries(opened).iter().filter(|(path, _)| package == *path).any(|(_, names)| {
        names.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern,
        })
    })
}

/// Sites from a heap or allocs profile, or from its growth, ranked by bytes.
///
/// A ranking, not a count. Go samples one allocation in 512 KiB, and of a gRPC client about 4 KiB are allocated below
/// `NewClient`, so that a site needs some 2,600 clients before its share can be trusted within a third, and 50 MiB for
/// a tenth. Every candidate carries the error that its own samples leave.
pub fn by_allocations(
    view: View<'_>,
    opened: Opened,
    measure: Measure,
    rules: &SiteRules,
) -> Vec<SiteCandidate> {
    let profile = view.profile();
    let (objects, space, source) = measure.types();
    let (Some(objects), Some(space)) = (profile.type_index(objects), profile.type_index(space)) else {
        return Vec::new();
    };
    let is_entry = profile.by_name(|frame| is_entry(&frame, opened));
    let roles = rules.roles(profile, Scope::Program);
    let mut sums: HashMap<u32, Sum> = HashMap::new();
    let mut total = 0;
    for sample in view.samples().filter(|sample| sample.value(space) != 0) {
        let stack = profile.stacks.get(sample.stack().0);
        // The outermost entry: a library's dial may call others.
        let Some(entry) = stack.iter().rposition(|&id| is_entry.get(id as usize) == Some(&true)) else {
            continue;
        };
        let callers = stack.get(entry + 1..).unwrap_or(&[]);
        let (count, bytes) = (sample.value(objects), sample.value(space));
        add(&mut total, bytes);
        if let Some(site) = roles.site(callers.iter()) {
            let sum = sums.entry(site).or_default();
            add(&mut sum.bytes, bytes);
            sum.samples += sampled(count, bytes, profile.period());
        }
    }
    let positive: f64 = sums.values().map(|sum| sum.bytes.max(0) as f64).sum();
    let whole = positive.max(total as f64);
    let exact = profile.period() == 1;
    let candidate = |(id, sum): (u32, Sum)| {
        let frame = profile.frame(id);
        let relative_error = if exact { 0.0 } else { sum.relative_error() };
        SiteCandidate {
            file: frame.file.to_owned(),
            line: frame.line,
            function: frame.function.to_owned(),
            amount: Amount::Bytes(sum.bytes),
            share: share(sum.bytes as f64, whole),
            source,
            relative_error,
            uncertainty: if exact {
                "exact: every allocation was recorded".to_owned()
            } else {
                sum.uncertainty()
            },
        }
    };
    largest(profile, sums, |sum| sum.bytes).into_iter().map(candidate).collect()
}

#[derive(Default)]
struct Sum {
    bytes: i64,
    samples: f64,
}

impl Sum {
    /// Samples arrive at random, so that their number has the standard deviation of its square root.
    fn relative_error(&self) -> f64 {
        if self.samples > 1.0 { 1.0 / self.samples.sqrt() } else { 1.0 }
    }

    fn uncertainty(&self) -> String {
        let percent = 100.0 * self.relative_error();
        let rank = if percent > 33.0 { "too few to rank by" } else { "a ranking, not a count" };
        format!("± {percent:.0} %, from {:.0} sampled allocations: {rank}", self.samples)
    }
}

/// How many samples an estimate of `objects` objects with `bytes` bytes together rests on, at one sample in `period`
/// bytes.
///
/// Go multiplies what it sampled of objects of a size by `1 / (1 - exp(-size / period))` before it writes a profile in
/// protobuf form (runtime/pprof, scaleHeapSample); this undoes it. Negative for shrinkage. A period of 0 (unknown) is
/// taken as Go's default.
pub fn sampled(objects: i64, bytes: i64, period: i64) -> f64 {
    if objects == 0 || bytes == 0 {
        return 0.0;
    }
    if period == 1 {
        return objects as f64;
    }
    let period = if period > 0 { period } else { DEFAULT_PERIOD };
    let size = (bytes as f64 / objects as f64).abs();
    objects as f64 * -(-size / period as f64).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::Snapshot;
    use crate::testdata::{Writer, expected, recorded, site};

    fn lines(sites: &[SiteCandidate]) -> Vec<String> {
        sites.iter().map(|site| format!("{}:{}", site.file, site.line)).collect()
    }

    fn bytes(site: &SiteCandidate) -> f64 {
        match site.amount {
            Amount::Bytes(bytes) => bytes as f64,
            Amount::Count(_) => f64::NAN,
        }
    }

    #[test]
    fn grpc_sites_are_the_callers_lines_in_order_of_their_bytes() {
        let profile = recorded("unused-2.heap");
        for measure in [Measure::InUse, Measure::Allocated] {
            let sites = by_allocations(profile.view(), Opened::GrpcClient, measure, &SiteRules::default());
            assert_eq!(lines(&sites), [site("orders"), site("stock")]);
            assert_eq!(sites[0].relative_error, 0.0);
            // 15 clients to 5; the first has in addition what is made once in a process.
            assert!((0.72..0.80).contains(&sites[0].share), "{}", sites[0].share);
        }
    }

    #[test]
    fn growth_names_only_the_site_that_grew() {
        let (first, second) = (recorded("unused-1.heap"), recorded("unused-2.heap"));
        let delta = Snapshot::of(&first, 10_000).growth(&second).unwrap();
        let sites = by_allocations(delta.view(), Opened::GrpcClient, Measure::InUse, &SiteRules::default());
        assert_eq!(lines(&sites), [site("stock")]);
        assert_eq!((sites[0].function.as_str(), sites[0].share), ("main.dialStock", 1.0));
    }

    #[test]
    fn sampled_sites_are_within_the_error_that_they_state() {
        let profile = recorded("sampled.heap");
        assert_eq!(profile.period(), 524_288);
        let sites = by_allocations(profile.view(), Opened::GrpcClient, Measure::InUse, &SiteRules::default());
        assert_eq!(lines(&sites), [site("orders"), site("stock")]);
        for (site, noted) in sites.iter().zip(["bytes.orders", "bytes.stock"]) {
            // What is below NewClient is less than what a client makes in all, the rest runs on its goroutines.
            let all: f64 = expected("sampled", noted).parse().unwrap();
            let error = site.relative_error * bytes(site);
            assert!(bytes(site) - 2.0 * error < all, "{} of {all}", bytes(site));
            assert!(bytes(site) + 2.0 * error > all / 2.0, "{} of {all}", bytes(site));
            assert!((0.05..0.6).contains(&site.relative_error), "{}", site.relative_error);
            assert!(site.uncertainty.starts_with("± "), "{}", site.uncertainty);
        }
        assert!(sites[0].relative_error < sites[1].relative_error);
    }

    #[test]
    fn requests_and_dials_are_traced_to_the_program() {
        let http = recorded("http.heap");
        let sites = by_allocations(http.view(), Opened::HttpRequest, Measure::InUse, &SiteRules::default());
        assert!(lines(&sites[..2]).contains(&site("request")) && lines(&sites[..2]).contains(&site("do")));
        let raw = recorded("raw.heap");
        let sites = by_allocations(raw.view(), Opened::Socket, Measure::InUse, &SiteRules::default());
        assert_eq!(lines(&sites)[0], site("dial"));
        assert!(by_allocations(raw.view(), Opened::Sql, Measure::InUse, &SiteRules::default()).is_empty());
        let goroutines = recorded("raw.goroutine");
        assert!(
            by_allocations(goroutines.view(), Opened::Socket, Measure::InUse, &SiteRules::default())
                .is_empty()
        );
    }

    #[test]
    fn calls_through_client_libraries_belong_to_the_program() {
        let mut writer = Writer::new(&[("inuse_objects", "count"), ("inuse_space", "bytes")]);
        let dial = writer.function("google.golang.org/grpc.NewClient", "clientconn.go", 1);
        let etcd = writer.function("go.etcd.io/etcd/client/v3.New", "client.go", 2);
        let query = writer.function("database/sql.(*DB).QueryContext", "sql.go", 3);
        let connect = writer.function("net.(*Dialer).DialContext", "dial.go", 4);
        let [lock, list] = ["main.lock", "main.list"].map(|name| writer.function(name, "main.go", 5));
        writer.sample(&[dial, etcd, lock], &[3, 300], &[]);
        writer.sample(&[connect, query, list], &[1, 100], &[]);
        let profile = writer.profile();
        let found = |opened| {
            let sites = by_allocations(profile.view(), opened, Measure::InUse, &SiteRules::default());
            sites.into_iter().map(|site| (site.function, site.amount)).collect::<Vec<_>>()
        };
        assert_eq!(found(Opened::GrpcClient), [("main.lock".to_owned(), Amount::Bytes(300))]);
        assert_eq!(found(Opened::Sql), [("main.list".to_owned(), Amount::Bytes(100))]);
        assert_eq!(found(Opened::Socket), found(Opened::Sql));
        assert!(found(Opened::HttpRequest).is_empty());
    }

    #[test]
    fn scaling_is_undone_to_the_number_of_samples() {
        // As Go wrote them at the default rate: one sample of 208 bytes and one of 1 MiB.
        assert!((sampled(2521, 524_392, 524_288) - 1.0).abs() < 0.01);
        let large = 1.0 / -(-2.0_f64).exp_m1();
        assert!((sampled(100, (100 * 2) << 19, 524_288) - 100.0 / large).abs() < 1e-9);
        assert_eq!((sampled(7, 70, 1), sampled(0, 0, 524_288)), (7.0, 0.0));
        assert_eq!(sampled(2521, 524_392, 0), sampled(2521, 524_392, 524_288));
        assert!(sampled(-2521, -524_392, 524_288) < -0.9);
    }
}

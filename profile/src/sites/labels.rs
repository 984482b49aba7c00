//! Sites from the label `weir.site`.

use std::cmp::Reverse;

use super::{Amount, MOST_SITES, SiteCandidate, SiteSource, share};
use crate::census::{Census, Counts, Kind, Resource};

/// Sites from the label `weir.site` on goroutines, for one resource.
///
/// Goroutines inherit labels, so each connection counts exactly, with one exception. A ClientConn that goes idle loses
/// the label on two of its three serializers, because gRPC's timer starts them anew. What is missing is added back from
/// the serializers without a label, to the sites whose clients have no labelled connection; where that was necessary the
/// candidate says between which bounds the count lies.
pub fn by_label(census: &Census<'_>, resource: Resource) -> Vec<SiteCandidate> {
    let sites = census.by_site();
    let lost = match resource {
        Resource::GrpcClient => Lost::of(census, &sites),
        _ => Lost::NOTHING,
    };
    let mut counts: Vec<(&str, Count)> =
        sites.iter().map(|(site, counts)| (*site, lost.count(counts, resource))).collect();
    // Where counts of sites were completed they may exceed the rounded total of the process.
    let labelled = counts.iter().map(|(_, count)| count.best).sum::<i64>();
    let total = census.total.resource(resource).max(labelled);
    let candidate = |(site, count): (&str, Count)| {
        let (file, line) = split_site(site);
        SiteCandidate {
            file: file.to_owned(),
            line,
            function: String::new(),
            amount: Amount::Count(count.best),
            share: share(count.best as f64, total as f64),
            source: SiteSource::Label,
            relative_error: count.relative_error(),
            uncertainty: count.uncertainty(),
        }
    };
    counts.retain(|(_, count)| count.best > 0);
    counts.sort_by_key(|(site, count)| (Reverse(count.best), split_site(site)));
    counts.truncate(MOST_SITES);
    counts.into_iter().map(candidate).collect()
}

/// `file:line`; a label of another form is all file.
fn split_site(site: &str) -> (&str, u32) {
    let split = site.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?)));
    split.unwrap_or((site, 0))
}

/// Clients whose label is on one serializer only, all sites together.
#[derive(Clone, Copy)]
struct Lost {
    /// Their most likely number.
    best: i64,
    /// The most that there can be.
    most: i64,
    /// Serializers that may be the labelled one of such a client.
    candidates: i64,
}

impl Lost {
    const NOTHING: Self = Self { best: 0, most: 0, candidates: 0 };

    /// Of `unlabelled` serializers a client that went idle has two and a client that never had labels has three. An
    /// unlabelled reader belongs to one that never had labels, or to one that went idle and was called again.
    fn of(census: &Census<'_>, sites: &[(&str, Counts)]) -> Self {
        let unlabelled =
            |kind| census.total[kind] - sites.iter().map(|(_, counts)| counts[kind]).sum::<i64>();
        let serializers = unlabelled(Kind::GrpcSerializer).max(0);
        let readers = unlabelled(Kind::GrpcReader).max(0);
        let candidates = sites.iter().map(|(_, counts)| Self::candidates(counts)).sum();
        let most = (serializers / 2).min(candidates);
        let likely = if serializers >= 3 * readers {
            (serializers - 3 * readers) / 2
        } else {
            // More readers than clients of three: this many readers have two.
            (3 * readers - serializers).min(readers)
        };
        Self { best: likely.min(most), most, candidates }
    }

    /// Labelled serializers beyond those of connected clients.
    fn candidates(counts: &Counts) -> i64 {
        (counts[Kind::GrpcSerializer] - 3 * counts[Kind::GrpcReader]).max(0)
    }

    fn count(&self, counts: &Counts, resource: Resource) -> Count {
        let least = counts.resource(resource);
        if self.most == 0 {
            return Count { best: least, least, most: least };
        }
        let candidates = Self::candidates(counts);
        let clients = |lost: f64| (counts[Kind::GrpcSerializer] as f64 + 2.0 * lost) / 3.0;
        let lost = self.best as f64 * candidates as f64 / self.candidates as f64;
        let most = clients(self.most.min(candidates) as f64).round() as i64;
        let best = clients(lost).round() as i64;
        Count { best: best.max(least), least, most: most.max(best).max(least) }
    }
}

/// A count and its bounds.
struct Count {
    best: i64,
    least: i64,
    most: i64,
}

impl Count {
    fn relative_error(&self) -> f64 {
        let spread = (self.best - self.least).max(self.most - self.best);
        if self.best > 0 { (spread as f64 / self.best as f64).min(1.0) } else { 0.0 }
    }

    fn uncertainty(&self) -> String {
        let Self { least, most, .. } = self;
        if least == most {
            return "exact: every labelled goroutine counts".to_owned();
        }
        format!(
            "between {least} and {most}: clients that went idle keep the label on one of three goroutines"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testdata::{Writer, recorded, site};

    fn sites(name: &str, resource: Resource) -> Vec<(String, Amount, f64)> {
        let profile = recorded(name);
        let census = Census::take(profile.view(), 100);
        let found = by_label(&census, resource);
        found.into_iter().map(|s| (format!("{}:{}", s.file, s.line), s.amount, s.relative_error)).collect()
    }

    #[test]
    fn connected_clients_count_exactly_beside_unlabelled_ones() {
        let expected = [(site("orders"), Amount::Count(40), 0.0), (site("stock"), Amount::Count(10), 0.0)];
        assert_eq!(sites("grpc-2.goroutine", Resource::GrpcClient), expected);
        assert_eq!(sites("grpc-2.goroutine", Resource::GrpcConnection), expected);
        assert!(sites("grpc-2.goroutine", Resource::GrpcStream).is_empty());
    }

    #[test]
    fn shares_count_what_has_no_label_too() {
        let profile = recorded("grpc-2.goroutine");
        let found = by_label(&Census::take(profile.view(), 100), Resource::GrpcClient);
        assert_eq!(found[0].share, 40.0 / 55.0);
    }

    #[test]
    fn unused_and_unconnected_clients_count_exactly() {
        assert_eq!(
            sites("unused.goroutine", Resource::GrpcClient),
            [(site("orders"), Amount::Count(15), 0.0)]
        );
        assert_eq!(
            sites("refused.goroutine", Resource::GrpcClient),
            [(site("orders"), Amount::Count(6), 0.0)]
        );
    }

    #[test]
    fn idle_clients_that_lost_labels_are_completed_and_say_so() {
        let found = sites("idle.goroutine", Resource::GrpcClient);
        let lines: Vec<_> = found.iter().map(|(line, amount, _)| (line.clone(), *amount)).collect();
        assert_eq!(lines, [(site("orders"), Amount::Count(12)), (site("stock"), Amount::Count(6))]);
        assert!(found.iter().all(|&(.., error)| error > 0.5));
        let profile = recorded("idle.goroutine");
        let said = by_label(&Census::take(profile.view(), 100), Resource::GrpcClient).remove(0).uncertainty;
        assert!(said.starts_with("between 4 and 12"), "{said}");
    }

    #[test]
    fn clients_that_were_idle_and_called_again_are_completed_too() {
        let found = sites("woken.goroutine", Resource::GrpcClient);
        let lines: Vec<_> = found.iter().map(|(line, amount, _)| (line.clone(), *amount)).collect();
        assert_eq!(lines, [(site("orders"), Amount::Count(12)), (site("stock"), Amount::Count(6))]);
    }

    #[test]
    fn unused_clients_beside_unlabelled_ones_keep_their_count_and_get_bounds() {
        let mut writer = Writer::new(&[("goroutine", "count")]);
        let run =
            writer.function("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run", "s.go", 1);
        let reader =
            writer.function("google.golang.org/grpc/internal/transport.(*http2Client).reader", "r.go", 1);
        writer.sample(&[run], &[30], &[("weir.site", "a.go:1")]);
        writer.sample(&[run], &[12], &[]);
        writer.sample(&[reader], &[4], &[]);
        let profile = writer.profile();
        let found = by_label(&Census::take(profile.view(), 100), Resource::GrpcClient).remove(0);
        assert_eq!(found.amount, Amount::Count(10));
        assert!(found.uncertainty.starts_with("between 10 and 14"), "{}", found.uncertainty);
    }

    #[test]
    fn labels_of_another_form_are_kept_whole() {
        assert_eq!(split_site("C:/a b.go:12"), ("C:/a b.go", 12));
        assert_eq!(split_site("somewhere"), ("somewhere", 0));
        assert_eq!(split_site("a:b"), ("a:b", 0));
    }
}

//! Which line made the growth: counts per site now against those from before.

use super::input::{MAX_SITES, SiteKey, SiteSource};
use std::collections::HashMap;
use weir_connection::report::Site;

/// Counts per site of one series, and what they were before the growth. At most [`MAX_SITES`] sites.
#[derive(Debug, Clone, Default)]
pub(crate) struct SiteBook {
    now: HashMap<SiteKey, f64>,
    recent: HashMap<SiteKey, f64>,
    base: HashMap<SiteKey, f64>,
    age: u32,
}

/// Blocks after which the snapshots rotate, so that the base is one to two of these old.
const ROTATE: u32 = 12;

impl SiteBook {
    /// Takes in the counts of an observation; an empty list says nothing.
    pub(crate) fn set(&mut self, counts: &[(SiteKey, f64)]) {
        if counts.is_empty() {
            return;
        }
        self.now.clear();
        for (site, count) in counts.iter().take(MAX_SITES) {
            *self.now.entry(site.clone()).or_default() += count;
        }
    }

    /// One block is over; while something `grows` the base stays, so that it remains from before the growth.
    pub(crate) fn block_closed(&mut self, grows: bool) {
        self.age += 1;
        if self.age >= ROTATE && !grows {
            self.age = 0;
            self.base = std::mem::replace(&mut self.recent, self.now.clone());
        }
    }

    /// Growth per site since the base, of what grew.
    pub(crate) fn growth(&self) -> impl Iterator<Item = (&SiteKey, f64)> {
        self.now.iter().filter_map(|(site, count)| {
            let growth = count - self.base.get(site).copied().unwrap_or(0.0);
            (growth > 0.0).then_some((site, growth))
        })
    }
}

/// The sites with their shares of the growth, largest first, from the most trusted kind of source that saw growth.
pub(crate) fn ranked<'a>(books: impl Iterator<Item = &'a SiteBook> + Clone) -> Vec<Site> {
    let Some(best) = books.clone().flat_map(SiteBook::growth).map(|(site, _)| site.source).min() else {
        return Vec::new();
    };
    // One book only: the same growth seen by two series must not count twice.
    let chosen = books.filter_map(|book| {
        let sites: Vec<_> = book.growth().filter(|(site, _)| site.source == best).collect();
        let total: f64 = sites.iter().map(|(_, growth)| growth).sum();
        (total > 0.0).then_some((sites, total))
    });
    let Some((mut sites, total)) = chosen.max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Vec::new();
    };
    sites.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    sites
        .into_iter()
        .map(|(site, growth)| Site {
            file: site.file.clone(),
            line: site.line,
            function: site.function.clone(),
            share: growth / total,
            source: site.source.name().to_owned(),
            uncertainty: uncertainty(site.source).to_owned(),
            ..Site::default()
        })
        .collect()
}

fn uncertainty(source: SiteSource) -> &'static str {
    match source {
        SiteSource::Events | SiteSource::Label | SiteSource::CustomProfile => "",
        SiteSource::Heap => {
            "from the sampled heap profile: the share is approximate, small sites may be absent"
        }
        SiteSource::Allocs => "from sampled allocations: they also count what was given back",
        SiteSource::CreatedBy => "the line that started the goroutines: the call itself may be further up",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(source: SiteSource, line: i64) -> SiteKey {
        SiteKey { source, file: "orders.go".into(), line, function: "dial".into() }
    }

    #[test]
    fn the_site_that_grew_wins_over_the_one_that_is_merely_large() {
        let mut book = SiteBook::default();
        let pool = site(SiteSource::Events, 10);
        let leak = site(SiteSource::Events, 41);
        for _ in 0..30 {
            book.set(&[(pool.clone(), 200.0)]);
            book.block_closed(false);
        }
        book.set(&[(pool, 201.0), (leak, 30.0)]);
        let sites = ranked(std::iter::once(&book));
        assert_eq!((sites[0].line, sites.len()), (41, 2));
        assert!((sites[0].share - 30.0 / 31.0).abs() < 1e-9);
        assert_eq!(sites[0].uncertainty, "");
    }

    #[test]
    fn an_exact_source_is_preferred_and_a_sampled_one_says_so() {
        let (mut exact, mut sampled) = (SiteBook::default(), SiteBook::default());
        sampled.set(&[(site(SiteSource::Heap, 7), 90.0)]);
        assert!(ranked(std::iter::once(&sampled))[0].uncertainty.contains("approximate"));
        exact.set(&[(site(SiteSource::Label, 41), 3.0)]);
        let sites = ranked([&sampled, &exact].into_iter());
        assert_eq!((sites.len(), sites[0].line), (1, 41));
    }

    #[test]
    fn more_sites_than_the_limit_are_ignored() {
        let mut book = SiteBook::default();
        let many: Vec<_> = (0..100).map(|line| (site(SiteSource::Events, line), 1.0)).collect();
        book.set(&many);
        assert_eq!(ranked(std::iter::once(&book)).len(), MAX_SITES);
    }
}

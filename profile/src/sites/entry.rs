//! Sites from the stacks of goroutines themselves: the last resort.

use std::collections::HashMap;

use super::rules::Scope;
use super::{SiteCandidate, SiteRules, SiteSource, rank_counts};
use crate::View;
use crate::census::{Classes, Kind, add, goroutine_value};

/// Sites of the goroutines of `kinds`: of each stack the program's outermost frame, which is the function the goroutine
/// was started with, and whose closure name (`main.Subscribe.func1`) often tells who started it.
///
/// Counts are exact; that the line opened anything is a guess. The protobuf form has no "created by", and connections
/// of gRPC, net/http and most client libraries run on goroutines without a frame of the program: for those this finds
/// nothing.
pub fn by_entry(view: View<'_>, kinds: &[Kind], rules: &SiteRules) -> Vec<SiteCandidate> {
    let profile = view.profile();
    let classes = Classes::of(profile);
    let value = goroutine_value(view);
    let roles = rules.roles(profile, Scope::Program);
    let mut counts = HashMap::new();
    let mut total = 0;
    for sample in view.samples() {
        if !kinds.contains(&classes.get(sample.stack()).kind) {
            continue;
        }
        let count = sample.value(value);
        add(&mut total, count);
        if let Some(site) = roles.site(profile.stacks.get(sample.stack().0).iter().rev()) {
            add(counts.entry(site).or_insert(0), count);
        }
    }
    let uncertainty = "the line at which the goroutine runs, hardly ever the one that opened the connection";
    rank_counts(profile, counts, total, SiteSource::CreatedBy, uncertainty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sites::Amount;
    use crate::testdata::{recorded, site};

    #[test]
    fn raw_readers_are_found_where_they_run() {
        let profile = recorded("raw.goroutine");
        let sites = by_entry(profile.view(), &[Kind::RawReader], &SiteRules::default());
        let found: Vec<_> = sites.iter().map(|s| (s.function.as_str(), s.amount)).collect();
        let queue = "example.test/shop/queue.v2.receive";
        assert_eq!(found, [(queue, Amount::Count(4)), ("main.readTicker", Amount::Count(3))]);
        assert_eq!(format!("{}:{}", sites[1].file, sites[1].line), site("ticker"));
        assert!(sites[0].uncertainty.contains("hardly ever"));
    }

    #[test]
    fn library_goroutines_without_a_frame_of_the_program_have_no_site() {
        let profile = recorded("http.goroutine");
        assert!(by_entry(profile.view(), &[Kind::HttpReaderInSelect], &SiteRules::default()).is_empty());
    }
}

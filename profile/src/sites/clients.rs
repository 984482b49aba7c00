//! Sites from the custom profile `grpc.clientconn`.

use std::collections::HashMap;

use super::rules::Scope;
use super::{SiteCandidate, SiteRules, SiteSource, rank_counts};
use crate::View;
use crate::census::add;

/// Sites from the profile `grpc.clientconn` of the companion module, which holds the stack of every `NewClient` whose
/// client is not closed. Exact.
pub fn by_custom_profile(view: View<'_>, rules: &SiteRules) -> Vec<SiteCandidate> {
    let profile = view.profile();
    let roles = rules.roles(profile, Scope::Companion);
    let mut counts = HashMap::new();
    let mut total = 0;
    for sample in view.samples() {
        let count = sample.value(0);
        add(&mut total, count);
        if let Some(site) = roles.site(profile.stacks.get(sample.stack().0).iter()) {
            add(counts.entry(site).or_insert(0), count);
        }
    }
    rank_counts(
        profile,
        counts,
        total,
        SiteSource::CustomProfile,
        "exact: every client made through the module counts",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sites::Amount;
    use crate::testdata::{recorded, site};

    #[test]
    fn the_lines_of_the_recorded_clients_are_found_with_exact_counts() {
        let profile = recorded("grpc-2.clientconn");
        let sites = by_custom_profile(profile.view(), &SiteRules::default());
        let found: Vec<_> = sites.iter().map(|s| (format!("{}:{}", s.file, s.line), s.amount)).collect();
        assert_eq!(found, [(site("orders"), Amount::Count(40)), (site("stock"), Amount::Count(10))]);
        assert_eq!(sites[0].function, "main.dialOrders");
        assert_eq!((sites[0].share, sites[0].relative_error), (0.8, 0.0));
        assert_eq!(sites[0].source.as_str(), "custom_profile");
    }

    #[test]
    fn a_helper_that_the_rules_do_not_know_is_the_site() {
        let profile = recorded("grpc-2.clientconn");
        let rules = SiteRules { helper_packages: Vec::new(), ..SiteRules::default() };
        let functions: Vec<_> =
            by_custom_profile(profile.view(), &rules).into_iter().map(|s| s.function).collect();
        assert_eq!(functions, ["main.dialOrders", "example.test/shop/grpcutil.Dial"]);
        let rules = SiteRules { ignored_functions: vec!["main.dialOrders".into()], ..SiteRules::default() };
        let functions: Vec<_> =
            by_custom_profile(profile.view(), &rules).into_iter().map(|s| s.function).collect();
        assert_eq!(functions, ["main.loadOrder", "main.dialStock"]);
    }
}

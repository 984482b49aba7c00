//! Names with `*` and `?`, as the options of `service::telemetry` take them.

use weir_config::telemetry::IncludeExclude;

/// Whether a name is among those that are included and not excluded.
pub(crate) fn selects(list: &IncludeExclude, name: &str) -> bool {
    let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, name));
    (list.included.is_empty() || any(&list.included)) && !any(&list.excluded)
}

/// Whether a name fits a pattern: `*` stands for any characters, `?` for any one. Time is at most the product of the
/// lengths.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last `*` stood and how far it reaches.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    (p, n) = (at + 1, reach + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        for (pattern, name, fits) in [
            ("a.*", "a.b", true),
            ("*failed_*", "otelcol_exporter_send_failed_spans", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_excluded_is_not_selected() {
        let list = IncludeExclude { included: vec!["service.*".into()], excluded: vec!["*.name".into()] };
        assert!(selects(&list, "service.version"));
        assert!(!selects(&list, "service.name") && !selects(&list, "host.id"));
    }
}

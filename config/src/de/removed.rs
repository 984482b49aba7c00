//! Options that went away, and what to write instead.

use crate::Path;

/// The end of the path of an option that no longer exists, and the cure.
const REMOVED: &[(&[&str], &str)] = &[
    (&["sending_queue", "blocking"], "`blocking` went away in 0.129: write `block_on_overflow`"),
    (
        &["batch", "min_size_items"],
        "`min_size_items` went away in 0.123: write `min_size`, with `sizer: items`",
    ),
    (
        &["batch", "max_size_items"],
        "`max_size_items` went away in 0.123: write `max_size`, with `sizer: items`",
    ),
    (&["min_size_items"], "`min_size_items` went away in 0.123: write `min_size`, with `sizer: items`"),
    (&["max_size_items"], "`max_size_items` went away in 0.123: write `max_size`, with `sizer: items`"),
    (&["batcher"], "`batcher` went away in 0.130: write `sending_queue::batch`"),
    (
        &["telemetry", "metrics", "address"],
        "the address moved in 0.111: readers: [{pull: {exporter: {prometheus: {host: localhost, port: 8888}}}}]",
    ),
    (
        &["ballast_size_mib"],
        "the memory ballast went away in 0.39; this program, like Go since 1.19, does without it",
    ),
    (
        &["debug", "loglevel"],
        "`loglevel` was replaced in 0.63: write `verbosity`, which is basic, normal or detailed",
    ),
    (&["use_start_time_metric"], "use the metric_start_time processor"),
    (&["start_time_metric_regex"], "use the metric_start_time processor"),
    (&["match_once"], "`match_once` is gone: a route takes what matches first unless its `action` is `copy`"),
];

/// What to write instead of an option that went away.
pub(super) fn advice(path: &Path) -> Option<String> {
    let steps: Vec<String> = path.steps().collect();
    let found = REMOVED.iter().find(|(end, _)| {
        let tail = steps.len().checked_sub(end.len()).and_then(|start| steps.get(start..));
        tail.is_some_and(|tail| tail.iter().zip(*end).all(|(step, name)| step == name))
    });
    found.map(|(_, advice)| (*advice).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_went_away_is_recognised_by_the_end_of_its_path() {
        let path = Path::component("exporters", "otlp").field("sending_queue").field("blocking");
        assert!(advice(&path).is_some_and(|advice| advice.contains("block_on_overflow")));
        assert_eq!(advice(&Path::component("exporters", "otlp").field("blocking")), None);
    }
}

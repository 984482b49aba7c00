//! The points of a chart, and the same as a table.

use weir_connection::report::History;
use weir_connection::terminal::units::{self, Clock};

use super::html::{Element, el};

/// Points that are drawn and tabled; of a longer history every n-th is, and its last.
pub(super) const MAX_POINTS: usize = 240;

/// A point of the history that can be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) time: f64,
    pub(super) open: f64,
    pub(super) idle_old: Option<f64>,
}

/// The history as points in order of time; those without a usable time or count are left out.
pub(super) fn points(history: &History) -> Vec<Point> {
    let usable = |value: f64| value.is_finite() && value.abs() < 1e18;
    let mut points: Vec<Point> = history
        .time
        .iter()
        .zip(&history.open)
        .enumerate()
        .filter(|(_, (time, open))| (1.0..253_402_300_799.0).contains(*time) && usable(**open))
        .map(|(index, (&time, &open))| {
            let idle_old = history.idle_old.get(index).copied().filter(|value| usable(*value));
            Point { time, open, idle_old }
        })
        .collect();
    points.sort_by(|a, b| a.time.total_cmp(&b.time));
    let stride = points.len().div_ceil(MAX_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    // Counted from the end, so that the newest point is always there.
    points
        .into_iter()
        .enumerate()
        .filter(|(index, _)| (last - index).is_multiple_of(stride))
        .map(|(_, point)| point)
        .collect()
}

/// The points as a table behind a disclosure; `total` is how many the history has.
pub(super) fn table(points: &[Point], total: usize) -> Element {
    let note = match total.div_ceil(MAX_POINTS) {
        0 | 1 => String::new(),
        stride => format!(" (1 in {stride} of {total} points; all are in /leaks.json)"),
    };
    let head = el("tr")
        .children(["time", "open", "old and idle"].map(|name| el("th").attr("scope", "col").text(name)));
    let rows = points.iter().map(|point| {
        let time =
            el("time").attr("datetime", Clock::rfc3339(point.time)).attr("data-t", point.time.to_string());
        let time = time.attr("data-f", "hms").text(Clock::UTC.seconds(point.time));
        el("tr")
            .child(el("td").child(time))
            .child(el("td").class("num").text(units::count(point.open)))
            .child(
                el("td").class("num").text(point.idle_old.map_or_else(|| "unknown".to_owned(), units::count)),
            )
    });
    let table = el("table").child(el("thead").child(head)).child(el("tbody").children(rows));
    el("details").class("data").child(el("summary").text(format!("The same data as a table{note}"))).child(
        el("div")
            .class("scroll")
            .attr("tabindex", "0")
            .attr("role", "region")
            .attr("aria-label", "data")
            .child(table),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(count: usize) -> History {
        let time: Vec<f64> = (0..count).map(|index| 1_773_500_000.0 + index as f64).collect();
        let open = (0..count).map(|index| index as f64).collect();
        History { time, open, idle_old: vec![f64::NAN; count] }
    }

    #[test]
    fn a_long_history_is_thinned_and_keeps_its_newest_point() {
        let points = points(&history(1_000));
        assert_eq!(points.len(), 200);
        assert_eq!(points.last().map(|point| point.open), Some(999.0));
        assert_eq!(points[0].idle_old, None);
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        let broken = History {
            time: vec![f64::NAN, -1.0, 1_773_500_002.0, 1_773_500_001.0, 1e300],
            open: vec![1.0, 2.0, 3.0, 4.0, f64::INFINITY],
            idle_old: vec![1.0],
        };
        let open: Vec<f64> = points(&broken).iter().map(|point| point.open).collect();
        assert_eq!(open, [4.0, 3.0]);
    }
}

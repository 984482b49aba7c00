//! The population of a finding over time as inline SVG.
//!
//! Positions are percentages of the plot, so that the chart fits any width without a script and its text keeps its
//! size; only the lines are stretched. The script finds the values under the pointer in the embedded report and in
//! the attribute `data-forecast`.

use weir_connection::report::{Finding, State};
use weir_connection::terminal::units::{self, Clock};

use super::chart_data::{Point, points, table};
use super::chart_scale::{Axis, short};
use super::forecast::{Corner, Outlook, outlook, straight_on};
use super::html::{Element, el, json};
use super::parts::moment;

/// The charts of a finding: what was seen, and the way to the limit where it would not fit into the first.
pub(super) fn charts(finding: &Finding, index: usize, now: f64) -> Element {
    let points = points(&finding.history);
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return el("p").class("quiet").text("No history yet: the first point comes with the next report.");
    };
    let span = (last.time - first.time).max(1.0);
    let highest = points.iter().map(|point| point.open).fold(finding.growth.open, f64::max);
    let way = outlook(finding, last.time.max(now)).filter(|_| finding.state != State::Ok);
    let fits =
        way.as_ref().is_some_and(|way| way.end() - last.time <= span * 2.0 && way.level <= highest * 5.0);
    let seen = Plot::seen(finding, &points, if fits { way.as_ref() } else { None }, span);
    let mut row = el("div").class("charts").child(seen.figure(finding, &points, index));
    if let Some(way) = way.filter(|_| !fits) {
        row = row.child(Plot::ahead(&points, &way).figure(finding, &points, index));
    }
    row
}

/// What is drawn in one figure.
struct Plot<'a> {
    title: &'static str,
    times: Axis,
    counts: Axis,
    corners: Vec<Corner>,
    way: Option<&'a Outlook>,
    has_table: bool,
    /// Time of the newest point, whose day need not be named.
    made: f64,
}

impl<'a> Plot<'a> {
    /// The history and a short way on, or the whole way when it fits.
    fn seen(finding: &Finding, points: &[Point], way: Option<&'a Outlook>, span: f64) -> Self {
        let (first, last) = (points.first().map_or(0.0, |p| p.time), points.last().map_or(0.0, |p| p.time));
        let corners = match way {
            Some(way) => way.corners(way.end()),
            None if finding.state == State::Ok => Vec::new(),
            None => straight_on(finding, last, span * 0.12),
        };
        let highest = points.iter().map(|point| point.open);
        let highest =
            highest.chain(corners.iter().map(|corner| corner.high)).chain(way.map(|way| way.level * 1.05));
        Self {
            title: "Open over time",
            times: Axis::of_times(first, corners.last().map_or(last, |corner| corner.time)),
            counts: Axis::of_counts(highest.fold(0.0, f64::max)),
            corners,
            way,
            has_table: true,
            made: last,
        }
    }

    /// From the first point to the arrival at the limit.
    fn ahead(points: &[Point], way: &'a Outlook) -> Self {
        let end = way.end();
        Self {
            title: if way.is_limit { "Until the limit" } else { "Until it levels off" },
            times: Axis::of_times(points.first().map_or(end, |point| point.time), end),
            counts: Axis::of_counts(way.level * 1.05),
            corners: way.corners(end),
            way: Some(way),
            has_table: false,
            made: way.now,
        }
    }

    fn figure(&self, finding: &Finding, points: &[Point], index: usize) -> Element {
        let forecast: Vec<[f64; 4]> =
            self.corners.iter().map(|c| [c.time, c.middle, c.low, c.high]).collect();
        let svg = el("svg")
            .class("plot")
            .attr("role", "img")
            .attr("tabindex", "0")
            .attr("aria-label", self.description(finding, points))
            .attr("data-series", index.to_string())
            .attr("data-from", self.times.low.to_string())
            .attr("data-to", self.times.high.to_string())
            .attr("data-top", self.counts.high.to_string())
            .attr("data-forecast", json(&forecast))
            .child(self.grid())
            .child(self.lines(points))
            .children(self.marks(finding))
            .child(cross())
            .child(el("rect").class("hit").attr("width", "100%").attr("height", "100%"));
        let mut figure = el("figure")
            .class(if self.has_table { "chart seen" } else { "chart ahead" })
            .child(self.caption(points))
            .child(svg)
            .child(self.readout(points));
        if self.has_table {
            figure = figure.child(table(points, finding.history.time.len()));
        }
        figure
    }

    fn caption(&self, points: &[Point]) -> Element {
        let key = |class: &str, name: &str| {
            el("span").class("key").child(el("i").class(class).attr("aria-hidden", "true")).text(name)
        };
        let mut caption = el("figcaption")
            .child(el("b").text(self.title))
            .child(el("span").class("unit").text("connections"))
            .child(key("k-open", "open"));
        if self.has_table && points.iter().any(|point| point.idle_old.is_some()) {
            caption = caption.child(key("k-floor", "old and idle"));
        }
        if !self.corners.is_empty() {
            caption = caption.child(key("k-band", "forecast"));
        }
        caption
    }

    /// The line below the chart: the newest values or the arrival, replaced by the values under the pointer.
    fn readout(&self, points: &[Point]) -> Element {
        let rest = el("span").class("rest");
        let rest = match (self.has_table, self.way, points.last()) {
            (false, Some(way), _) => {
                let time = |time: f64| moment(time, way.now);
                let rest = rest.text("reached at ").child(time(way.time));
                match way.arrivals() {
                    Some((first, last)) => {
                        rest.text(", between ").child(time(first)).text(" and ").child(time(last))
                    }
                    None => rest,
                }
            }
            (_, _, Some(point)) => {
                let idle = point
                    .idle_old
                    .map_or_else(String::new, |idle| format!(", old and idle {}", units::count(idle)));
                rest.text(format!("latest: open {}{idle}", units::count(point.open)))
            }
            _ => rest,
        };
        el("p")
            .class("readout")
            .attr("aria-live", "off")
            .child(rest)
            .child(el("span").class("here").flag("hidden"))
    }

    /// What the picture shows, for those who do not see it.
    fn description(&self, finding: &Finding, points: &[Point]) -> String {
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return String::new();
        };
        let mut text = format!(
            "{}: from {} at {} to {} at {}",
            self.title,
            units::count(first.open),
            Clock::UTC.full(first.time),
            units::count(last.open),
            Clock::UTC.full(last.time),
        );
        if let Some(onset) = finding.onset {
            text.push_str(&format!("; growth began at {}", Clock::UTC.full(onset)));
        }
        if let Some(way) = self.way {
            text.push_str(&format!("; {} at {}", way.label, Clock::UTC.full(way.time)));
        }
        text
    }

    fn x(&self, time: f64) -> String {
        format!("{:.2}%", self.times.share(time) * 100.0)
    }

    fn y(&self, count: f64) -> String {
        format!("{:.2}%", 100.0 - self.counts.share(count) * 100.0)
    }

    fn grid(&self) -> Element {
        let rows = self.counts.counts().into_iter().flat_map(|count| {
            let y = self.y(count);
            let line = el("line").attr("x1", "0").attr("x2", "100%").attr("y1", &y).attr("y2", &y);
            let text = el("text").class("tick").attr("x", "-8").attr("y", &y).attr("dy", "4");
            [line, text.attr("text-anchor", "end").text(short(count))]
        });
        let (times, step) = self.times.times(if self.has_table { 6 } else { 4 });
        let format = if step >= 86_400.0 {
            "day"
        } else if step >= 60.0 {
            "hm"
        } else {
            "hms"
        };
        let columns = times.into_iter().map(|time| {
            let text = match format {
                "day" => Clock::UTC.day(time),
                "hm" => Clock::UTC.minutes(time),
                _ => Clock::UTC.seconds(time),
            };
            // Every other mark gives way on small screens, the same ones however far the chart has moved on.
            let odd = (time / step).round() % 2.0 != 0.0;
            let place = el("text")
                .class(if odd { "tick alt" } else { "tick" })
                .attr("x", self.x(time))
                .attr("y", "100%")
                .attr("dy", "18");
            place
                .attr("text-anchor", "middle")
                .attr("data-t", time.to_string())
                .attr("data-f", format)
                .text(text)
        });
        el("g").class("grid").attr("aria-hidden", "true").children(rows).children(columns)
    }

    /// Everything that may be stretched: areas and lines in a box of 1,000 by 1,000.
    fn lines(&self, points: &[Point]) -> Element {
        let place = |time: f64, count: f64| {
            format!("{:.1} {:.1}", self.times.share(time) * 1e3, 1e3 - self.counts.share(count) * 1e3)
        };
        let line = |all: Vec<String>| {
            if all.len() < 2 { String::new() } else { format!("M{}", all.join("L")) }
        };
        let open: Vec<String> = points.iter().map(|p| place(p.time, p.open)).collect();
        let floor = points.iter().filter_map(|p| p.idle_old.map(|idle| place(p.time, idle))).collect();
        let area = match (points.first(), points.last()) {
            (Some(first), Some(last)) if points.len() > 1 => {
                format!("M{}L{}L{}Z", place(first.time, 0.0), open.join("L"), place(last.time, 0.0))
            }
            _ => String::new(),
        };
        let upper = self.corners.iter().map(|c| place(c.time, c.high));
        let lower = self.corners.iter().rev().map(|c| place(c.time, c.low));
        let band = line(upper.chain(lower).collect());
        let middle = line(self.corners.iter().map(|c| place(c.time, c.middle)).collect());
        let path = |class: &str, d: String| el("path").class(class).attr("d", d);
        el("svg")
            .class("lines")
            .attr("viewBox", "0 0 1000 1000")
            .attr("preserveAspectRatio", "none")
            .attr("width", "100%")
            .attr("height", "100%")
            .attr("aria-hidden", "true")
            .child(path("area", area))
            .child(path("band", band))
            .child(path("floor", line(floor)))
            .child(path("open", line(open)))
            .child(path("middle", middle))
    }

    /// Onset, limit and arrival, each with its words.
    fn marks(&self, finding: &Finding) -> Vec<Element> {
        let mut marks = Vec::new();
        let onset = finding.onset.filter(|onset| (self.times.low..=self.times.high).contains(onset));
        if let Some(onset) = onset.filter(|_| self.has_table) {
            marks.push(self.upright("onset", onset, "growth began", 12));
        }
        if let Some(way) = self.way {
            let y = self.y(way.level);
            let class = if way.is_limit { "limit" } else { "plateau" };
            let line = el("line").attr("x1", "0").attr("x2", "100%").attr("y1", &y).attr("y2", &y);
            let text = el("text").attr("x", "4").attr("y", &y).attr("dy", "-6").text(&way.label);
            marks.push(el("g").class(class).child(line).child(text));
            marks.push(self.upright("arrival", way.time, "", 0));
        }
        marks
    }

    fn upright(&self, class: &str, time: f64, name: &str, down: u32) -> Element {
        let x = self.x(time);
        let (anchor, dx) = if self.times.share(time) > 0.6 { ("end", "-6") } else { ("start", "6") };
        let when = el("tspan")
            .attr("data-t", time.to_string())
            .attr("data-f", "moment")
            .text(Clock::UTC.moment(time, self.made));
        let down = if down == 0 { "97%".to_owned() } else { down.to_string() };
        let text = el("text").attr("x", &x).attr("dx", dx).attr("y", down).attr("text-anchor", anchor);
        let text = if name.is_empty() { text } else { text.text(format!("{name} ")) };
        let line = el("line").attr("x1", &x).attr("x2", &x).attr("y1", "0").attr("y2", "100%");
        el("g").class(class).child(line).child(text.child(when))
    }
}

/// The mark that follows the pointer; placed by the script.
fn cross() -> Element {
    el("g")
        .class("cross")
        .attr("visibility", "hidden")
        .attr("aria-hidden", "true")
        .child(el("line").attr("y1", "0").attr("y2", "100%"))
        .child(el("circle").class("at-open").attr("r", "3.5"))
        .child(el("circle").class("at-floor").attr("r", "3.5"))
}

#[cfg(test)]
mod tests {
    use weir_connection::report::History;

    use super::*;

    fn history(count: usize) -> History {
        let time: Vec<f64> = (0..count).map(|index| 1_773_500_000.0 + index as f64).collect();
        let open = (0..count).map(|index| index as f64).collect();
        History { time, open, idle_old: vec![f64::NAN; count] }
    }

    #[test]
    fn the_newest_point_lies_at_the_right_and_the_highest_at_the_top() {
        let finding = Finding { history: history(101), ..Finding::default() };
        let markup = charts(&finding, 0, 1_773_500_100.0).render();
        assert!(markup.contains(r#"class="open" d="M0.0 1000.0L10.0 990.0"#), "{markup}");
        assert!(markup.contains("L1000.0 0.0\""), "{markup}");
    }

    #[test]
    fn the_table_holds_every_point_of_the_line() {
        let finding = Finding { history: history(30), ..Finding::default() };
        let markup = charts(&finding, 0, 1_773_500_030.0).render();
        assert_eq!(markup.matches("<td><time").count(), 30);
    }
}

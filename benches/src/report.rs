//! Medians, spread, the table, the bars.

use std::fmt::Write;

use crate::measure::Round;
use crate::scenario::Scenario;

/// All rounds of one scenario: Weir's and the Collector's of the same round side by side.
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) rounds: Vec<(Round, Round)>,
}

/// A median with the smallest and the largest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Of any values; zero of none.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> Spread {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    let at = |i: usize| all.get(i).copied().unwrap_or_default();
    let last = all.len().saturating_sub(1);
    // Of an even number the mean of the two in the middle.
    Spread { median: f64::midpoint(at(last / 2), at(all.len() / 2)), min: at(0), max: at(last) }
}

impl Spread {
    /// The median, and the smallest to the largest behind it.
    pub(crate) fn text(self, show: impl Fn(f64) -> String) -> String {
        format!("{} ({} to {})", show(self.median), show(self.min), show(self.max))
    }

    /// The same of a ratio, whose median stands out.
    fn ratio(self) -> String {
        format!("**{:.1}x** ({:.1} to {:.1})", self.median, self.min, self.max)
    }
}

pub(crate) fn whole(value: f64) -> String {
    format!("{value:.0}")
}

pub(crate) fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

/// KiB in megabytes of a million bytes.
pub(crate) fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

impl Row {
    fn weir(&self, of: impl Fn(&Round) -> f64) -> Spread {
        spread(self.rounds.iter().map(|(weir, _)| of(weir)))
    }

    fn collector(&self, of: impl Fn(&Round) -> f64) -> Spread {
        spread(self.rounds.iter().map(|(_, collector)| of(collector)))
    }

    /// Items per CPU second, or with a latency scenario the added time the other way round: always larger is better.
    pub(crate) fn ratio_of(&self, weir: &Round, other: &Round) -> f64 {
        match weir.latency.zip(other.latency) {
            Some((weir, other)) => other.median / weir.median,
            None => weir.per_cpu / other.per_cpu,
        }
    }

    fn ratio(&self) -> Spread {
        spread(self.rounds.iter().map(|(weir, other)| self.ratio_of(weir, other)))
    }

    /// Whether the median of the ratios reaches the bar; `None` without one.
    fn holds(&self) -> Option<bool> {
        self.scenario.bar.map(|bar| self.ratio().median >= bar)
    }

    /// Acknowledged and not arrived, in all rounds: Weir / the other. What came twice does not make up for it.
    fn lost(&self) -> String {
        let of = |pick: fn(&(Round, Round)) -> &Round| {
            let all = || self.rounds.iter().map(pick).map(|round| round.lost);
            let (lost, twice): (i64, i64) =
                (all().filter(|n| *n > 0).sum(), -all().filter(|n| *n < 0).sum::<i64>());
            if twice == 0 { lost.to_string() } else { format!("{lost} and {twice} twice") }
        };
        format!("{} / {}", of(|r| &r.0), of(|r| &r.1))
    }

    /// Bytes that left for each item: Weir / the other.
    fn wire(&self) -> String {
        let (weir, other) = (self.weir(|r| r.wire), self.collector(|r| r.wire));
        format!("{} / {}", whole(weir.median), whole(other.median))
    }

    /// What one agent adds to the way, of all rounds, in microseconds.
    fn latency(&self, pick: fn(&(Round, Round)) -> &Round) -> String {
        let rounds = || self.rounds.iter().map(pick).filter_map(|round| round.latency);
        let (median, slow) = (spread(rounds().map(|l| l.median)), spread(rounds().map(|l| l.p99)));
        format!("{}, p99 {}", median.text(whole), slow.text(whole))
    }

    fn line(&self) -> String {
        let must = self.scenario.bar.map_or(String::new(), |bar| format!("{bar:.0}x"));
        format!(
            "| {} | {} | {} | {} | {must} | {} | {} | {} |",
            self.scenario.name,
            self.weir(|r| r.per_cpu).text(thousands),
            self.collector(|r| r.per_cpu).text(thousands),
            self.ratio().ratio(),
            mark(self.holds()),
            self.wire(),
            self.lost(),
        )
    }
}

/// What a table says of a bar.
fn mark(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "",
    }
}

/// With commas.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A bar that is not a ratio of items.
struct Bar {
    name: String,
    weir: String,
    collector: String,
    must: &'static str,
    /// `None`: there is no bar, the values are only published.
    holds: Option<bool>,
}

fn bars(rows: &[Row]) -> Vec<Bar> {
    let of = |pick: fn(&(Round, Round)) -> &Round, value: fn(&Round) -> f64| {
        spread(rows.iter().flat_map(|row| &row.rounds).map(pick).map(value))
    };
    let idle = |round: &Round| megabytes(round.idle);
    let ready = |round: &Round| round.ready.as_secs_f64() * 1e3;
    let mut bars = vec![
        Bar {
            name: "idle RSS, MB".to_owned(),
            weir: of(|r| &r.0, idle).text(tenths),
            collector: of(|r| &r.1, idle).text(tenths),
            must: "15",
            holds: Some(of(|r| &r.0, idle).median <= 15.0),
        },
        Bar {
            name: "from exec to ready, ms".to_owned(),
            weir: of(|r| &r.0, ready).text(tenths),
            collector: of(|r| &r.1, ready).text(tenths),
            must: "20",
            holds: Some(of(|r| &r.0, ready).median <= 20.0),
        },
    ];
    for row in rows.iter().filter(|row| row.scenario.rate.is_none()) {
        let ratio =
            spread(row.rounds.iter().map(|(weir, other)| other.peak as f64 / weir.peak.max(1) as f64));
        let holds = row.scenario.bar.map(|_| ratio.median >= 3.0);
        bars.push(Bar {
            name: format!("peak RSS at saturation, {}, MB", row.scenario.name),
            weir: row.weir(|r| megabytes(r.peak)).text(tenths),
            collector: format!("{}; {}", row.collector(|r| megabytes(r.peak)).text(tenths), ratio.ratio()),
            must: if holds.is_some() { "3x less" } else { "" },
            holds,
        });
    }
    bars
}

/// The tables in Markdown.
pub(crate) fn markdown(rows: &[Row], failed: &[String], settings: &str) -> String {
    let mut out = format!("{settings}\n\n");
    out += "| scenario | Weir, items per CPU second | Go Collector | ratio | must | holds | bytes out | lost |\n|---|---|---|---|---|---|---|---|\n";
    for row in rows.iter().filter(|row| !row.scenario.latency) {
        let _infallible = writeln!(out, "{}", row.line());
    }
    for failed in failed {
        let _infallible = writeln!(out, "| {failed} | | | | | **no** | | |");
    }
    out += "\n| | Weir | Go Collector | must | holds |\n|---|---|---|---|---|\n";
    for bar in bars(rows) {
        let Bar { name, weir, collector, must, holds } = bar;
        let _infallible = writeln!(out, "| {name} | {weir} | {collector} | {must} | {} |", mark(holds));
    }
    for row in rows.iter().filter(|row| row.scenario.latency) {
        let (weir, other) = (row.latency(|r| &r.0), row.latency(|r| &r.1));
        let (ratio, mark) = (row.ratio().ratio(), mark(row.holds()));
        let _infallible = writeln!(
            out,
            "| added latency at 20,000 spans per second, µs | {weir} | {other}; {ratio} of the medians | half | {mark} |",
        );
    }
    out
}

/// The bars that do not hold.
pub(crate) fn below(rows: &[Row]) -> Vec<String> {
    let ratios = rows.iter().filter(|row| row.holds() == Some(false));
    let ratios = ratios.map(|row| {
        let bar = row.scenario.bar.unwrap_or_default();
        format!("{}: {:.1}x, must be {bar:.0}x", row.scenario.name, row.ratio().median)
    });
    let lost = rows.iter().filter(|row| row.rounds.iter().any(|(weir, _)| weir.lost != 0));
    let lost = lost.map(|row| format!("{}: acknowledged items were lost or came twice", row.scenario.name));
    let other = bars(rows).into_iter().filter(|bar| bar.holds == Some(false));
    let other = other.map(|bar| format!("{}: {}, must be {}", bar.name, bar.weir, bar.must));
    ratios.chain(lost).chain(other).collect()
}

/// The table beside an agent without bars.
pub(crate) fn beside(rows: &[Row], failed: &[String], settings: &str) -> String {
    let mut out = format!(
        "{settings}\n\n| scenario | Weir, items per CPU second | Rotel | ratio | peak RSS, MB | lost |\n|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let (weir, other, unit) = match row.scenario.latency {
            true => (row.latency(|r| &r.0), row.latency(|r| &r.1), ", µs added"),
            false => {
                (row.weir(|r| r.per_cpu).text(thousands), row.collector(|r| r.per_cpu).text(thousands), "")
            }
        };
        let peak = |r: &Round| megabytes(r.peak);
        let (peak, other_peak) = (row.weir(peak).text(whole), row.collector(peak).text(whole));
        let (ratio, lost) = (row.ratio().ratio(), row.lost());
        let name = row.scenario.name;
        let _infallible =
            writeln!(out, "| {name}{unit} | {weir} | {other} | {ratio} | {peak} / {other_peak} | {lost} |");
    }
    for failed in failed {
        let _infallible = writeln!(out, "| {failed} | | | | | |");
    }
    out
}

/// Where tables stand in a document: the line before them and the line after.
pub(crate) type Place = (&'static str, &'static str);

/// Of those beside the Collector.
pub(crate) const COLLECTOR: Place = ("<!-- make bench writes from here -->", "<!-- to here -->");
/// Of those beside other agents.
pub(crate) const OTHERS: Place = ("<!-- make bench OTHER writes from here -->", "<!-- up to here -->");

/// Puts the tables in their place in a document.
pub(crate) fn replace(document: &str, tables: &str, (begin, end): Place) -> Result<String, String> {
    let missing = || format!("the document has no lines {begin} and {end}");
    let (head, rest) = document.split_once(begin).ok_or_else(missing)?;
    let (_, tail) = rest.split_once(end).ok_or_else(missing)?;
    Ok(format!("{head}{begin}\n{tables}{end}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Latency;

    fn row(ratios: &[f64], bar: Option<f64>) -> Row {
        let round = |per_cpu| Round { per_cpu, idle: 9 << 10, peak: 20 << 10, ..Round::default() };
        let other = Round { per_cpu: 100.0, peak: 90 << 10, ..Round::default() };
        let rounds = ratios.iter().map(|ratio| (round(100.0 * ratio), other.clone())).collect();
        Row { scenario: Scenario::new("traces", bar), rounds }
    }

    #[test]
    fn the_median_of_the_paired_ratios_decides() {
        assert!(below(&[row(&[6.0, 7.0, 9.0], Some(7.0))]).is_empty());
        assert_eq!(below(&[row(&[6.0, 6.9, 9.0], Some(7.0))]), ["traces: 6.9x, must be 7x"]);
    }

    #[test]
    fn without_a_bar_nothing_but_loss_fails_and_the_ratios_are_published() {
        let mut row = row(&[0.4, 0.5, 0.6], None);
        row.rounds.iter_mut().for_each(|(weir, _)| weir.peak = 900 << 10);
        assert!(below(std::slice::from_ref(&row)).is_empty());
        let tables = markdown(std::slice::from_ref(&row), &[], "");
        assert!(tables.contains("| **0.5x** (0.4 to 0.6) |  |  | 0 / 0 | 0 / 0 |"), "{tables}");
        row.rounds[1].0.lost = 1;
        assert_eq!(below(&[row]), ["traces: acknowledged items were lost or came twice"]);
    }

    #[test]
    fn every_figure_has_its_smallest_and_its_largest() {
        let round = |mb: u64| Round {
            per_cpu: 1000.0 * mb as f64,
            idle: (mb * 1_000_000) >> 10,
            peak: (3 * mb * 1_000_000) >> 10,
            ready: std::time::Duration::from_millis(mb),
            latency: Some(Latency { median: 10.0 + mb as f64, p99: 100.0 + mb as f64 }),
            ..Round::default()
        };
        let rounds = || [3, 1, 2].map(|mb| (round(mb), round(10 * mb))).to_vec();
        let full = Row { scenario: Scenario::new("traces", Some(1.0)), rounds: rounds() };
        let scenario = Scenario { latency: true, rate: Some(1.0), ..Scenario::new("latency", Some(2.0)) };
        let latency = Row { scenario, rounds: rounds() };
        let tables = markdown(&[full, latency], &[], "");
        for line in [
            "| idle RSS, MB | 2.0 (1.0 to 3.0) | 20.0 (10.0 to 30.0) | 15 | yes |",
            "| from exec to ready, ms | 2.0 (1.0 to 3.0) | 20.0 (10.0 to 30.0) | 20 | yes |",
            "| peak RSS at saturation, traces, MB | 6.0 (3.0 to 9.0) | 60.0 (30.0 to 90.0); **10.0x** (10.0 to 10.0) | 3x less | yes |",
            "| added latency at 20,000 spans per second, µs | 12 (11 to 13), p99 102 (101 to 103) | 30 (20 to 40), p99 120 (110 to 130); **2.5x** (1.8 to 3.1) of the medians | half | yes |",
        ] {
            assert!(tables.contains(line), "{line}\n{tables}");
        }
    }

    #[test]
    fn one_item_lost_or_doubled_in_any_round_fails() {
        for lost in [1, -1] {
            let mut lossy = row(&[9.0, 9.0, 9.0], Some(7.0));
            lossy.rounds[1].0.lost = lost;
            assert_eq!(below(&[lossy]), ["traces: acknowledged items were lost or came twice"]);
        }
    }

    #[test]
    fn what_came_twice_does_not_hide_what_was_lost() {
        let mut both = row(&[9.0, 9.0, 9.0], None);
        (both.rounds[0].0.lost, both.rounds[1].0.lost, both.rounds[2].1.lost) = (100, -100, 7);
        assert_eq!(both.lost(), "100 and 100 twice / 7");
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        let median = |values: &[f64]| spread(values.iter().copied()).median;
        assert_eq!([median(&[1.0, 2.0]), median(&[4.0, 1.0, 2.0]), median(&[])], [1.5, 2.0, 0.0]);
    }

    #[test]
    fn tables_go_between_the_marks_and_nothing_else_changes() {
        let (begin, end) = OTHERS;
        let document = format!("before\n{begin}\nold\n{end}\nafter\n");
        let expected = format!("before\n{begin}\nnew\n{end}\nafter\n");
        assert_eq!(replace(&document, "new\n", OTHERS), Ok(expected));
        assert!(replace(&document, "new", COLLECTOR).is_err());
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!([thousands(1.0), thousands(1234.4), thousands(1_234_567.0)], ["1", "1,234", "1,234,567"]);
    }
}

//! Medians, spread, the table, the bars.

use std::fmt::Write;

use crate::measure::Round;
use crate::scenario::Scenario;

/// All rounds of one scenario: Weir's and the Collector's of the same round side by side.
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) rounds: Vec<(Round, Round)>,
    /// Median of the way without an agent, microseconds.
    pub(crate) direct: f64,
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
    Spread { median: at(all.len() / 2), min: at(0), max: at(all.len().saturating_sub(1)) }
}

impl Row {
    fn weir(&self, of: impl Fn(&Round) -> f64) -> Spread {
        spread(self.rounds.iter().map(|(weir, _)| of(weir)))
    }

    fn collector(&self, of: impl Fn(&Round) -> f64) -> Spread {
        spread(self.rounds.iter().map(|(_, collector)| of(collector)))
    }

    /// Items per CPU second, or with a latency scenario the added time the other way round: always larger is better.
    fn ratio(&self) -> Spread {
        spread(self.rounds.iter().map(|(weir, collector)| {
            if self.scenario.latency {
                self.added(collector) / self.added(weir).max(1.0)
            } else {
                weir.per_cpu / collector.per_cpu.max(1.0)
            }
        }))
    }

    /// Whether the median of the ratios reaches the bar; `None` without one.
    fn holds(&self) -> Option<bool> {
        self.scenario.bar.map(|bar| self.ratio().median >= bar)
    }

    fn added(&self, round: &Round) -> f64 {
        round.latency.map_or(f64::NAN, |(median, _)| median - self.direct)
    }

    fn line(&self) -> String {
        let ratio = self.ratio();
        let must = self.scenario.bar.map_or(String::new(), |bar| format!("{bar:.0}x"));
        let tail = format!(
            "**{:.1}x** ({:.1} to {:.1}) | {must} | {}",
            ratio.median,
            ratio.min,
            ratio.max,
            mark(self.holds()),
        );
        let lost =
            |pick: fn(&(Round, Round)) -> &Round| -> i64 { self.rounds.iter().map(|r| pick(r).lost).sum() };
        let (weir, collector) = (self.weir(|r| r.per_cpu), self.collector(|r| r.per_cpu));
        format!(
            "| {} | {} ({} to {}) | {} ({} to {}) | {tail} | {} / {} |",
            self.scenario.name,
            thousands(weir.median),
            thousands(weir.min),
            thousands(weir.max),
            thousands(collector.median),
            thousands(collector.min),
            thousands(collector.max),
            lost(|r| &r.0),
            lost(|r| &r.1),
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
    let all = || rows.iter().flat_map(|row| &row.rounds);
    let idle = spread(all().map(|(weir, _)| weir.idle as f64 / 1024.0));
    let idle_other = spread(all().map(|(_, other)| other.idle as f64 / 1024.0));
    let ready = spread(all().map(|(weir, _)| weir.ready.as_secs_f64() * 1e3));
    let ready_other = spread(all().map(|(_, other)| other.ready.as_secs_f64() * 1e3));
    let mut bars = vec![
        Bar {
            name: "idle RSS".to_owned(),
            weir: format!("{:.1} MB", idle.median),
            collector: format!("{:.1} MB", idle_other.median),
            must: "15 MB",
            holds: Some(idle.median <= 15.0),
        },
        Bar {
            name: "from exec to ready".to_owned(),
            weir: format!("{:.1} ms", ready.median),
            collector: format!("{:.0} ms", ready_other.median),
            must: "20 ms",
            holds: Some(ready.median <= 20.0),
        },
    ];
    for row in rows.iter().filter(|row| row.scenario.rate.is_none()) {
        let (weir, other) = (row.weir(|r| r.peak as f64 / 1024.0), row.collector(|r| r.peak as f64 / 1024.0));
        let ratio =
            spread(row.rounds.iter().map(|(weir, other)| other.peak as f64 / weir.peak.max(1) as f64));
        let holds = row.scenario.bar.map(|_| ratio.median >= 3.0);
        bars.push(Bar {
            name: format!("peak RSS at saturation, {}", row.scenario.name),
            weir: format!("{:.1} MB", weir.median),
            collector: format!("{:.1} MB ({:.1}x)", other.median, ratio.median),
            must: if holds.is_some() { "3x less" } else { "" },
            holds,
        });
    }
    bars
}

/// The tables in Markdown.
pub(crate) fn markdown(rows: &[Row], failed: &[String], settings: &str) -> String {
    let mut out = format!("{settings}\n\n");
    out += "| scenario | Weir, items per CPU second | Go Collector | ratio | must | holds | lost |\n|---|---|---|---|---|---|---|\n";
    for row in rows.iter().filter(|row| !row.scenario.latency) {
        let _infallible = writeln!(out, "{}", row.line());
    }
    for failed in failed {
        let _infallible = writeln!(out, "| {failed} | | | | | **no** | |");
    }
    out += "\n| | Weir | Go Collector | must | holds |\n|---|---|---|---|---|\n";
    for bar in bars(rows) {
        let Bar { name, weir, collector, must, holds } = bar;
        let _infallible = writeln!(out, "| {name} | {weir} | {collector} | {must} | {} |", mark(holds));
    }
    for row in rows.iter().filter(|row| row.scenario.latency) {
        let ratio = row.ratio();
        let of = |pick: fn(&(Round, Round)) -> &Round| {
            let added = spread(row.rounds.iter().map(|r| row.added(pick(r))));
            let slow =
                spread(row.rounds.iter().filter_map(|r| pick(r).latency.map(|(_, p99)| p99 - row.direct)));
            format!("{:.0} µs, p99 {:.0} µs", added.median, slow.median)
        };
        let _infallible = writeln!(
            out,
            "| added latency at 20,000 spans per second, median of {:.1}x | {} | {} | half | {} |",
            ratio.median,
            of(|r| &r.0),
            of(|r| &r.1),
            mark(row.holds()),
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
    let lost = rows.iter().filter(|row| row.rounds.iter().any(|(weir, _)| weir.lost > 0));
    let lost = lost.map(|row| format!("{}: acknowledged items were lost", row.scenario.name));
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
        let ratio = row.ratio();
        let both = |of: &dyn Fn(&Round) -> f64| (row.weir(of).median, row.collector(of).median);
        let ((weir, other), unit) = match row.scenario.latency {
            true => (both(&|r| row.added(r).max(0.0)), " µs added"),
            false => (both(&|r| r.per_cpu), ""),
        };
        let peak = both(&|r| r.peak as f64 / 1024.0);
        let lost: (i64, i64) = row.rounds.iter().fold((0, 0), |sum, (a, b)| (sum.0 + a.lost, sum.1 + b.lost));
        let _infallible = writeln!(
            out,
            "| {} | {}{unit} | {}{unit} | **{:.1}x** ({:.1} to {:.1}) | {:.0} / {:.0} | {} / {} |",
            row.scenario.name,
            thousands(weir),
            thousands(other),
            ratio.median,
            ratio.min,
            ratio.max,
            peak.0,
            peak.1,
            lost.0,
            lost.1,
        );
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

    fn row(ratios: &[f64], bar: Option<f64>) -> Row {
        let round = |per_cpu| Round { per_cpu, idle: 9 << 10, peak: 20 << 10, ..Round::default() };
        let other = Round { per_cpu: 100.0, peak: 90 << 10, ..Round::default() };
        let rounds = ratios.iter().map(|ratio| (round(100.0 * ratio), other.clone())).collect();
        Row { scenario: Scenario::new("traces", bar), rounds, direct: 0.0 }
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
        assert!(tables.contains("| **0.5x** (0.4 to 0.6) |  |  | 0 / 0 |"), "{tables}");
        row.rounds[1].0.lost = 1;
        assert_eq!(below(&[row]), ["traces: acknowledged items were lost"]);
    }

    #[test]
    fn one_lost_item_in_any_round_fails() {
        let mut lossy = row(&[9.0, 9.0, 9.0], Some(7.0));
        lossy.rounds[1].0.lost = 1;
        assert_eq!(below(&[lossy]), ["traces: acknowledged items were lost"]);
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

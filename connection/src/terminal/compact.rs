//! One line per finding.

use super::painter::{Painter, Style};
use super::text::{middle, visible, width};
use super::{Options, sentence, units};
use crate::report::{Finding, Report, State};

/// One line per finding, for a display that redraws itself: state, who, site, rate, open, time left.
///
/// Columns are aligned. Where the width does not suffice, the name of the limit goes first, then the target is cut in
/// the middle, then the site goes.
pub fn render_compact(report: &Report, options: &Options) -> String {
    let mut painter = Painter::new(options);
    if report.series.is_empty() {
        painter.sentence(if report.summary.is_empty() { "No data yet." } else { &report.summary });
        return painter.out;
    }
    let mut rows: Vec<[String; 6]> =
        report.series.iter().map(|finding| compact_cells(finding, true)).collect();
    let mut widths = column_widths(&rows);
    if excess(&widths, painter.width) > 0 {
        rows = report.series.iter().map(|finding| compact_cells(finding, false)).collect();
        widths = column_widths(&rows);
    }
    shrink_who(&mut widths, painter.width, 30);
    if excess(&widths, painter.width) > 0 {
        widths[SITE] = 0;
        widths[WHO] = column_widths(&rows)[WHO];
        shrink_who(&mut widths, painter.width, 12);
    }
    for (row, finding) in rows.iter().zip(&report.series) {
        compact_line(&mut painter, row, &widths, finding.state);
    }
    painter.out
}

/// Columns of the compact form.
const WHO: usize = 1;
const SITE: usize = 2;

fn column_widths(rows: &[[String; 6]]) -> [usize; 6] {
    std::array::from_fn(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0))
}

fn excess(widths: &[usize; 6], limit: usize) -> usize {
    let total: usize = widths.iter().filter(|&&width| width > 0).map(|width| width + 2).sum();
    total.saturating_sub(2 + limit)
}

fn shrink_who(widths: &mut [usize; 6], limit: usize, least: usize) {
    let wanted = widths[WHO].saturating_sub(excess(widths, limit));
    widths[WHO] = wanted.max(least.min(widths[WHO]));
}

fn compact_cells(finding: &Finding, name_limit: bool) -> [String; 6] {
    let site = finding.site.as_ref().map_or_else(String::new, |site| {
        let name = site.file.rsplit('/').next().unwrap_or(&site.file);
        visible(&units::location(name, site.line)).into_owned()
    });
    let left = sentence::soonest(finding).map_or_else(String::new, |forecast| {
        let name = if name_limit { sentence::limit_name(forecast) + " " } else { String::new() };
        format!("{name}in {}", units::duration(forecast.seconds.unwrap_or(0.0)))
    });
    [
        finding.word().to_owned(),
        sentence::who(finding),
        site,
        if finding.verdict_in.is_some() {
            "no verdict yet".to_owned()
        } else {
            units::per_second(finding.growth.rate)
        },
        sentence::counted(finding),
        left,
    ]
}

/// Cuts the target before the service, and leaves it out where it would have less than nine columns.
fn cut_who(who: &str, columns: usize) -> String {
    let target = who.split_once(" -> ").or_else(|| who.split_once(" <- "));
    match target {
        Some((service, target)) if width(who) > columns => {
            let head = width(service) + 4;
            if head + 9 > columns {
                return middle(service, columns).into_owned();
            }
            let service: String = who.chars().take(head).collect();
            service + &middle(target, columns - head)
        }
        _ => middle(who, columns).into_owned(),
    }
}

fn compact_line(painter: &mut Painter<'_>, row: &[String; 6], widths: &[usize; 6], state: State) {
    let mut start = 0;
    for (column, (cell, &space)) in row.iter().zip(widths).enumerate() {
        if space == 0 || cell.is_empty() {
            start += if space == 0 { 0 } else { space + 2 };
            continue;
        }
        let number = column == 3 || column == 4;
        let cell = if column == WHO { cut_who(cell, space) } else { cell.clone() };
        let lead = if number { space - width(&cell) } else { 0 };
        painter.pad_to(start + lead);
        let style = if column == 0 { Style::State(state) } else { Style::Plain };
        painter.put(&cell, style);
        start += space + 2;
    }
    painter.end();
}

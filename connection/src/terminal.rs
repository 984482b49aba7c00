//! A [`Report`] as text for a terminal, from 60 columns up.
//!
//! Lines are wrapped between words and hang below their label. Long paths are cut in the middle, values never: a value
//! wider than the terminal is written whole. Colour only underlines what words already say.

mod compact;
mod painter;
pub mod sentence;
pub mod text;
pub mod units;

pub use compact::render_compact;

use crate::report::{Finding, Report, Site, State};
use painter::{Painter, Style};
use sentence::{GLUE, glued};
use text::{visible, width};
use units::Clock;

/// Narrowest width that is laid out; a smaller one is treated as this.
pub const MIN_WIDTH: usize = 60;

/// Findings with state ok that are written out; the rest is counted.
pub const MAX_FINE: usize = 8;

/// Column at which values begin and at which wrapped lines go on.
const INDENT: usize = 12;

/// How to write a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Columns of the terminal; default 80, at least [`MIN_WIDTH`].
    pub width: usize,
    /// Whether to write ANSI colours; default no.
    pub color: bool,
    /// Zone of the times; default UTC.
    pub clock: Clock,
    /// Address of the page, written as the last line; default empty, which leaves the line out.
    pub page: String,
    /// What stands behind the address, such as `Ctrl-C ends`; default empty.
    pub hint: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { width: 80, color: false, clock: Clock::UTC, page: String::new(), hint: String::new() }
    }
}

/// The whole report: one block per finding in the order of the report (short ones for what is fine, when something is
/// not), then sources that are not well, then the page.
///
/// The summary is written first unless a single finding says it all. Ends with a line break.
pub fn render(report: &Report, options: &Options) -> String {
    let mut painter = Painter::new(options);
    let (fine, urgent): (Vec<_>, Vec<_>) =
        report.series.iter().partition(|finding| finding.state == State::Ok);
    if report.series.len() != 1 {
        painter.sentence(if report.summary.is_empty() { "No data yet." } else { &report.summary });
    }
    for finding in &urgent {
        painter.gap();
        block(&mut painter, finding, report.time);
    }
    for finding in fine.iter().take(MAX_FINE) {
        painter.gap();
        if urgent.is_empty() {
            block(&mut painter, finding, report.time)
        } else {
            brief(&mut painter, finding, report.time)
        }
    }
    if fine.len() > MAX_FINE {
        painter.gap();
        painter.sentence(&format!("and {} more that are fine", fine.len() - MAX_FINE));
    }
    let complaints: Vec<String> = report.sources.iter().filter_map(sentence::complaint).collect();
    if !complaints.is_empty() && report.series.len() != 1 {
        painter.gap();
    }
    for complaint in complaints {
        painter.field("source", &complaint);
    }
    if !options.page.is_empty() {
        painter.label("page");
        painter.word(0, &visible(&options.page), Style::Plain);
        painter.word(6, &glued(visible(&options.hint).into_owned()), Style::Dim);
        painter.end();
    }
    painter.out
}

/// One finding as a block; `now` is the time of its report, in Unix seconds.
pub fn render_finding(finding: &Finding, now: f64, options: &Options) -> String {
    let mut painter = Painter::new(options);
    block(&mut painter, finding, now);
    painter.out
}

/// A finding that is fine beside others that are not: what it is and why it is fine.
fn brief(painter: &mut Painter<'_>, finding: &Finding, now: f64) {
    headline(painter, finding, now, None);
    painter.field("why", &finding.explanation);
}

fn block(painter: &mut Painter<'_>, finding: &Finding, now: f64) {
    let site = finding.site.as_ref();
    let aligned = headline(painter, finding, now, site);
    if let Some(site) = site {
        site_line(painter, site, aligned);
        painter.field("called by", &sentence::callers(site));
    }
    for other in finding.other_sites.iter().take(3) {
        other_site_line(painter, other);
    }
    if finding.state != State::Ok {
        let growth =
            format!("{}, {}", glued(units::rate(finding.growth.rate)), sentence::population(finding));
        painter.field("growth", &growth);
    }
    match (finding.class.as_str(), finding.explanation.as_str()) {
        ("", explanation) => painter.field("why", explanation),
        (class, "") => painter.field("class", class),
        (class, explanation) => painter.field("class", &format!("{class}: {explanation}")),
    }
    if finding.state == State::Ok {
        painter.field("open", &sentence::population(finding));
    }
    painter.field("evidence", &evidence(finding));
    if finding.state != State::Ok {
        painter.field("runs out", &sentence::runs_out(finding, now, painter.options.clock));
    }
    for missing in &finding.missing {
        painter.field("missing", missing);
    }
    painter.field("cure", &finding.cure);
}

/// The first line; returns the column of `since`, at which the share of the site is aligned, when it stands there.
fn headline(painter: &mut Painter<'_>, finding: &Finding, now: f64, site: Option<&Site>) -> Option<usize> {
    let (who, label) = (sentence::who(finding), sentence::label(finding));
    painter.put(finding.word(), Style::State(finding.state));
    painter.indent = INDENT;
    if width(&who) + painter.column + 2 <= painter.width {
        painter.word(2, &glued(who), Style::Bold);
    } else {
        painter.prose(2, &who, Style::Bold);
    }
    painter.word(3, &glued(label), Style::Plain);
    let clock = painter.options.clock;
    let began = sentence::began(finding);
    let since = match began > 0.0 {
        true => {
            let words = sentence::since(finding);
            glued(format!("{words} {} {}", clock.moment(began, now), clock.zone()))
        }
        false => String::new(),
    };
    let confidence = match finding.confidence.as_str() {
        "" => String::new(),
        confidence => glued(format!("confidence {}", visible(confidence))),
    };
    let site_width =
        site.map_or(0, |site| INDENT + site_left(site).iter().map(|part| width(part) + 2).sum::<usize>());
    let column = (painter.column + 3).max(site_width + 1);
    let rest = width(&since) + 3 + width(&confidence);
    let aligned = painter.first_line && column + rest <= painter.width;
    if aligned {
        painter.pad_to(column);
    }
    painter.word(if aligned { 0 } else { 3 }, &since, Style::Plain);
    painter.word(3, &confidence, Style::Plain);
    painter.end();
    aligned.then_some(column)
}

/// File and line, and the function: what stands left in a site's line.
fn site_left(site: &Site) -> [String; 2] {
    let file = visible(&site.file);
    [units::location(&file, site.line), visible(&units::function(&site.function)).into_owned()]
}

fn site_line(painter: &mut Painter<'_>, site: &Site, aligned: Option<usize>) {
    let [location, function] = site_left(site);
    painter.label("site");
    painter.path(&location);
    painter.word(2, &glued(function), Style::Plain);
    let share = glued(format!("{} of the growth", units::percent(site.share)));
    match aligned {
        Some(column) if painter.column < column && column + width(&share) <= painter.width => {
            painter.pad_to(column);
            painter.word(0, &share, Style::Plain);
        }
        _ => painter.word(3, &share, Style::Plain),
    }
    if !site.uncertainty.is_empty() {
        painter.prose(1, &format!("({})", visible(&site.uncertainty)), Style::Dim);
    }
    painter.end();
}

fn other_site_line(painter: &mut Painter<'_>, site: &Site) {
    let [location, function] = site_left(site);
    painter.label("also");
    painter.path(&location);
    painter.word(2, &glued(function), Style::Plain);
    painter.word(3, &glued(units::percent(site.share)), Style::Plain);
    painter.end();
}

fn evidence(finding: &Finding) -> String {
    let mut parts = finding.evidence.iter().map(|evidence| {
        let doubt = if evidence.agrees == Some(false) { " (disagrees)" } else { "" };
        format!("{} {}{doubt}", evidence.source, evidence.text)
    });
    let first = parts.next().unwrap_or_default();
    parts.fold(first, |joined, part| format!("{joined}{GLUE}| {part}"))
}

#[cfg(test)]
#[path = "terminal/tests.rs"]
mod tests;

//! All that is known of one finding.

use weir_connection::report::{Finding, Report, State};
use weir_connection::terminal::sentence::{self, began, label, limit_name, population, since, soonest};
use weir_connection::terminal::units;

use super::chart::charts;
use super::evidence::{disagreement, evidence};
use super::html::{Element, el};
use super::lists::{call_stack, exemplars, forecasts, sites, stacks};
use super::parts::{ago, badge, moment, site, source_of, state_class, who};

/// The section of a finding, with its anchor as id.
pub(super) fn finding(report: &Report, finding: &Finding, index: usize, anchor: &str, now: f64) -> Element {
    let passed = now - report.time;
    let mut section = el("section")
        .class(format!("finding {}", state_class(finding.state)))
        .attr("id", anchor)
        .attr("aria-label", format!("{} {}", finding.word(), who(finding)))
        .child(heading(finding, now))
        .child(tiles(report, finding, now))
        .child(advice(finding))
        .child(charts(finding, index, report.time))
        .child(el("h3").text("Evidence"))
        .children(disagreement(finding).map(|text| el("p").class("warn").text(text)))
        .child(evidence(report, finding, passed));
    if !finding.missing.is_empty() {
        let lines = finding.missing.iter().map(|line| el("li").text(line));
        section = section
            .child(el("h3").text("What was not available"))
            .child(el("ul").class("missing").children(lines));
    }
    section = section.children(call_stack(finding));
    section = section.children(sites(&finding.other_sites)).children(forecasts(finding, report.time, now));
    section.children(exemplars(&finding.exemplars)).children(stacks(&finding.stacks))
}

fn heading(finding: &Finding, now: f64) -> Element {
    let title = el("h2").child(badge(finding)).child(el("span").text(who(finding)));
    let mut facts = vec![el("span").text(label(finding))];
    let process = &finding.process;
    if process.pid > 0 || !process.executable.is_empty() {
        let pid = if process.pid > 0 { format!("pid {} ", process.pid) } else { String::new() };
        let host = if process.host.is_empty() { String::new() } else { format!(" on {}", process.host) };
        facts.push(el("span").text(format!("{pid}{}{host}", process.executable)));
    }
    if process.started > 0.0 {
        facts.push(el("span").text(format!("started {}", ago(process.started, now))));
    }
    if !finding.instance.is_empty() {
        facts.push(el("span").text(format!("instance {}", finding.instance)));
    }
    if finding.since > 0.0 {
        let since = el("span").text(format!("{} since ", finding.word().to_lowercase()));
        facts.push(since.child(moment(finding.since, now)));
    }
    el("header").child(title).child(el("p").class("identity").children(facts))
}

fn tiles(report: &Report, finding: &Finding, now: f64) -> Element {
    let tile = |name: &str| el("div").class("tile").child(el("dt").text(name));
    let value = || el("dd").class("value");
    let under = |text: String| el("dd").class("under").text(text);
    let wide = |name: &str| el("div").class("tile wide").child(el("dt").text(name));
    let mut row = el("dl").class("tiles");
    if let Some(found) = &finding.site {
        let made = format!(
            "{} made {} of the growth",
            units::function(&found.function),
            units::percent(found.share)
        );
        let known = source_of(found);
        let callers = sentence::callers(found);
        let called = (!callers.is_empty()).then(|| under(format!("called by {callers}")));
        let place = wide("Where").child(value().child(site(found))).child(under(made)).children(called);
        row = row.child(place.child(under(known)));
    }
    let growth = &finding.growth;
    let rate = match growth.rate {
        _ if finding.verdict_in.is_some() => tile("Growth").child(value().text("not known yet")),
        0.0 => tile("Growth").child(value().text("none")),
        rate => {
            let bounds =
                format!("{} to {}", units::per_second(growth.rate_low), units::per_second(growth.rate_high));
            let mut text = units::per_hour(rate);
            if growth.rate_low != growth.rate_high {
                text = format!("{text}; {bounds}");
            }
            tile("Growth").child(value().text(units::per_second(rate))).child(under(text))
        }
    };
    row = row.child(rate);
    let ended =
        if growth.closed > 0.0 { format!("; {} ended", units::count(growth.closed)) } else { String::new() };
    let of = population(finding);
    let of = of.split_once(" open").map_or("", |(_, rest)| rest.trim_start_matches([',', ' ']));
    row = row.child(
        tile("Open now").child(value().text(units::count(growth.open))).child(under(format!("{of}{ended}"))),
    );
    if matches!(finding.state, State::Leaking | State::Suspect) {
        row = row.child(time_left(finding, report.time, now, tile("Runs out"), value()));
    }
    let began = began(finding);
    let name = if since(finding) == "since" { "Since" } else { "Growing since" };
    let certainty = if finding.confidence.is_empty() {
        String::new()
    } else {
        format!("; {} confidence", finding.confidence)
    };
    if began > 0.0 {
        let since = tile(name).child(value().child(moment(began, now)));
        row = row.child(since.child(under(format!("{}{certainty}", ago(began, now)))));
    }
    row
}

fn time_left(finding: &Finding, made: f64, now: f64, tile: Element, value: Element) -> Element {
    let under = el("dd").class("under");
    let Some(forecast) = soonest(finding) else {
        if let Some(unknown) = finding.forecast.iter().find(|f| !f.unknown.is_empty()) {
            return tile.child(value.text("not known yet")).child(under.text(&unknown.unknown));
        }
        let text = if finding.forecast.is_empty() { "not known" } else { "never" };
        let note =
            finding.forecast.first().map_or("no limit was measured yet", |forecast| forecast.note.as_str());
        return tile.child(value.text(text)).child(under.text(note));
    };
    let end = made + forecast.seconds.unwrap_or(0.0);
    let limit = units::quantity(forecast.limit, &forecast.unit);
    let under = under.text(format!("{} (limit {limit}) at ", limit_name(forecast))).child(moment(end, now));
    tile.child(value.text(format!("in {}", units::duration(end - now)))).child(under)
}

/// What it is and what to do.
fn advice(finding: &Finding) -> Element {
    let mut box_ = el("div").class("advice");
    if !finding.class.is_empty() || !finding.explanation.is_empty() {
        let name = if finding.class.is_empty() { "Why" } else { "What" };
        let mut text = el("dd");
        if !finding.class.is_empty() {
            text = text.child(el("code").text(&finding.class)).text(" ");
        }
        box_ = box_.child(el("dl").child(el("dt").text(name)).child(text.text(&finding.explanation)));
    }
    if !finding.cure.is_empty() {
        let text = el("dd").text(&finding.cure);
        box_ = box_.child(el("dl").class("cure").child(el("dt").text("Do now")).child(text));
    }
    box_
}

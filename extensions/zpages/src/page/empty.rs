//! What the page says when there is nothing to show: what it waits for, what to configure, or why all is well.

use weir_connection::report::{Report, Source, State};
use weir_connection::terminal::units;

use super::html::{Element, el};
use super::parts::{ago, copy, moment};

/// Configuration that gives the detector all three sources; names and shape as in the documentation.
const SOURCES_YAML: &str = "\
receivers:
  grpc_connections: {endpoint: \"127.0.0.1:4327\"}       # events from services with the Go module
  socket_diag: {processes: [{name: checkout}]}         # kernel sockets of these processes
  pprof: {targets: [{endpoint: \"http://127.0.0.1:6060\", service_name: checkout}]}
processors:
  leak_detection: {window: 10m}
exporters:
  debug:
service:
  pipelines:
    metrics: {receivers: [grpc_connections, socket_diag, pprof], processors: [leak_detection], exporters: [debug]}
";

/// The panel for the state of the whole, when there is one to show.
pub(super) fn panel(report: &Report, now: f64) -> Option<Element> {
    if report.series.is_empty() {
        return Some(if report.sources.is_empty() { no_sources() } else { waiting(report, now) });
    }
    let fine = report.series.iter().all(|finding| finding.state == State::Ok);
    let young = report.series.iter().any(|finding| finding.verdict_in.is_some());
    fine.then(|| if young { no_verdict(report, now) } else { all_fine(report, now) })
}

/// The sources with their state, age and complaint.
pub(super) fn sources(report: &Report, now: f64) -> Option<Element> {
    let items = report.sources.iter().map(|source| source_item(source, now));
    let list = el("ul").class("sources").attr("aria-label", "Sources of evidence").children(items);
    (!report.sources.is_empty()).then_some(list)
}

fn source_item(source: &Source, now: f64) -> Element {
    let class = match source.state.as_str() {
        "ok" => "ok",
        "waiting" => "waiting",
        "degraded" => "suspect",
        "failed" => "leaking",
        _ => "waiting",
    };
    let last = if source.last > 0.0 { ago(source.last, now) } else { "no data yet".to_owned() };
    let mut item = el("li")
        .class(class)
        .child(el("b").text(&source.id))
        .child(el("span").class("word").text(&source.state))
        .child(el("span").class("age").text(last));
    let message = match (source.message.as_str(), source.kind.as_str()) {
        ("", _) if source.last > 0.0 => "",
        ("", "events") => "waits for the first event of a service with the Go module",
        ("", "sockets") => "waits for the first read of the sockets of the configured processes",
        ("", "profile") => "waits for the first profile of the configured targets",
        (message, _) => message,
    };
    if !message.is_empty() {
        item = item.child(el("span").class("message").text(message));
    }
    item
}

fn no_sources() -> Element {
    el("section")
        .class("panel")
        .attr("aria-label", "No source is configured")
        .child(el("h2").text("No source of evidence is configured"))
        .child(el("p").text(
            "The detector judges from what receivers tell it: events from inside the process, kernel sockets, \
             profiles. One is enough to begin; with all three the verdict names the line and is surest. Add to the \
             configuration:",
        ))
        .child(el("div").class("yaml").child(el("pre").child(el("code").text(SOURCES_YAML))).child(copy(SOURCES_YAML, "YAML")))
        .child(el("p").text("Then restart weir. This page shows the first series by itself."))
}

fn waiting(report: &Report, now: f64) -> Element {
    let delivering = report.sources.iter().filter(|source| source.last > 0.0).count();
    let running = if report.started > 0.0 {
        units::duration(now - report.started)
    } else {
        "an unknown time".to_owned()
    };
    let (title, text) = if delivering == 0 {
        let title = "No data yet";
        (
            title,
            format!(
                "The agent has run for {running} and none of its sources has delivered; each says above what it waits for."
            ),
        )
    } else {
        let text = format!(
            "{delivering} of {} sources deliver; the agent has run for {running}. A series appears as soon as a process \
             opens a connection, and it is judged once it has been seen for several blocks of half the window.",
            report.sources.len()
        );
        ("Nothing to judge yet", text)
    };
    el("section")
        .class("panel")
        .attr("aria-label", title)
        .child(el("h2").text(title))
        .child(el("p").text(text))
}

/// Why nothing is said yet of some or all series, and when something will be.
fn no_verdict(report: &Report, now: f64) -> Element {
    let young = report.series.iter().filter(|finding| finding.verdict_in.is_some());
    let watched = young.clone().map(|finding| finding.watched).fold(0.0, f64::max);
    let left = young.clone().filter_map(|finding| finding.verdict_in).fold(f64::INFINITY, f64::min);
    let passed = (now - report.time).max(0.0);
    let text = format!(
        "{} of {} series watched, for {} at most: too short to tell a leak from a warm-up, so their state OK says \
         nothing yet. First verdict in about {}.",
        young.count(),
        report.series.len(),
        units::duration(watched + passed),
        units::duration((left - passed).max(0.0))
    );
    el("section")
        .class("panel")
        .attr("aria-label", "No verdict yet")
        .child(el("h2").text("No verdict yet"))
        .child(el("p").text(text))
}

/// Why nothing leaks, since when, and how sure that is.
fn all_fine(report: &Report, now: f64) -> Element {
    let since =
        report.series.iter().map(|finding| finding.since).filter(|since| *since > 0.0).fold(0.0, f64::max);
    let total = report.series.iter().filter(|finding| finding.ended.is_none()).count();
    let series = if total == 1 { "1 series is".to_owned() } else { format!("{total} series are") };
    let mut text = el("p").text(format!("{series} watched and none grows that should not"));
    if since > 0.0 {
        let age = units::duration(now - since);
        text = text.text(", the youngest since ").child(moment(since, now)).text(format!(" ({age})"));
    }
    let delivering = report.sources.iter().filter(|source| source.state == "ok").count();
    let sure = match (delivering, report.sources.len()) {
        (_, 0) => "The sources are not known to this agent: it judges metrics that others sent.".to_owned(),
        (up, all) if up == all && all > 1 => {
            format!("All {all} sources deliver, so a leak would be seen from {all} sides.")
        }
        (up, all) => format!(
            "{up} of {all} sources deliver: leaks that show only in the others would be missed. {}",
            "See the sources above for what is wanting."
        ),
    };
    el("section")
        .class("panel fine")
        .attr("aria-label", "Everything is fine")
        .child(el("h2").text("Everything is fine"))
        .child(text.text("."))
        .child(el("p").text(sure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_to_copy_is_yaml_whose_pipeline_names_only_what_it_defines() {
        let config: serde_yaml_ng::Value = serde_yaml_ng::from_str(SOURCES_YAML).unwrap();
        let pipeline = &config["service"]["pipelines"]["metrics"];
        for kind in ["receivers", "processors", "exporters"] {
            let used = pipeline[kind].as_sequence().unwrap();
            assert!(!used.is_empty());
            for id in used {
                assert!(config[kind].as_mapping().unwrap().contains_key(id), "{id:?} is not defined");
            }
        }
    }
}

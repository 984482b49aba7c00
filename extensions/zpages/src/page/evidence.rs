//! What each source says of a finding, side by side.

use weir_connection::report::{Evidence, Finding, Report};
use weir_connection::terminal::sentence::complaint;
use weir_connection::terminal::units;

use super::html::{Element, el};

/// A point of view: its title, the sources of evidence in it, the kind of source that delivers it, and what is
/// needed when there is none.
struct View {
    title: &'static str,
    sources: &'static [&'static str],
    kind: &'static str,
    absent: &'static str,
}

const VIEWS: [View; 3] = [
    View {
        title: "Inside the process",
        sources: &["events"],
        kind: "events",
        absent: "No events. The Go module in the service tells of every connection and the line that made it; \
                 receiver grpc_connections takes them.",
    },
    View {
        title: "Kernel",
        sources: &["sockets", "process"],
        kind: "sockets",
        absent: "No sockets. Receiver socket_diag reads them for the processes it is given.",
    },
    View {
        title: "Profile",
        sources: &["goroutines", "heap"],
        kind: "profile",
        absent: "No profile. Receiver pprof reads goroutines and heap when the service serves net/http/pprof.",
    },
];

/// Three columns, a fourth for sources that belong to none of them, and what was missing. `passed` seconds have gone
/// by since the report was made.
pub(super) fn evidence(report: &Report, finding: &Finding, passed: f64) -> Element {
    let columns = VIEWS.iter().map(|view| column(report, finding, view, passed));
    let known =
        |evidence: &&Evidence| VIEWS.iter().any(|view| view.sources.contains(&evidence.source.as_str()));
    let others: Vec<&Evidence> = finding.evidence.iter().filter(|evidence| !known(evidence)).collect();
    let mut row = el("div").class("evidence").children(columns);
    if !others.is_empty() {
        let items = others.into_iter().map(|evidence| item(evidence, passed));
        row = row.child(el("section").child(el("h4").text("Other sources")).children(items));
    }
    row
}

/// Whether sources contradict the verdict, in a sentence; nothing when all agree.
pub(super) fn disagreement(finding: &Finding) -> Option<String> {
    let against: Vec<&str> =
        finding.evidence.iter().filter(|e| e.agrees == Some(false)).map(|e| e.source.as_str()).collect();
    (!against.is_empty())
        .then(|| format!("{} contradicts the verdict; it stands with less confidence.", against.join(", ")))
}

fn column(report: &Report, finding: &Finding, view: &View, passed: f64) -> Element {
    let items: Vec<Element> = finding
        .evidence
        .iter()
        .filter(|evidence| view.sources.contains(&evidence.source.as_str()))
        .map(|evidence| item(evidence, passed))
        .collect();
    let section = el("section").child(el("h4").text(view.title));
    if !items.is_empty() {
        return section.children(items);
    }
    let complaints: Vec<String> =
        report.sources.iter().filter(|source| source.kind == view.kind).filter_map(complaint).collect();
    let configured = report.sources.iter().any(|source| source.kind == view.kind);
    let text = match (complaints.is_empty(), configured) {
        (false, _) => complaints.join("; "),
        (true, true) => "Works, but has nothing to say of this series.".to_owned(),
        (true, false) => view.absent.to_owned(),
    };
    section.class("absent").child(el("p").text(text))
}

fn item(evidence: &Evidence, passed: f64) -> Element {
    let (class, verdict) = match evidence.agrees {
        Some(true) => ("agrees", "supports"),
        Some(false) => ("disagrees", "contradicts"),
        None => ("silent", "says nothing"),
    };
    let age = format!(
        "{} old",
        units::duration(evidence.age + if passed.is_finite() { passed.max(0.0) } else { 0.0 })
    );
    let head = el("p")
        .class("source")
        .child(el("b").text(&evidence.source))
        .child(el("span").class(format!("vote {class}")).text(verdict))
        .child(el("span").class("age").text(age));
    let details = evidence.details.iter().map(|line| el("li").text(line));
    let article = el("article").child(head).child(el("p").class("says").text(&evidence.text));
    if evidence.details.is_empty() { article } else { article.child(el("ul").children(details)) }
}

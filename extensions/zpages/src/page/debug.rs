//! The debug pages: index, pipelines, service, extensions, features.

use weir_connection::terminal::units;

use super::document::{Document, PAGES};
use super::html::{Element, el};
use super::parts::{moment, wide_table};

/// The agent as a service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceView {
    /// Name, such as `weir`.
    pub name: String,
    /// Version.
    pub version: String,
    /// When it started, in Unix seconds; 0 when unknown.
    pub started: f64,
    /// How long it has run, in seconds.
    pub uptime: f64,
    /// Pid, 0 when unknown.
    pub pid: u32,
    /// Further facts to show as they are, such as `("configuration", "weir.yaml")`.
    pub facts: Vec<(String, String)>,
}

/// A pipeline and its components in the order in which data passes them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PipelineView {
    /// Id as configured, such as `metrics/leaks`.
    pub id: String,
    /// `traces`, `metrics`, `logs` or `profiles`.
    pub signal: String,
    /// Receivers and connectors at its beginning.
    pub receivers: Vec<ComponentView>,
    /// Processors.
    pub processors: Vec<ComponentView>,
    /// Exporters and connectors at its end.
    pub exporters: Vec<ComponentView>,
}

/// A component and what it has counted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ComponentView {
    /// Id as configured, such as `otlp_http/prometheus`.
    pub id: String,
    /// What is wrong with it and the cure; empty when all is well.
    pub trouble: String,
    /// Live counts by name, such as `("items sent", 12_000.0)`, in the order to show them.
    pub counts: Vec<(String, f64)>,
}

/// An extension.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExtensionView {
    /// Id as configured.
    pub id: String,
    /// What is wrong with it; empty when all is well.
    pub trouble: String,
    /// What it offers, such as an address.
    pub note: String,
}

/// A feature gate.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeatureView {
    /// Id, such as `exporter.queue.durable`.
    pub id: String,
    /// Whether it is on.
    pub enabled: bool,
    /// `alpha`, `beta`, `stable` or `deprecated`.
    pub stage: String,
    /// What it changes.
    pub description: String,
}

/// The page `/debug`: where everything is.
pub fn index_html(service: &ServiceView) -> String {
    let items = PAGES.iter().map(|&(href, name, what)| {
        el("li").child(el("a").attr("href", href).text(name)).child(el("span").class("quiet").text(what))
    });
    let main = page("Pages").child(el("ul").class("index").children(items));
    document("/debug", "Pages", service, main)
}

/// The page `/debug/pipelinez`: every pipeline with its components and their live counts.
pub fn pipelines_html(service: &ServiceView, pipelines: &[PipelineView]) -> String {
    let mut main = page("Pipelines");
    if pipelines.is_empty() {
        main = main.child(
            el("p").text("No pipeline runs. Pipelines stand under service::pipelines in the configuration."),
        );
    }
    document("/debug/pipelinez", "Pipelines", service, main.children(pipelines.iter().map(pipeline)))
}

/// The page `/debug/servicez`: what runs here, since when, from which configuration.
pub fn service_html(service: &ServiceView) -> String {
    let fact =
        |name: &str, value: Element| el("tr").child(el("th").attr("scope", "row").text(name)).child(value);
    let text = |value: &str| el("td").text(value);
    let now = service.started + service.uptime;
    let mut rows = vec![fact("name", text(&service.name)), fact("version", text(&service.version))];
    if service.started > 0.0 {
        rows.push(fact("started", el("td").child(moment(service.started, now))));
    }
    rows.push(fact("up", text(&units::duration(service.uptime))));
    if service.pid > 0 {
        rows.push(fact("pid", text(&service.pid.to_string())));
    }
    rows.extend(service.facts.iter().map(|(name, value)| fact(name, text(value))));
    let table = el("table").class("facts").child(el("tbody").children(rows));
    document("/debug/servicez", "Service", service, page("Service").child(table))
}

/// The page `/debug/extensionz`: the extensions that run.
pub fn extensions_html(service: &ServiceView, extensions: &[ExtensionView]) -> String {
    let rows: Vec<Vec<Element>> = extensions
        .iter()
        .map(|extension| {
            vec![
                el("th").attr("scope", "row").text(&extension.id),
                el("td").child(health(&extension.trouble)),
                el("td").class("prose").text(&extension.note),
            ]
        })
        .collect();
    let heads = [("", "Extension"), ("", "State"), ("", "Note")];
    let content = if rows.is_empty() {
        el("p")
            .text("No extension runs. Extensions are named under service::extensions in the configuration.")
    } else {
        wide_table("Extensions", &heads, rows)
    };
    document("/debug/extensionz", "Extensions", service, page("Extensions").child(content))
}

/// The page `/debug/featurez`: feature gates and what they change.
pub fn features_html(service: &ServiceView, features: &[FeatureView]) -> String {
    let rows: Vec<Vec<Element>> = features
        .iter()
        .map(|feature| {
            let state = if feature.enabled { ("word ok", "on") } else { ("word quiet", "off") };
            vec![
                el("th").attr("scope", "row").child(el("code").text(&feature.id)),
                el("td").child(el("span").class(state.0).text(state.1)),
                el("td").text(&feature.stage),
                el("td").class("prose").text(&feature.description),
            ]
        })
        .collect();
    let heads = [("", "Feature"), ("", "State"), ("", "Stage"), ("", "What it changes")];
    let content = if rows.is_empty() {
        el("p").text("This version has no feature gates.")
    } else {
        wide_table("Features", &heads, rows)
    };
    document("/debug/featurez", "Features", service, page("Features").child(content))
}

fn page(title: &str) -> Element {
    el("main").attr("id", "main").child(el("h1").text(title))
}

fn document(path: &'static str, title: &str, service: &ServiceView, main: Element) -> String {
    let up = format!("up {}", units::duration(service.uptime));
    let name = format!("{} {}", service.name, service.version);
    Document {
        title: format!("{title} · weir"),
        icon: "ok",
        path,
        meta: el("p").class("meta").child(el("span").text(name.trim())).child(el("span").text(up)),
        main: main
            .attr("data-now", (service.started + service.uptime).to_string())
            .child(el("p").class("freshness").child(el("span").class("live"))),
        json: "null".to_owned(),
    }
    .render()
}

fn pipeline(pipeline: &PipelineView) -> Element {
    let lane = |name: &str, components: &[ComponentView]| {
        let items = components.iter().map(component);
        let empty = components.is_empty().then(|| el("p").class("quiet").text("none"));
        el("div").class("lane").child(el("h3").text(name)).children(items).children(empty)
    };
    let title = el("h2").child(el("span").text(&pipeline.id)).child(el("small").text(&pipeline.signal));
    let lanes = el("div")
        .class("lanes")
        .child(lane("Receivers", &pipeline.receivers))
        .child(lane("Processors", &pipeline.processors))
        .child(lane("Exporters", &pipeline.exporters));
    el("section").class("pipeline").attr("data-key", &pipeline.id).child(title).child(lanes)
}

fn component(component: &ComponentView) -> Element {
    let counts = component.counts.iter().map(|(name, value)| {
        el("div").child(el("dt").text(name)).child(el("dd").class("num").text(units::count(*value)))
    });
    let head = el("p").class("source").child(el("b").text(&component.id)).child(health(&component.trouble));
    el("article").child(head).child(el("dl").class("counts").children(counts))
}

fn health(trouble: &str) -> Element {
    match trouble {
        "" => el("span").class("word ok").text("ok"),
        trouble => el("span").class("word leaking").text(trouble),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\"'";

    fn hostile() -> (ServiceView, PipelineView) {
        let component = ComponentView {
            id: HOSTILE.into(),
            trouble: HOSTILE.into(),
            counts: vec![(HOSTILE.into(), f64::NAN)],
        };
        let pipeline = PipelineView {
            id: HOSTILE.into(),
            signal: HOSTILE.into(),
            receivers: vec![component.clone()],
            processors: vec![component.clone()],
            exporters: vec![component],
        };
        let facts = vec![(HOSTILE.to_owned(), HOSTILE.to_owned())];
        let service =
            ServiceView { name: HOSTILE.into(), version: HOSTILE.into(), facts, ..ServiceView::default() };
        (service, pipeline)
    }

    #[test]
    fn names_and_counts_of_every_component_are_shown() {
        let exporter = ComponentView {
            id: "otlp_http/prometheus".into(),
            trouble: "queue is full".into(),
            counts: vec![("items sent".into(), 12_000.0)],
        };
        let view =
            PipelineView { id: "metrics".into(), exporters: vec![exporter], ..PipelineView::default() };
        let page = pipelines_html(&ServiceView::default(), &[view]);
        for text in ["otlp_http/prometheus", "queue is full", "items sent", "12,000", "none"] {
            assert!(page.contains(text), "{text}");
        }
    }

    #[test]
    fn hostile_names_stay_text_on_every_page() {
        let (service, pipeline) = hostile();
        let extension = ExtensionView { id: HOSTILE.into(), trouble: HOSTILE.into(), note: HOSTILE.into() };
        let feature = FeatureView {
            id: HOSTILE.into(),
            enabled: true,
            stage: HOSTILE.into(),
            description: HOSTILE.into(),
        };
        let pages = [
            index_html(&service),
            pipelines_html(&service, &[pipeline]),
            service_html(&service),
            extensions_html(&service, &[extension]),
            features_html(&service, &[feature]),
        ];
        for page in pages {
            assert!(!page.contains("<img"), "{page}");
            assert_eq!(page.matches("</script>").count(), 2);
        }
    }
}

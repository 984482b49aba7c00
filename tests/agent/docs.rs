//! The documentation is true: its configurations are accepted, its links lead somewhere, its lists are complete.
//!
//! `docs/components.md` is made from the `metadata.yaml` files: `BLESS=1 cargo test -p weir --test agent docs` writes it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;
use serde_yaml_ng::Value;
use weir_connection::names::{Described, Kind, leak_metric, metric};
use weir_connection::report::{Caller, Evidence, Exemplar, Finding, Forecast, Report, Site, Source, Stack};

use crate::conformance::{
    Component, OptionOf, complement, components, errors_of, root, sections, yaml_blocks,
};

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Files that are tracked or about to be, relative to the root.
fn tracked() -> Vec<PathBuf> {
    // A checkout may belong to another user than the one who runs the tests.
    let arguments =
        ["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root()).output().expect("git runs");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).expect("names are UTF-8");
    let files: Vec<PathBuf> = list.split_terminator('\0').map(PathBuf::from).collect();
    // One that was removed and not committed yet is still listed.
    files.into_iter().filter(|f| root().join(f).is_file()).collect()
}

/// Pages for readers.
fn pages() -> Vec<PathBuf> {
    tracked().into_iter().filter(|f| f.extension().is_some_and(|e| e == "md")).collect()
}

/// Blocks indented by four spaces, without the indent; those of lists do not count.
fn indented_blocks(page: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    let (mut fenced, mut in_list) = (false, false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        in_list = !line.is_empty()
            && (line.starts_with("- ") || line.starts_with(|c: char| c.is_ascii_digit()))
            || in_list && (line.is_empty() || line.starts_with(' '));
        let block = blocks.last_mut().expect("one is there");
        match line.strip_prefix("    ") {
            Some(code) if !fenced && !in_list => {
                block.push_str(code);
                block.push('\n');
            }
            _ if line.is_empty() && !block.is_empty() => block.push('\n'),
            _ => blocks.push(String::new()),
        }
    }
    blocks.retain(|b| !b.trim().is_empty());
    blocks
}

/// Whether a text is a configuration or a part of one, and whether it is whole.
fn configuration(block: &str) -> Option<(Value, bool)> {
    let value: Value = serde_yaml_ng::from_str(block).ok()?;
    let sections = ["receivers", "processors", "exporters", "connectors", "extensions", "service"];
    let keys = value.as_mapping()?.keys();
    let known = keys.filter_map(Value::as_str).filter(|k| sections.contains(k)).count();
    let whole = ["receivers", "exporters", "service"].iter().all(|k| value.get(k).is_some())
        && value["service"].get("pipelines").is_some();
    (known > 0 && known == value.as_mapping()?.len()).then_some((value, whole))
}

#[test]
fn configurations_in_the_docs_are_accepted() {
    let (mut checked, mut whole_ones) = (0, 0);
    // Those of tests are about other programs.
    for page in pages().into_iter().filter(|p| !p.starts_with("tests")) {
        let text = read(&page);
        let fenced = yaml_blocks(&text);
        for block in &fenced {
            assert!(serde_yaml_ng::from_str::<Value>(block).is_ok(), "{}: no YAML:\n{block}", page.display());
        }
        for block in fenced.into_iter().chain(indented_blocks(&text)) {
            let Some((value, whole)) = configuration(&block) else { continue };
            let rest = serde_yaml_ng::to_string(&complement(&value)).expect("it prints");
            let (code, errors) = if whole { errors_of(&[&block]) } else { errors_of(&[&block, &rest]) };
            assert_eq!((code, errors), (Some(0), vec![]), "{}:\n{block}", page.display());
            checked += 1;
            whole_ones += usize::from(whole);
        }
    }
    assert!(
        checked >= components().len() && whole_ones >= 2,
        "{checked} examples, {whole_ones} of them whole"
    );
}

#[test]
fn configurations_of_the_examples_are_accepted() {
    let files: Vec<PathBuf> = fs::read_dir(root().join("examples/leaky"))
        .expect("examples/leaky")
        .map(|e| e.expect("an entry").path())
        .filter(|f| f.extension().is_some_and(|e| e == "yaml"))
        .collect();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        assert_eq!(errors_of(&[&read(&file)]), (Some(0), vec![]), "{}", file.display());
    }
}

/// The targets of links and pictures of a page, code left out.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in page.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced || line.starts_with("    ") {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("");
        for rest in prose.split("](").skip(1) {
            found.extend(rest.split(')').next().map(ToOwned::to_owned));
        }
    }
    found
}

/// The anchors that headings of a page have.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|l| l.starts_with('#')).map(|l| l.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut checked = 0;
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = page.parent().expect("a folder");
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            // Pictures are made by hand, after what they show.
            let picture = target.starts_with("docs/img");
            assert!(picture || root().join(&target).exists(), "{}: {link} is not there", page.display());
            if !anchor.is_empty() {
                let there = anchors(&read(&target));
                assert!(there.contains(anchor), "{}: {link} has no such heading: {there:?}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked} links found");
}

#[test]
fn pages_that_programs_and_sources_name_exist() {
    let mut checked = 0;
    for file in tracked() {
        let name = file.to_string_lossy();
        // What tests print is made up.
        if name.ends_with("tests.rs")
            || !["rs", "go", "md", "yaml", "sh"].iter().any(|e| name.ends_with(&format!(".{e}")))
        {
            continue;
        }
        for rest in read(&file).split("docs/").skip(1) {
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-_/.".contains(c)).unwrap_or(rest.len());
            let Some(page) = rest[..end].strip_suffix(".md").or(rest[..end].strip_suffix(".md.")) else {
                continue;
            };
            let there = root().join("docs").join(format!("{page}.md"));
            assert!(there.exists(), "{} speaks of docs/{page}.md", file.display());
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked} pages named");
}

/// `docs/components.md` as it has to be.
fn component_page() -> String {
    let mut page = String::from(
        "# Components\n\n\
         Made from the `metadata.yaml` of each component by `BLESS=1 cargo test -p weir --test agent docs`; edit those.\n\n\
         Names of nested options are joined by dots, `[]` marks a list. Durations are written as `300ms`, `5s`, `1h30m`.\n\
         A section that is off turns on when its key is written, also without a value; `enabled: false` in it turns it off.\n\
         The last column compares an option with the Collector's of that name; components without it are Weir's own.\n\n\
         | component | kind | stability | signals | what it does |\n|---|---|---|---|---|\n",
    );
    let all = components();
    for c in &all {
        let (stability, description) = (c.stability_in_words(), cell(&c.text("description")));
        let anchor = format!("{}-{}", c.name, c.kind);
        let line = writeln!(
            page,
            "| [{}](#{anchor}) | {} | {stability} | {} | {description} |",
            c.name,
            c.kind,
            c.signals().join(", ")
        );
        line.expect("a String takes everything");
    }
    for c in &all {
        component_section(&mut page, c).expect("a String takes everything");
    }
    page
}

fn component_section(page: &mut String, c: &Component) -> std::fmt::Result {
    writeln!(page, "\n## {} {}\n", c.name, c.kind)?;
    writeln!(page, "{} [README](../{}/{}/README.md)\n", c.text("description"), c.section, c.name)?;
    let options = c.options();
    if options.is_empty() {
        return writeln!(page, "No options.");
    }
    let compared = c.has_counterpart();
    let (title, line) = if compared { (" Collector |", "---|") } else { ("", "") };
    writeln!(page, "| option | type | default | effect | edge |{title}\n|---|---|---|---|---|{line}")?;
    for o in options {
        let edge = if o.edge.eq_ignore_ascii_case("none") || o.edge == "None." {
            String::new()
        } else {
            cell(&o.edge)
        };
        let default = if o.default.is_empty() { String::new() } else { format!("`{}`", o.default) };
        let collector = o.collector.as_ref().map_or(String::new(), |c| format!(" {} |", cell(c)));
        let (name, kind, effect, parts) = (&o.name, &o.kind, cell(&o.effect), parts_elsewhere(&o));
        writeln!(page, "| `{name}` | {kind} | {default} | {effect}{parts} | {edge} |{collector}")?;
    }
    Ok(())
}

/// Where the parts of a section are described, if not here.
fn parts_elsewhere(o: &OptionOf) -> String {
    let Some((of, section)) = o.parts.as_deref().and_then(|p| p.split_once(' ')) else {
        return String::new();
    };
    let (kind, name) = of.split_once('/').expect("a component");
    let kind = kind.trim_end_matches('s');
    format!(" Its options are those of `{section}` of the [{name} {kind}](#{name}-{kind}).")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[test]
fn the_page_of_components_is_what_their_metadata_says() {
    let (path, wanted) = (root().join("docs/components.md"), component_page());
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &wanted).expect("docs/components.md is written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = written.lines().zip(wanted.lines()).find(|(a, b)| a != b);
    assert!(
        written == wanted,
        "docs/components.md is out of date (BLESS=1 writes it), first at {differs:#?}"
    );
}

/// A page with its table after `mark` written anew.
fn with_table(page: &str, mark: &str, metrics: &[&Described]) -> String {
    let mark = format!("<!-- {mark} -->\n");
    let (before, rest) = page.split_once(&mark).expect("the mark");
    let (_, after) = rest.split_once("<!-- end -->").expect("the end of the table");
    let mut table = "| metric | type, unit | extra attributes | meaning |\n|---|---|---|---|\n".to_owned();
    for m in metrics {
        let kind = match m.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "monotonic cumulative sum",
            Kind::Histogram => "cumulative histogram",
        };
        let unit = if m.unit.starts_with('{') { format!("`{}`", m.unit) } else { m.unit.to_owned() };
        writeln!(table, "| `{}` | {kind}, {unit} | {} | {} |", m.name, m.attributes, m.description)
            .expect("a string takes it");
    }
    format!("{before}{mark}{table}<!-- end -->{after}")
}

#[test]
fn the_tables_of_metrics_are_what_the_metrics_say_of_themselves() {
    let path = root().join("docs/telemetry.md");
    let written = fs::read_to_string(&path).expect("docs/telemetry.md");
    let wanted = with_table(&written, "metrics of the sources", metric::ALL);
    let wanted = with_table(&wanted, "metrics of the detector", leak_metric::ALL);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &wanted).expect("docs/telemetry.md is written");
    }
    let differs = wanted.lines().find(|line| !written.lines().any(|l| l == *line));
    assert!(wanted == written, "docs/telemetry.md is out of date (BLESS=1 writes it), first at {differs:?}");
}

#[test]
fn every_name_of_a_metric_and_attribute_is_documented() {
    let names = read(Path::new("connection/src/names.rs"));
    let list = names.split("\nnames! {").nth(1).expect("the list of names");
    let names: Vec<&str> = list.lines().filter_map(|l| l.split('"').nth(1)).collect();
    assert!(names.len() > 20, "{names:?}");
    let page = read(Path::new("docs/telemetry.md"));
    let missing: Vec<&&str> = names.iter().filter(|n| !page.contains(&format!("`{n}`"))).collect();
    assert!(missing.is_empty(), "docs/telemetry.md says nothing of {missing:?}");
}

#[test]
fn every_span_attribute_is_documented() {
    let source = read(Path::new("connection/src/spans.rs"));
    let code = source.split("#[cfg(test)]").next().expect("the code");
    let page = read(Path::new("docs/telemetry.md"));
    let mut checked = 0;
    for name in code.split('"').skip(1).step_by(2).filter(|t| t.contains('.') && !t.contains([' ', '{'])) {
        assert!(page.contains(&format!("`{name}`")), "docs/telemetry.md says nothing of {name}");
        checked += 1;
    }
    assert!(checked > 8, "{checked} attributes found");
}

/// The parts of the names of options of the `otlp` receiver below `protocols::PORT`.
fn options_of_port(port: &str) -> BTreeSet<String> {
    let all = components();
    let otlp = all.iter().find(|c| c.label() == "receivers/otlp").expect("the receiver");
    let below = |name: &str| name.strip_prefix(&format!("protocols.{port}.")).map(ToOwned::to_owned);
    let names = otlp.options().into_iter().filter_map(|o| below(&o.name));
    names.flat_map(|name| name.split('.').map(ToOwned::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn the_limits_of_the_receiver_say_which_port_has_an_option() {
    let page = read(Path::new("receivers/otlp/README.md"));
    let (_, rest) = page.split_once("## Limits\n").expect("the heading");
    let rows = rest.lines().skip(1).skip_while(|l| !l.starts_with("|---")).skip(1);
    let (grpc, http) = (options_of_port("grpc"), options_of_port("http"));
    let mut checked = 0;
    for row in rows.take_while(|l| l.starts_with('|')) {
        let options = row.trim_end_matches([' ', '|']).rsplit_once('|').expect("cells").1;
        for part in options.split([',', ';']) {
            let names = part.split('`').skip(1).step_by(2);
            for name in names.flat_map(|path| path.split("::")) {
                let there = (grpc.contains(name), http.contains(name));
                let said = match (part.contains("(gRPC)"), part.contains("(HTTP)")) {
                    (false, false) => [(true, true), (false, false)].contains(&there),
                    said => said == there,
                };
                assert!(said, "{name}, of gRPC and HTTP {there:?}, in {row}");
                checked += 1;
            }
        }
    }
    assert!(checked > 12, "{checked} options found");
}

/// The words in backticks of a page.
fn code(page: &str) -> BTreeSet<&str> {
    page.split('`').skip(1).step_by(2).flat_map(|code| code.split([' ', ':', ',', '{', '}', '='])).collect()
}

#[test]
fn the_options_of_the_agents_own_telemetry_are_on_one_page() {
    let errors = |bodies: Vec<Value>| {
        let of_body = |body: &Value| {
            let body = serde_yaml_ng::to_string(&serde_json::json!({"service": {"telemetry": body}}));
            let config = "receivers: {nop: }\nexporters: {nop: }\nservice: {pipelines: {logs: {receivers: [nop], exporters: [nop]}}}\n";
            errors_of(&[config, &body.expect("it prints")]).1
        };
        bodies.iter().map(of_body).enumerate().collect()
    };
    let page = read(Path::new("docs/operate.md"));
    let known: BTreeSet<String> = sections(errors).into_values().flatten().collect();
    let named = code(&page);
    let missing: Vec<_> = known.iter().filter(|name| !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/operate.md says nothing of {missing:?}");
    assert!(known.len() > 80, "{} options", known.len());
}

#[test]
fn the_flags_of_the_command_line_are_on_one_page() {
    let help = |command: &str| {
        let arguments = command.split_whitespace().chain(["--help"]);
        let output =
            Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).output().expect("the binary runs");
        String::from_utf8(output.stdout).expect("help is UTF-8")
    };
    let page = read(Path::new("docs/operate.md"));
    let commands: Vec<&str> =
        page.lines().filter_map(|l| l.strip_prefix("| `weir")?.split('`').next()).collect();
    let listed = help("");
    let listed = listed.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    let listed: BTreeSet<&str> =
        listed.filter_map(|l| l.split_whitespace().next()).filter(|c| *c != "help").collect();
    let described: BTreeSet<&str> = commands.iter().map(|c| c.trim()).filter(|c| !c.is_empty()).collect();
    assert_eq!(described, listed, "docs/operate.md on the left, `weir --help` on the right");
    let texts: Vec<String> = commands.iter().map(|command| help(command)).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let flag = |line: &str| {
        let name = line.trim_start().trim_start_matches("-v, ").trim_start_matches("-h, ");
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(name.len());
        name.starts_with("--").then(|| name[..end].to_owned())
    };
    let flags: BTreeSet<String> = lines.filter_map(flag).collect();
    let rows = page.lines().filter_map(|l| l.strip_prefix("| `--")?.split(" |").next());
    let named: BTreeSet<String> = rows
        .flat_map(|cell| cell.split("`, `--").map(|f| format!("--{}", f.trim_end_matches('`'))))
        .collect();
    assert_eq!(named, flags, "docs/operate.md on the left, what is in the help of each command on the right");
}

/// Dotted names of all fields of the document of verdicts.
fn fields(value: &Json, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Json::Object(map) => {
            for (key, inner) in map {
                let name = format!("{prefix}{key}");
                found.insert(name.clone());
                let below = if inner.is_array() { format!("{name}[].") } else { format!("{name}.") };
                fields(inner, &below, found);
            }
        }
        Json::Array(list) => list.iter().for_each(|inner| fields(inner, prefix, found)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_document_of_verdicts_is_documented() {
    let finding = Finding {
        site: Some(Site { callers: vec![Caller::default()], ..Site::default() }),
        other_sites: vec![Site::default()],
        evidence: vec![Evidence::default()],
        forecast: vec![Forecast::default()],
        exemplars: vec![Exemplar::default()],
        stacks: vec![Stack::default()],
        ..Finding::default()
    };
    let report = Report { sources: vec![Source::default()], series: vec![finding], ..Report::default() };
    let mut all = BTreeSet::new();
    fields(&serde_json::to_value(report).expect("it is JSON"), "", &mut all);
    // The same shape as `site`, documented there.
    all.retain(|f| !f.starts_with("series[].other_sites[]."));
    assert!(all.len() > 60, "{all:?}");
    let page = read(Path::new("docs/leaks-json.md"));
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|l| l.strip_prefix("| `")?.split('`').next().map(ToOwned::to_owned))
        .collect();
    assert_eq!(documented, all, "docs/leaks-json.md on the left, connection/src/report.rs on the right");
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    // Written apart, so that this file does not find itself.
    let words = [
        ["/wor", "k/"].concat(),
        ["../sha", "red"].concat(),
        ["crates", ".io"].concat(),
        ["proxy.gol", "ang.org"].concat(),
        ["py", "pi.org"].concat(),
        ["registry.npm", "js.org"].concat(),
    ];
    let mut found = Vec::new();
    for file in tracked() {
        // Cargo's own form of a lock names where crates come from.
        if file.file_name().is_some_and(|n| n == "Cargo.lock") {
            continue;
        }
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|w| line.contains(w)) {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    // One test reads the Collector's own cases where they are at hand.
    found.retain(|f| !f.starts_with("config/src/resolve/tests.rs:"));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

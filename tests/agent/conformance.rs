//! Every component keeps the promises of its folder: `metadata.yaml`, the README and the code say the same.

mod component;
mod configuration;
mod options;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value as Json;
use serde_yaml_ng::{Mapping, Value};

use crate::support::{Agent, free_port, post};
pub(crate) use component::{Component, OptionOf, components, root, yaml_blocks};
use component::{SECTIONS, scalar, text};
pub(crate) use configuration::{complement, errors_of};
use configuration::{merged, put, yaml};
pub(crate) use options::sections;

/// A whole configuration around bodies of one component, each under an id of its own: `type/0`, `type/1` and so on.
fn with_bodies(component: &Component, bodies: Vec<Value>) -> String {
    let mut config = yaml(
        "{receivers: {nop: }, exporters: {nop: }, service: {pipelines: {traces: {receivers: [nop], exporters: [nop]}}}}",
    );
    for (i, body) in bodies.into_iter().enumerate() {
        put(&mut config, &["x", &format!("{}/{i}", component.name)], body);
    }
    let bodies = config.as_mapping_mut().expect("a mapping").remove("x").expect("at least one body");
    let own = Value::Mapping(Mapping::from_iter([(Value::from(component.section), bodies)]));
    serde_yaml_ng::to_string(&merged(config, own)).expect("it prints")
}

/// The errors of each body, by its number.
fn errors_by_body(component: &Component, bodies: Vec<Value>) -> BTreeMap<usize, Vec<Json>> {
    if bodies.is_empty() {
        return BTreeMap::new();
    }
    let (_, errors) = errors_of(&[&with_bodies(component, bodies)]);
    let start = format!("{}::{}/", component.section, component.name);
    let mut by_body: BTreeMap<usize, Vec<Json>> = BTreeMap::new();
    for error in errors {
        let path = error["path"].as_str().unwrap_or_default();
        let rest =
            path.strip_prefix(&start).unwrap_or_else(|| panic!("an error about something else: {error}"));
        let number = rest.split("::").next().unwrap_or_default().parse().expect("the number of a body");
        by_body.entry(number).or_default().push(error);
    }
    by_body
}

/// A body with one value at `a.b[].c`; the empty path is the body itself.
fn nested(path: &str, value: Value) -> Value {
    path.split('.').rev().filter(|part| !part.is_empty()).fold(value, |inner, part| {
        let (key, inner) = match part.strip_suffix("[]") {
            Some(key) => (key, Value::Sequence(vec![inner])),
            None => (part, inner),
        };
        Value::Mapping(Mapping::from_iter([(Value::from(key), inner)]))
    })
}

/// A value that an option of that type takes; it need not make sense beside others.
fn plausible(option: &OptionOf) -> Value {
    match option.kind.as_str() {
        "bool" => Value::from(true),
        "int" => Value::from(1),
        "float" => Value::from(0.5),
        "any" => Value::from(vec![1]),
        "duration" => Value::from("1s"),
        "string" => Value::from(option.default.as_str()),
        "section" | "map" => Value::Mapping(Mapping::new()),
        list if list.starts_with("list") => Value::Sequence(Vec::new()),
        words if words.contains(" or ") => Value::from(option.default.as_str()),
        other => panic!("option {} has the unknown type {other:?}", option.name),
    }
}

#[test]
fn the_program_has_exactly_the_components_that_have_a_folder() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_weir")).arg("components").output().expect("the binary runs");
    let listed: Value = serde_yaml_ng::from_slice(&output.stdout).expect("the list is YAML");
    for (section, kind) in SECTIONS {
        let entries = listed.get(section).and_then(Value::as_sequence).expect(section);
        let stability =
            |entry: &Value| entry.get("stability").and_then(Value::as_mapping).cloned().expect("stability");
        let in_program: BTreeMap<String, BTreeSet<String>> = entries
            .iter()
            .map(|e| {
                (
                    text(e, "name", section),
                    stability(e)
                        .iter()
                        .map(|(k, v)| scalar(k) + ": " + &scalar(v))
                        .filter(|line| !line.ends_with(": Undefined"))
                        .collect(),
                )
            })
            .collect();
        let mut in_folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for c in components().iter().filter(|c| c.section == section) {
            let stability = |signal: &str| {
                let stability = c.stability(signal);
                let (first, rest) = stability.split_at(1);
                first.to_uppercase() + rest
            };
            let signals = match kind {
                "extension" => vec!["extension".to_owned()],
                // As in the Collector, profiles are not listed.
                _ => c.signals().into_iter().filter(|signal| signal != "profiles").collect(),
            };
            // A connector is listed by pairs of signals, its metadata names their union.
            let listed = in_program.get(&c.name).cloned().unwrap_or_default();
            let lines: BTreeSet<String> = if kind == "connector" {
                let of = |line: &String| line.split(": ").next().unwrap_or_default().to_owned();
                let used: BTreeSet<String> = listed
                    .iter()
                    .flat_map(|l| of(l).split("-to-").map(ToOwned::to_owned).collect::<Vec<_>>())
                    .collect();
                assert_eq!(used, signals.iter().cloned().collect(), "signals of connector {}", c.name);
                let from = |l: &String| of(l).split("-to-").next().map(stability).expect("a signal");
                listed.iter().map(|l| format!("{}: {}", of(l), from(l))).collect()
            } else {
                signals.iter().map(|s| format!("{s}: {}", stability(s))).collect()
            };
            in_folders.insert(c.name.clone(), lines);
        }
        assert_eq!(
            in_program, in_folders,
            "{section}: `weir components` on the left, metadata.yaml on the right"
        );
    }
}

#[test]
fn metadata_says_what_a_component_is_and_what_each_option_does() {
    for c in components() {
        assert_eq!((c.text("type"), c.text("kind")), (c.name.clone(), c.kind.to_owned()), "{}", c.label());
        let signals = if c.kind == "extension" { vec!["extension".to_owned()] } else { c.signals() };
        for level in signals.iter().map(|signal| c.stability(signal)) {
            let known = ["development", "alpha", "beta", "stable"].contains(&level.as_str());
            assert!(known, "{}: {level}", c.label());
        }
        assert!(c.text("description").ends_with('.'), "{}: a description is a sentence", c.label());
        assert!(c.kind == "extension" || !c.signals().is_empty(), "{}: no signals", c.label());
        for s in c.signals() {
            assert!(["traces", "metrics", "logs", "profiles"].contains(&s.as_str()), "{}: {s}", c.label());
        }
        let mut names = BTreeSet::new();
        for o in c.options() {
            assert!(!o.effect.is_empty() && !o.edge.is_empty(), "{}: {} says too little", c.label(), o.name);
            assert!(names.insert(o.name.clone()), "{}: {} is there twice", c.label(), o.name);
            let Some(collector) = o.collector else { continue };
            let how = collector.strip_prefix("differs: ").is_some_and(|how| !how.is_empty());
            let known = how || ["same", "not applicable"].contains(&collector.as_str());
            assert!(known, "{}: {}: collector is {collector:?}", c.label(), o.name);
        }
    }
}

#[test]
fn readme_examples_are_accepted() {
    for c in components() {
        for block in yaml_blocks(&c.readme) {
            let part: Value =
                serde_yaml_ng::from_str(&block).unwrap_or_else(|e| panic!("{}: {e}", c.label()));
            let rest = serde_yaml_ng::to_string(&complement(&part)).expect("it prints");
            let (code, errors) = errors_of(&[&block, &rest]);
            assert_eq!((code, errors), (Some(0), vec![]), "{}:\n{block}{rest}", c.label());
        }
        let example: Value = serde_yaml_ng::from_str(&c.example()).expect("checked above");
        assert!(example.get(c.section).is_some(), "{}: the first example is about something else", c.label());
    }
}

#[test]
fn a_component_without_options_is_valid_or_says_which_one_it_needs() {
    for c in components() {
        let errors = errors_by_body(&c, vec![Value::Null]);
        for error in errors.values().flatten() {
            let message = format!("{} {}", error["message"], error["help"]);
            let options = c.options();
            let named = |o: &OptionOf| {
                o.name
                    .split(['.', '[', ']'])
                    .filter(|p| p.len() > 3)
                    .any(|p| message.contains(p.trim_end_matches('s')))
            };
            assert!(options.iter().any(named), "{}: names no option: {message}", c.label());
            assert!(error["location"]["line"].is_number(), "{}: {error}", c.label());
        }
    }
}

#[test]
fn an_unknown_option_is_refused_with_its_place() {
    for c in components() {
        let config = "{receivers: {nop/in: }, exporters: {nop/out: }, \
                      service: {pipelines: {traces: {receivers: [nop/in], exporters: [nop/out]}}}}";
        let own = format!("{}:\n  {}/own:\n    zzz: 1\n", c.section, c.name);
        let (code, errors) = errors_of(&[config, &own]);
        let [error] = &errors[..] else { panic!("{}: one mistake, one error: {errors:?}", c.label()) };
        assert_eq!(code, Some(1));
        assert_eq!(error["kind"], "unknown_field", "{}: {error}", c.label());
        assert_eq!(error["path"], format!("{}::{}/own::zzz", c.section, c.name));
        let at = &error["location"];
        assert_eq!(
            (&at["source"], &at["line"], &at["column"]),
            (&"1.yaml".into(), &3.into(), &5.into()),
            "{error}"
        );
    }
}

#[test]
fn every_described_option_is_read_and_has_the_type_it_is_said_to_have() {
    for c in components() {
        let options = c.options();
        let good = options.iter().map(|o| nested(&o.name, plausible(o))).collect();
        for (number, errors) in errors_by_body(&c, good) {
            let not_read = errors.iter().find(|e| e["kind"] == "unknown_field" || e["kind"] == "type");
            assert!(not_read.is_none(), "{}: option {}: {not_read:?}", c.label(), options[number].name);
        }
        let scalars: Vec<&OptionOf> = options
            .iter()
            .filter(|o| ["bool", "int", "float", "duration", "string"].contains(&o.kind.as_str()))
            .collect();
        let wrong = scalars.iter().map(|o| nested(&o.name, yaml("[[1]]"))).collect();
        let errors = errors_by_body(&c, wrong);
        for (number, o) in scalars.iter().enumerate() {
            let refused = errors.get(&number).is_some_and(|e| e.iter().any(|e| e["kind"] == "type"));
            assert!(refused, "{}: {} takes a list of lists: {:?}", c.label(), o.name, errors.get(&number));
        }
    }
}

/// Addresses to listen on become ports that the system picks; addresses to connect to stay.
fn on_free_ports(value: &mut Value) {
    match value {
        Value::Mapping(map) => {
            for (key, inner) in map.iter_mut() {
                match inner {
                    Value::String(s) if key == "endpoint" && !s.contains("://") => {
                        *s = "127.0.0.1:0".to_owned()
                    }
                    inner => on_free_ports(inner),
                }
            }
        }
        Value::Sequence(list) => list.iter_mut().for_each(on_free_ports),
        _ => {}
    }
}

#[test]
fn a_pipeline_with_each_component_starts_and_ends_on_request() {
    for c in components() {
        let mut part: Value = serde_yaml_ng::from_str(&c.example()).expect("the example is YAML");
        let has_pipelines = part.get("service").is_some_and(|s| s.get("pipelines").is_some());
        let own = part.get(c.section).and_then(Value::as_mapping).expect("a section");
        let (id, body) = own.iter().next().map(|(k, v)| (k.clone(), v.clone())).expect("a component");
        // One id of the component is enough, its first: others show options that need files of their own, and other
        // sections show who uses it.
        if !has_pipelines {
            let own = Mapping::from_iter([(id.clone(), body)]);
            part = Value::Mapping(Mapping::from_iter([(Value::from(c.section), Value::Mapping(own))]));
        }
        if ["receivers", "extensions"].contains(&c.section) {
            on_free_ports(&mut part);
        }
        let rest = complement(&part);
        let whole = merged(part, rest);
        let service = serde_yaml_ng::to_string(&whole["service"]).expect("it prints");
        assert!(service.contains(id.as_str().expect("an id")), "{}: stands nowhere:\n{service}", c.label());
        let mut agent = Agent::start(&serde_yaml_ng::to_string(&whole).expect("it prints"), 0);
        agent.signal("TERM");
        let status = agent.wait_for_exit();
        assert_eq!(status.code(), Some(0), "{}:\n{}", c.label(), agent.log());
    }
}

/// One item of a signal as OTLP/JSON, with the path on which it is taken.
fn telemetry(signal: &str) -> (&'static str, String) {
    let time = "1700000000000000000";
    match signal {
        "traces" => {
            let ids = r#""traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708""#;
            let span = format!(
                r#"{{{ids}, "name": "a", "kind": 1, "startTimeUnixNano": "{time}", "endTimeUnixNano": "{time}"}}"#
            );
            ("/v1/traces", format!(r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{span}]}}]}}]}}"#))
        }
        "metrics" => {
            let gauge = format!(r#"{{"dataPoints": [{{"timeUnixNano": "{time}", "asInt": "1"}}]}}"#);
            let metric = format!(r#"{{"name": "a", "gauge": {gauge}}}"#);
            (
                "/v1/metrics",
                format!(r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{metric}]}}]}}]}}"#),
            )
        }
        "logs" => {
            let record = format!(r#"{{"timeUnixNano": "{time}", "body": {{"stringValue": "a"}}}}"#);
            ("/v1/logs", format!(r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [{record}]}}]}}]}}"#))
        }
        other => panic!("nothing to send for {other}"),
    }
}

#[test]
fn what_a_component_is_given_is_answered_while_it_runs() {
    let mut settled = 0;
    for c in components() {
        // Receivers and exporters that talk to others have tests of their own.
        let passive =
            ["processors", "connectors"].contains(&c.section) || ["nop", "debug"].contains(&c.name.as_str());
        if !passive || ["receivers", "extensions"].contains(&c.section) {
            continue;
        }
        let port = free_port();
        let mut part: Value = serde_yaml_ng::from_str(&c.example()).expect("the example is YAML");
        let own = part.get_mut(c.section).and_then(Value::as_mapping_mut).expect("a section");
        own.retain(|id, _| id == c.name.as_str());
        let http = yaml(&format!("{{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\"}}}}}}"));
        put(&mut part, &["receivers", "otlp"], http);
        let rest = complement(&part);
        let whole = merged(part, rest);
        let pipelines = whole["service"]["pipelines"].as_mapping().cloned().expect("pipelines");
        let agent = Agent::start(&serde_yaml_ng::to_string(&whole).expect("it prints"), 0);
        for (id, pipeline) in pipelines {
            let takes = pipeline["receivers"].as_sequence().is_some_and(|r| r.iter().any(|r| r == "otlp"));
            if !takes {
                continue;
            }
            let signal = id.as_str().and_then(|id| id.split('/').next()).expect("a pipeline id").to_owned();
            let (path, body) = telemetry(&signal);
            let answer =
                post(port, path, &body).unwrap_or_else(|| panic!("{}: {signal}: no answer", c.label()));
            assert_eq!(answer.status, 200, "{}: {signal}: {}\n{}", c.label(), answer.body, agent.log());
            settled += 1;
        }
    }
    assert!(settled >= 10, "{settled} requests");
}

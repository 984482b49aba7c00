//! The tables of options beside the code: each option is there, with its default.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value as Json;
use serde_yaml_ng::{Mapping, Value};
use weir_config::GoDuration;

use super::component::{Component, OptionOf, components};
use super::configuration::{merged, yaml};
use super::{errors_by_body, nested, with_bodies};

/// Sections with the options that the code knows in each, found by asking for one that it does not know: `errors` has those of
/// each body. Names are those of metadata.yaml; that of the body is empty.
pub(crate) fn sections(
    errors: impl Fn(Vec<Value>) -> BTreeMap<usize, Vec<Json>>,
) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut asked = vec![String::new()];
    while !asked.is_empty() {
        let bodies = asked.iter().map(|section| nested(section, yaml("{zzz: 1}"))).collect();
        let errors = errors(bodies);
        let mut below = Vec::new();
        for (number, section) in asked.into_iter().enumerate() {
            let of_section = errors.get(&number).into_iter().flatten();
            let Some(unknown) = of_section.into_iter().find(|e| e["kind"] == "unknown_field") else {
                continue;
            };
            let fields = unknown["allowed"].as_array().into_iter().flatten().filter_map(Json::as_str);
            let fields: Vec<String> = fields.map(ToOwned::to_owned).collect();
            // A section may stand in itself, as a sampler of traces does.
            for field in fields.iter().filter(|field| !section.split('.').any(|part| part == *field)) {
                let name = joined(&section, field);
                below.extend([format!("{name}[]"), name]);
            }
            found.insert(section, fields);
        }
        asked = below;
    }
    found
}

fn joined(section: &str, field: &str) -> String {
    if section.is_empty() { field.to_owned() } else { format!("{section}.{field}") }
}

/// The section in which an option stands.
fn section_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(section, _)| section)
}

/// Whether an option, or one of its parts, is described: by a row of its own, in the text of one beside it or of a section
/// around it, or where such a section says that its parts are described.
fn is_described(name: &str, options: &[OptionOf], all: &[Component]) -> bool {
    let (section, field) = (section_of(name), name.rsplit('.').next().unwrap_or(name));
    options.iter().any(|o| {
        let row =
            o.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        let rest = name.strip_prefix(&o.name).filter(|rest| rest.starts_with(['.', '[']));
        // Headers are a map, or a list of names and values.
        let header = o.kind == "map" && rest.is_some();
        let near = rest.is_some() || section_of(&o.name) == section;
        let words = format!("{} {}", o.effect, o.edge);
        let named = near && words.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == field);
        let elsewhere = rest.zip(o.parts.as_deref()).is_some_and(|(rest, parts)| {
            parts == "none" || {
                let (of, section) = parts.split_once(' ').unwrap_or((parts, ""));
                let of = all.iter().find(|c| c.label() == of).unwrap_or_else(|| panic!("no component {of}"));
                let there = format!("{section}{rest}");
                is_described(there.trim_start_matches('.'), &of.options(), all)
            }
        });
        row || header || named || elsewhere
    })
}

#[test]
fn every_option_that_the_code_knows_is_described() {
    let mut silent = Vec::new();
    let all = components();
    for c in &all {
        let (options, sections) = (c.options(), sections(|bodies| errors_by_body(c, bodies)));
        for section in options.iter().map(|o| section_of(&o.name)) {
            assert!(sections.contains_key(section), "{}: {section}.zzz is taken", c.label());
        }
        for (section, fields) in &sections {
            // Every section that may be off has it.
            let fields = fields.iter().filter(|field| *field != "enabled" || section.is_empty());
            let names =
                fields.map(|field| joined(section, field)).filter(|name| !is_described(name, &options, &all));
            silent.extend(names.map(|name| format!("{}: {name}", c.label())));
        }
    }
    assert!(silent.is_empty(), "metadata.yaml says nothing of\n{}", silent.join("\n"));
}

/// What `print-config` says of each body, by its number.
fn printed(c: &Component, bodies: Vec<Value>) -> Vec<Json> {
    let count = bodies.len();
    if count == 0 {
        return Vec::new();
    }
    let config = format!("yaml:{}", with_bodies(c, bodies));
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args([
        "print-config",
        "--format=json",
        "--mode=unredacted",
        "--validate=false",
        "--config",
        &config,
    ]);
    let output = command.output().expect("the binary runs");
    let of_them = serde_json::from_slice::<Json>(&output.stdout);
    let all =
        of_them.unwrap_or_else(|e| panic!("{}: {e}: {}", c.label(), String::from_utf8_lossy(&output.stderr)));
    (0..count).map(|i| all[c.section][format!("{}/{i}", c.name)].clone()).collect()
}

/// A body in which these sections are on.
fn with_sections<'a>(sections: impl Iterator<Item = &'a String>) -> Value {
    let on = |section: &String| nested(section, Value::Mapping(Mapping::new()));
    sections.map(on).fold(Value::Mapping(Mapping::new()), merged)
}

fn at<'a>(body: &'a Json, name: &str) -> &'a Json {
    name.split('.').fold(body, |inner, part| &inner[part])
}

/// Options that are nothing unless they are given, by their last parts; what that means is what metadata.yaml says.
const NOTHING: [&str; 6] =
    ["sizer", "output_paths", "min_version", "max_version", "max_connections", "max_connections_per_address"];

/// Whether the default of an option is what the code has without it.
fn is_default(o: &OptionOf, value: &Json) -> bool {
    let nothing = match value {
        Json::Null => true,
        Json::String(text) => text.is_empty(),
        Json::Array(list) => list.is_empty(),
        Json::Object(map) => map.is_empty(),
        _ => false,
    };
    let default = o.default.trim_matches('"');
    // One of several words is the result of something else.
    let said = !["", "none", "off", "null", "[]", "{}"].contains(&default) && !default.contains(' ');
    match (o.kind.as_str(), value) {
        _ if nothing => !said || NOTHING.iter().any(|name| o.name.rsplit('.').next() == Some(name)),
        ("section", Json::Object(map)) => match map.get("enabled") {
            Some(Json::Bool(on)) => *on == (default == "on"),
            _ => default != "off",
        },
        ("duration", Json::Number(nanos)) => {
            let default: Result<GoDuration, _> = default.parse();
            default.is_ok_and(|default| nanos.as_i64() == Some(default.as_nanos()))
        }
        (_, Json::Array(list)) => {
            let words: Vec<String> =
                list.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), ToOwned::to_owned)).collect();
            default == format!("[{}]", words.join(", "))
        }
        (_, Json::Number(number)) => default.parse().ok() == number.as_f64(),
        (_, Json::String(text)) => default.eq_ignore_ascii_case(text),
        (_, Json::Bool(on)) => default == on.to_string(),
        _ => false,
    }
}

#[test]
fn every_default_is_that_of_the_code() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for c in components() {
        let options: Vec<OptionOf> = c.options().into_iter().filter(|o| !o.name.contains("[]")).collect();
        let sections: BTreeSet<String> = sections(|bodies| errors_by_body(&c, bodies))
            .into_keys()
            .filter(|s| !s.contains("[]") && !s.is_empty())
            .collect();
        // An option is looked at where what is around it is on, and it is not given.
        let without = |o: &OptionOf| {
            let given = o.name.strip_suffix(".enabled").unwrap_or(&o.name);
            let below = format!("{given}.");
            with_sections(sections.iter().filter(|s| *s != given && !s.starts_with(&below)))
        };
        let printed = printed(&c, options.iter().map(without).collect());
        for (o, body) in options.iter().zip(&printed) {
            // Of a section that may be off only what it has when it is on is printed.
            let section = o.name.strip_suffix(".enabled").filter(|_| at(body, &o.name).is_null());
            let value =
                section.map_or_else(|| at(body, &o.name).clone(), |s| Json::from(at(body, s).is_object()));
            checked += 1;
            if !is_default(o, &value) {
                wrong.push(format!("{}: {}: {} is said, {value} is true", c.label(), o.name, o.default));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 300, "{checked} options");
}

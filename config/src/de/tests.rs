use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::{GoDuration, Optional, Secret, SourceId, yaml};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Server {
    endpoint: String,
    limit_mib: u32,
    keep: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self { endpoint: String::new(), limit_mib: 4, keep: true }
    }
}

#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Protocols {
    grpc: Optional<Server>,
    http: Optional<Server>,
    bare: Optional<Server>,
}

#[derive(Debug, PartialEq, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    #[default]
    Basic,
    Normal,
    Detailed,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Retry {
    enabled: bool,
    initial: GoDuration,
    max: GoDuration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { enabled: true, initial: GoDuration::from_secs(5), max: GoDuration::from_secs(30) }
    }
}

#[derive(Debug, PartialEq, Default, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Client {
    url: String,
    wait: bool,
}

#[derive(Debug, PartialEq, Default, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Target {
    name: String,
    port: u16,
    every: GoDuration,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    protocols: Protocols,
    retry: Retry,
    level: Level,
    names: Vec<String>,
    ports: Vec<u16>,
    labels: BTreeMap<String, String>,
    targets: Vec<Target>,
    ratio: f64,
    offset: i32,
    password: Secret,
    any: serde_json::Value,
    maybe: Option<u32>,
    #[serde(rename = "+client")]
    client: Client,
    #[serde(alias = "old_name")]
    new_name: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            protocols: Protocols {
                grpc: Optional::Default(Server { endpoint: "localhost:4317".into(), ..Server::default() }),
                http: Optional::Some(Server { endpoint: "localhost:4318".into(), ..Server::default() }),
                bare: Optional::None,
            },
            retry: Retry { initial: GoDuration::from_millis(50), ..Retry::default() },
            level: Level::Normal,
            names: vec!["default".into()],
            ports: Vec::new(),
            labels: BTreeMap::from([("a".into(), "b".into())]),
            targets: Vec::new(),
            ratio: 0.5,
            offset: 7,
            password: Secret::default(),
            any: serde_json::Value::Null,
            maybe: Some(3),
            client: Client { url: "http://default".into(), wait: false },
            new_name: "new".into(),
        }
    }
}

fn try_read(text: &str) -> Result<Config, Vec<ConfigError>> {
    let node = yaml::parse(text, SourceId::default()).unwrap();
    from_node(&node, &Path::component("receivers", "x"))
}

fn read(text: &str) -> Config {
    try_read(text).expect(text)
}

fn with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

type Change = fn(&mut Config);

#[test]
fn what_is_written_is_laid_over_the_components_own_defaults() {
    let grpc = || Server { endpoint: "localhost:4317".into(), ..Server::default() };
    assert_eq!(read(""), Config::default());
    assert_eq!(read("{}"), Config::default());
    let cases: &[(&str, &str, Change)] = &[
        ("a nested option leaves its neighbours alone", "retry: {max: 1m}", |c| {
            c.retry.max = GoDuration::from_secs(60)
        }),
        (
            "null keeps the default of lists, mappings and words",
            "retry:\nnames:\nlabels:\nlevel:\nprotocols:\n",
            |_| {},
        ),
        ("null of a scalar is its zero value", "{ratio: , offset: ~, new_name: , retry: {initial: }}", |c| {
            (c.ratio, c.offset) = (0.0, 0);
            c.new_name.clear();
            c.retry.initial = GoDuration::ZERO;
        }),
        ("a list replaces", "names: [a, b]", |c| c.names = vec!["a".into(), "b".into()]),
        ("an empty list empties", "names: []", |c| c.names.clear()),
        ("a map adds to its default", "labels: {c: d}", |c| {
            c.labels.insert("c".into(), "d".into());
        }),
        ("a map replaces what it names", "labels: {a: d}", |c| {
            c.labels = BTreeMap::from([("a".into(), "d".into())])
        }),
        ("one string is split at commas", "names: 'a, b,,c'", |c| {
            c.names = vec!["a".into(), " b".into(), String::new(), "c".into()];
        }),
        ("an empty string is an empty list", "names: ''", |c| c.names.clear()),
        ("a null item is the zero value", "names: [a, ]\nports: [1, ~]", |c| {
            c.names = vec!["a".into()];
            c.ports = vec![1, 0];
        }),
        ("numbers convert", "ratio: 2\noffset: 3.9", |c| {
            c.ratio = 2.0;
            c.offset = 3;
        }),
        ("truncation is towards zero", "offset: -3.9", |c| c.offset = -3),
        ("other bases", "offset: 0x10\nports: [0o17, 010]", |c| {
            c.offset = 16;
            c.ports = vec![15, 8];
        }),
        ("a bare number is nanoseconds", "retry: {max: 1000}", |c| {
            c.retry.max = GoDuration::from_nanos(1000)
        }),
        ("an enum", "level: detailed", |c| c.level = Level::Detailed),
        ("a secret", "password: hunter2", |c| c.password = Secret::new("hunter2")),
        ("an inlined struct", "url: http://x", |c| c.client.url = "http://x".into()),
        ("an old name", "old_name: x", |c| c.new_name = "x".into()),
        ("the new name", "new_name: x", |c| c.new_name = "x".into()),
        ("anything", "any: {a: [1, x, null]}", |c| c.any = serde_json::json!({"a": [1, "x", null]})),
        ("an optional number", "maybe: 4", |c| c.maybe = Some(4)),
        ("an optional number, null", "maybe: ", |c| c.maybe = None),
        ("structs in a list have their own defaults", "targets: [{name: a, port: , every: }, ]", |c| {
            c.targets = vec![Target { name: "a".into(), ..Target::default() }];
        }),
        ("a null struct in a list is all defaults", "targets: [~]", |c| c.targets = vec![Target::default()]),
    ];
    for (name, text, change) in cases {
        assert_eq!(read(text), with(*change), "{name}");
    }
    assert_eq!(
        read("protocols: {grpc: {keep: false}}").protocols.grpc,
        Optional::Some(Server { keep: false, ..grpc() })
    );
}

#[test]
fn optional_sections_follow_their_three_states() {
    let grpc = || Server { endpoint: "localhost:4317".into(), ..Server::default() };
    let http = || Server { endpoint: "localhost:4318".into(), ..Server::default() };
    let own = Server::default;
    let cases: Vec<(&str, Protocols)> = vec![
        (
            "",
            Protocols { grpc: Optional::Default(grpc()), http: Optional::Some(http()), bare: Optional::None },
        ),
        (
            "{grpc: , http: , bare: }",
            Protocols { grpc: Optional::Some(grpc()), http: Optional::Some(http()), bare: Optional::None },
        ),
        (
            "{grpc: {}, http: {}, bare: {}}",
            Protocols {
                grpc: Optional::Some(grpc()),
                http: Optional::Some(http()),
                bare: Optional::Some(own()),
            },
        ),
        (
            "{grpc: {limit_mib: 9}, http: {limit_mib: 9}, bare: {limit_mib: 9}}",
            Protocols {
                grpc: Optional::Some(Server { limit_mib: 9, ..grpc() }),
                http: Optional::Some(Server { limit_mib: 9, ..http() }),
                bare: Optional::Some(Server { limit_mib: 9, ..own() }),
            },
        ),
        (
            "{grpc: {enabled: true}, http: {enabled: false, limit_mib: 9}, bare: {enabled: true}}",
            Protocols { grpc: Optional::Some(grpc()), http: Optional::None, bare: Optional::Some(own()) },
        ),
        (
            "{grpc: {enabled: false}, bare: {enabled: false}}",
            Protocols { grpc: Optional::None, http: Optional::Some(http()), bare: Optional::None },
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(&format!("protocols: {text}")).protocols, expected, "{text}");
    }
}

#[test]
fn a_section_that_refers_to_nothing_is_on() {
    let mut node = yaml::parse("protocols: {bare: }", SourceId::default()).unwrap();
    mark(&mut node, "");
    let read: Config = from_node(&node, &Path::new()).unwrap();
    assert_eq!(read.protocols.bare, Optional::Some(Server::default()));
}

/// What is wrong, its position, and a part of the Collector's sentence.
type Wrong = (&'static str, &'static str, ErrorKind, (u32, u32), &'static str);

#[test]
fn wrong_values_are_refused_with_place_and_sentence() {
    use ErrorKind::{Type, UnknownField, Value};
    let cases: &[Wrong] = &[
        ("typed key", "protocols: {htttp: }", UnknownField, (1, 13), "'protocols' has invalid keys: htttp"),
        ("case matters", "Retry: {}", UnknownField, (1, 1), "'[x]' has invalid keys: Retry"),
        ("key of an inlined struct", "urll: x", UnknownField, (1, 1), "has invalid keys: urll"),
        ("the inlined struct's own name", "+client: {}", UnknownField, (1, 1), "has invalid keys: +client"),
        (
            "number for a string",
            "new_name: 5",
            Type,
            (1, 11),
            "'new_name' expected type 'string', got unconvertible type 'int'",
        ),
        ("bool for a string", "new_name: true", Type, (1, 11), "got unconvertible type 'bool'"),
        ("list for a string", "new_name: [a]", Type, (1, 11), "got unconvertible type '[]interface {}'"),
        (
            "string for a number",
            "offset: '5'",
            Type,
            (1, 9),
            "'offset' expected type 'int32', got unconvertible type 'string'",
        ),
        (
            "bool for a number",
            "ratio: true",
            Type,
            (1, 8),
            "'ratio' expected type 'float64', got unconvertible type 'bool'",
        ),
        (
            "string for a bool",
            "retry: {enabled: yes}",
            Type,
            (1, 18),
            "'retry.enabled' expected type 'bool', got unconvertible type 'string'",
        ),
        ("number for a bool", "retry: {enabled: 1}", Type, (1, 18), "got unconvertible type 'int'"),
        (
            "negative for unsigned",
            "maybe: -1000",
            Value,
            (1, 8),
            "'maybe' cannot parse value as 'uint32': -1000 overflows uint",
        ),
        (
            "too large",
            "ports: [70000]",
            Value,
            (1, 9),
            "'ports[0]' cannot parse value as 'uint16': 70000 overflows uint16",
        ),
        ("not a number", "offset: .nan", Type, (1, 9), "expected type 'int32'"),
        (
            "scalar for a list",
            "names: 5",
            Type,
            (1, 8),
            "'names' source data must be an array or slice, got int",
        ),
        (
            "string for a list of numbers",
            "ports: '1,2'",
            Type,
            (1, 8),
            "'ports' source data must be an array or slice, got string",
        ),
        (
            "string for a list of structs",
            "targets: a",
            Type,
            (1, 10),
            "'targets' source data must be an array or slice, got string",
        ),
        (
            "scalar for a section",
            "retry: on",
            Type,
            (1, 8),
            "'retry' expected a map or struct, got \"string\"",
        ),
        (
            "scalar for an optional section",
            "protocols: {grpc: on}",
            Type,
            (1, 19),
            "'protocols.grpc' expected a map or struct, got",
        ),
        ("scalar for a map", "labels: 5", Type, (1, 9), "'labels' expected a map"),
        (
            "number in a map of strings",
            "labels: {a: 5}",
            Type,
            (1, 13),
            "'labels[a]' expected type 'string', got unconvertible type 'int'",
        ),
        (
            "duration with unit days",
            "retry: {max: 1d}",
            Value,
            (1, 14),
            "'retry.max' time: unknown unit \"d\" in duration \"1d\"",
        ),
        ("duration without a unit", "retry: {max: '5'}", Value, (1, 14), "time: missing unit in duration"),
        ("no duration", "retry: {max: soon}", Value, (1, 14), "time: invalid duration"),
        ("bool for a duration", "retry: {max: true}", Type, (1, 14), "'retry.max' expected type"),
        ("unknown word", "level: detaled", Value, (1, 8), ""),
        (
            "enabled is no bool",
            "protocols: {grpc: {enabled: x}}",
            Type,
            (1, 29),
            "unexpected type string for 'enabled': got 'x' value expected 'true' or 'false'",
        ),
        (
            "enabled is null",
            "protocols: {grpc: {enabled: }}",
            Type,
            (1, 27),
            "unexpected type <nil> for 'enabled': got '<nil>' value expected",
        ),
        (
            "in a disabled section",
            "protocols: {grpc: {enabled: false, keep: 1}}",
            Type,
            (1, 42),
            "'protocols.grpc.keep'",
        ),
        (
            "in a list of structs",
            "targets: [{name: a}, {prt: 1}]",
            UnknownField,
            (1, 23),
            "'targets[1]' has invalid keys: prt",
        ),
        ("both names", "old_name: a\nnew_name: b", ErrorKind::Duplicate, (1, 1), ""),
    ];
    for (name, text, kind, (line, column), core) in cases {
        let errors = try_read(text).expect_err(name);
        assert_eq!(errors.len(), 1, "{name}: {errors:?}");
        let error = &errors[0];
        assert_eq!(error.kind, *kind, "{name}: {error}");
        assert!(error.core_sentence().contains(core), "{name}: {}", error.core_sentence());
        assert_eq!(
            error.span.map(|span| (span.line, span.column)),
            Some((*line, *column)),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_scalar_body_is_named_by_its_id() {
    let errors = try_read("just text").unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        errors[0].core_sentence(),
        "'[x]' expected type 'map[string]interface {}', got unconvertible type 'string'"
    );
}

#[test]
fn all_errors_of_a_body_are_found_in_one_go() {
    let text = "retry: {max: 1d, initial: 5x, enabled: maybe, foo: 1}\nlevel: hgih\nnames: {a: b}\nbar: 1\nbaz: 2\n\
                targets:\n- {port: -1}\n- {every: x, nme: y}\nprotocols:\n  grpc: {limit_mib: a}\n";
    let errors = try_read(text).unwrap_err();
    let places: Vec<(u32, String)> =
        errors.iter().map(|error| (error.span.unwrap_or_default().line, error.path.relative())).collect();
    let expected = [
        (1, "retry.max"),
        (1, "retry.initial"),
        (1, "retry.enabled"),
        (1, "retry.foo"),
        (2, "level"),
        (3, "names"),
        (4, "bar"),
        (5, "baz"),
        (7, "targets[0].port"),
        (8, "targets[1].every"),
        (8, "targets[1].nme"),
        (10, "protocols.grpc.limit_mib"),
    ];
    let expected: Vec<(u32, String)> =
        expected.iter().map(|(line, path)| (*line, (*path).to_owned())).collect();
    assert_eq!(places, expected);
    let unknown = errors.iter().find(|error| error.path.relative() == "bar");
    assert_eq!(unknown.map(ConfigError::core_sentence), Some("'[x]' has invalid keys: bar, baz"));
}

#[test]
fn an_error_suggests_the_word_that_was_meant() {
    let cases: &[(&str, &str)] = &[
        ("protocols: {grcp: }", "grpc"),
        ("pasword: x", "password"),
        ("protocols: {grpc: {endpont: x}}", "endpoint"),
        ("protocols: {grpc: {enable: true}}", "enabled"),
        ("urll: x", "url"),
        ("level: detaled", "detailed"),
        ("level: Detailed", "detailed"),
    ];
    for (text, suggestion) in cases {
        let errors = try_read(text).unwrap_err();
        assert_eq!(errors[0].suggestion.as_deref(), Some(*suggestion), "{text}");
        assert!(errors[0].allowed.contains(&(*suggestion).to_owned()), "{text}");
    }
}

#[test]
fn a_secret_never_gets_into_an_error() {
    for text in ["password: [hunter2]", "password: {a: hunter2}", "password: 12345678"] {
        let errors = try_read(text).unwrap_err();
        assert!(errors[0].secret, "{text}");
        let shown = format!("{:?}", errors[0]);
        assert!(!shown.contains("hunter2") && !shown.contains("12345678"), "{shown}");
    }
}

#[test]
fn unknown_options_are_told_apart_from_wrong_values() {
    let node = yaml::parse("bar: 1\nlevel: basic", SourceId::default()).unwrap();
    let read = super::read::<Config>(&node, &Path::new());
    assert_eq!(read.value.map(|value| value.level), Some(Level::Basic));
    assert_eq!(read.unknown.len(), 1);
    let node = yaml::parse("bar: 1\nlevel: bsic", SourceId::default()).unwrap();
    let errors = super::read::<Config>(&node, &Path::new()).errors;
    assert_eq!(errors.len(), 1);
}

#[test]
fn more_errors_than_the_limit_end_the_search() {
    let items = vec!["{port: x}"; 1000].join(", ");
    let errors = try_read(&format!("targets: [{items}]")).unwrap_err();
    assert_eq!(errors.len(), 50);
}

#[test]
fn a_hundred_thousand_nulls_and_unknown_options_are_read_in_one_pass() {
    let items = vec!["{name: , port: , every: }"; 30_000].join(", ");
    assert_eq!(read(&format!("targets: [{items}]")).targets.len(), 30_000);
    let items = vec!["{x: 1}"; 30_000].join(", ");
    assert_eq!(try_read(&format!("targets: [{items}]")).unwrap_err().len(), 50);
}

#[test]
fn an_expanded_value_is_text_for_strings_and_parsed_for_the_rest() {
    let mut node =
        yaml::parse("new_name: 83\noffset: 83\nretry: {max: , enabled: }\nnames: [83]", SourceId::default())
            .unwrap();
    mark(&mut node, "0123");
    let config: Config = from_node(&node, &Path::new()).unwrap();
    assert_eq!(config.new_name, "0123");
    assert_eq!(config.offset, 83);
    assert_eq!(config.names, ["0123"]);
    assert_eq!(config.retry.max, GoDuration::ZERO, "a reference replaced by nothing is the zero value");
    assert!(!config.retry.enabled);
}

/// Makes all scalars look as if a reference had brought them in.
fn mark(node: &mut Node, text: &str) {
    use crate::NodeKind;
    match &mut node.kind {
        NodeKind::Seq(items) => items.iter_mut().for_each(|item| mark(item, text)),
        NodeKind::Map(map) => map.entries.iter_mut().for_each(|(_, value)| mark(value, text)),
        _ => node.original = Some(text.into()),
    }
}

proptest::proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(
        text in "((protocols|retry|level|names|ports|labels|targets|ratio|any|max|grpc|enabled|- |x): ?[0-9a-z~\\[\\]{}.,-]{0,8}\n {0,2}){0,8}"
    ) {
        if let Ok(node) = yaml::parse(&text, SourceId::default()) {
            let _ignored = from_node::<Config>(&node, &Path::new());
        }
    }
}

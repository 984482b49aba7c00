use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::*;
use crate::{GoDuration, Path, SourceKind, from_node};

/// An environment and files that exist only for a test.
#[derive(Default)]
struct World {
    variables: HashMap<&'static str, String>,
    files: HashMap<&'static str, String>,
}

impl Env for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        let text = self.files.get(path).ok_or_else(|| format!("open {path}: no such file or directory"))?;
        Ok(text.clone().into_bytes())
    }

    fn http(&self, url: &str) -> Result<Vec<u8>, String> {
        Ok(format!("from: '{url}'").into_bytes())
    }
}

/// Variables that most cases use.
fn world() -> World {
    let variables = [
        ("HOST", "localhost"),
        ("PORT", "4317"),
        ("OCTAL", "0123"),
        ("BOOL", "true"),
        ("FLOAT", "1.5"),
        ("LIST", "[a, b]"),
        ("MAP", "{a: 1, b: '${env:HOST}'}"),
        ("EMPTY", ""),
        ("NULL", "null"),
        ("QUOTED", "\"0123\""),
        ("COMMENT", "a # b"),
        ("TAGGED", "!!str 123"),
        ("BROKEN", "a: b: c"),
        ("NAME", "HOST"),
        ("NESTED", "${env:HOST}:${env:PORT}"),
        ("REF", "${env:PORT}"),
        ("DOLLAR", "a$$b"),
        ("ONE_DOLLAR", "a$b"),
        ("ESCAPED", "$${env:HOST}"),
        ("SELF", "${env:SELF}"),
        ("SELF_MAP", "{a: '${env:SELF_MAP}'}"),
        ("GROW", "${env:GROW} ${env:GROW}"),
        ("DOUBLES", "[${env:DOUBLES}, ${env:DOUBLES}]"),
        ("DURATION", "5s"),
        ("COMMAS", "a,b"),
        ("TWO_LINES", "a\nb"),
        ("KEYS", "{x::y: 1}"),
    ];
    World { variables: variables.map(|(name, value)| (name, value.to_owned())).into(), files: HashMap::new() }
}

fn resolve_in(world: &World, uris: &[&str], sets: &[&str]) -> Result<Resolved, Diagnostics> {
    let uris: Vec<String> = uris.iter().map(|uri| (*uri).to_owned()).collect();
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    resolve(Request { uris: &uris, sets: &sets, env: world, append_lists: false })
}

/// The values in one line, strings in quotes, an original text behind `<`.
fn flat(node: &Node) -> String {
    let mut text = match &node.kind {
        NodeKind::Null => "null".to_owned(),
        NodeKind::Bool(value) => value.to_string(),
        NodeKind::Int(value) => value.to_string(),
        NodeKind::Float(value) => format!("{value:?}"),
        NodeKind::String(text) => format!("{text:?}"),
        NodeKind::Seq(items) => format!("[{}]", items.iter().map(flat).collect::<Vec<_>>().join(", ")),
        NodeKind::Map(map) => {
            let entries = map.iter().map(|(key, value)| format!("{}: {}", key.name, flat(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    };
    if let Some(original) = &node.original {
        text.push_str(&format!("<{original}>"));
    }
    text
}

fn expanded(value: &str) -> Result<String, String> {
    let uri = format!("yaml:x: {value}");
    match resolve_in(&world(), &[&uri], &[]) {
        Ok(resolved) => Ok(flat(resolved.root.get(&["x"]).unwrap())),
        Err(diagnostics) => Err(diagnostics.errors()[0].core_sentence().to_owned()),
    }
}

#[test]
fn references_expand_as_in_the_collector() {
    let cases: &[(&str, &str, &str)] = &[
        ("no reference", "plain $HOST $ {} ${", r#""plain $HOST $ {} ${""#),
        ("a string", "${env:HOST}", r#""localhost""#),
        ("env is the default scheme", "${HOST}", r#""localhost""#),
        ("an integer keeps its text", "${env:PORT}", "4317<4317>"),
        ("octal", "${env:OCTAL}", "83<0123>"),
        ("a boolean", "${env:BOOL}", "true<true>"),
        ("a float", "${env:FLOAT}", "1.5<1.5>"),
        ("a list", "${env:LIST}", r#"["a", "b"]<[a, b]>"#),
        (
            "a map is expanded inside, and its text too",
            "${env:MAP}",
            r#"{a: 1, b: "localhost"}<{a: 1, b: 'localhost'}>"#,
        ),
        ("keys of a map are split", "${env:KEYS}", "{x: {y: 1}}<{x::y: 1}>"),
        ("null", "${env:NULL}", "null<null>"),
        ("empty", "${env:EMPTY}", "null<>"),
        ("unset", "${env:UNSET}", "null<>"),
        ("unset in text", "a${env:UNSET}b", r#""ab""#),
        ("quotes of the value are kept", "${env:QUOTED}", r#""\"0123\"""#),
        ("comments of the value are kept", "${env:COMMENT}", r#""a # b""#),
        ("tags of the value are kept", "${env:TAGGED}", r#""!!str 123""#),
        ("a value that is no YAML is text", "${env:BROKEN}", r#""a: b: c""#),
        ("in text", "http://${env:HOST}:${env:PORT}/x", r#""http://localhost:4317/x""#),
        ("a number in text is spliced as written", "a${env:OCTAL}", r#""a0123""#),
        ("a list in text is spliced as written", "a ${env:LIST}", r#""a [a, b]""#),
        ("two numbers are text", "${env:PORT}${env:PORT}", r#""43174317""#),
        ("nested, innermost first", "${env:${env:NAME}}", r#""localhost""#),
        ("nested with the default scheme", "${env:${NAME}}", r#""localhost""#),
        ("the value is expanded again", "${env:NESTED}", r#""localhost:4317""#),
        ("a value that is a reference", "${env:REF}", "4317<4317>"),
        ("default for unset", "${env:UNSET:-other}", r#""other""#),
        ("default is YAML", "${env:UNSET:-42}", "42<42>"),
        ("empty default is empty text", "${env:UNSET:-}", "null<>"),
        ("default with a colon", "${env:UNSET:-a:b}", r#""a:b""#),
        ("default not for what is set", "${env:HOST:-other}", r#""localhost""#),
        ("default not for what is empty", "${env:EMPTY:-other}", "null<>"),
        ("default with a dash", "${env:UNSET:--1}", "-1<-1>"),
        ("escaped", "$${env:HOST}", r#""${env:HOST}""#),
        ("escaped twice", "$$$${env:HOST}", r#""$${env:HOST}""#),
        ("escaped dollar before a reference", "$$$${HOST}$$", r#""$${HOST}$""#),
        ("a dollar and a reference", "$$${env:HOST}", r#""$localhost""#),
        ("after an escape the rest stays", "$${env:HOST} ${env:HOST}", r#""${env:HOST} ${env:HOST}""#),
        ("before an escape all occurrences go", "${env:PORT} $${env:PORT}", r#""4317 $4317""#),
        (
            "before an escape others go, the escaped one stays",
            "${env:PORT} $${env:HOST}",
            r#""4317 ${env:HOST}""#,
        ),
        ("an escape around a reference", "$${env:${NAME}}", r#""${env:HOST}""#),
        ("double dollars", "a$$b $$$$", r#""a$b $$""#),
        ("double dollars of a value", "${env:DOLLAR}", r#""a$b""#),
        ("one dollar of a value", "${env:ONE_DOLLAR}", r#""a$b""#),
        ("an escape in a value", "${env:ESCAPED}", r#""${env:HOST}""#),
        ("a brace before", "a} ${env:HOST}", r#""a} localhost""#),
        ("in a list", "[a, '${env:PORT}', {b: '${env:HOST}'}]", r#"["a", 4317<4317>, {b: "localhost"}]"#),
        ("keys are not expanded", "{'${env:HOST}': 1}", "{${env:HOST}: 1}"),
        ("yaml", "${yaml:[1, 2]}", "[1, 2]<[1, 2]>"),
        ("http", "${http://a/b}", "{from: \"http://a/b\"}<from: 'http://a/b'>"),
        ("https", "a ${https://a/b}", "\"a from: 'https://a/b'\""),
        ("over lines", "|\n  a ${env:HOST}\n  b ${env:PORT}\n", "\"a localhost\\nb 4317\\n\""),
        ("a value of two lines", "${env:TWO_LINES}", "\"a\\nb\""),
        ("newline in the name is no problem of ours", "${env:UNSET:-a b}", "\"a b\""),
    ];
    for (name, value, expected) in cases {
        assert_eq!(expanded(value).as_deref(), Ok(*expected), "{name}: {value}");
    }
}

#[test]
fn references_that_cannot_be_resolved_get_the_collectors_sentence() {
    let name = "has invalid name: must match regex ^[a-zA-Z_][a-zA-Z0-9_]*$";
    let cases: &[(&str, &str, String)] = &[
        (
            "default without the scheme",
            "${HOST:-x}",
            "scheme \"HOST\" is not supported for uri \"HOST:-[REDACTED]\"".into(),
        ),
        ("the same, one letter", "${X:-x}", "invalid uri: \"X:-[REDACTED]\"".into()),
        ("unknown scheme", "${foo:bar}", "scheme \"foo\" is not supported for uri \"foo:[REDACTED]\"".into()),
        ("wrong name", "${env:a-b}", format!("environment variable \"a-b\" {name}")),
        ("empty name", "${env:}", format!("environment variable \"\" {name}")),
        ("nothing", "${}", format!("environment variable \"\" {name}")),
        ("digit first", "${1A}", format!("environment variable \"1A\" {name}")),
        ("space", "${ HOST }", format!("environment variable \" HOST \" {name}")),
        ("dollar inside", "${env:a$b}", "the uri \"env:a$b\" contains unsupported characters ('$')".into()),
        (
            "dollar that comes in",
            "${env:${ONE_DOLLAR}}",
            "the uri \"env:a$b\" contains unsupported characters ('$')".into(),
        ),
        (
            "missing file",
            "${file:no.yaml}",
            "unable to read the file file:no.yaml: open no.yaml: no such file or directory".into(),
        ),
        ("back to itself", "${env:SELF}", "too many recursive expansions".into()),
        ("back to itself in a map", "${env:SELF_MAP}", "too many recursive expansions".into()),
        ("growing text", "${env:GROW}", "too many recursive expansions".into()),
        ("growing lists", "${env:DOUBLES}", "too many recursive expansions".into()),
    ];
    for (name, value, sentence) in cases {
        assert_eq!(expanded(value), Err(sentence.clone()), "{name}: {value}");
    }
}

#[test]
fn all_references_that_cannot_be_resolved_are_reported_at_their_places() {
    let mut world = world();
    world.files.insert("c.yaml", "a: x ${foo:1}\nb: [y, '${env:a-b}']\nc: ${env:UNSET}\n".into());
    let diagnostics = resolve_in(&world, &["c.yaml"], &["d=${BAD:-x}"]).unwrap_err();
    let places: Vec<String> = diagnostics
        .errors()
        .iter()
        .map(|error| diagnostics.sources().position(error.span.unwrap()))
        .collect();
    assert_eq!(places, ["c.yaml:1:6", "c.yaml:2:9", "--set:1:3"]);
    assert!(diagnostics.errors()[2].help.as_ref().is_some_and(|help| help.contains("${env:BAD:-default}")));
}

#[test]
fn unset_and_empty_variables_are_warned_about_once() {
    let uri = "yaml:{a: '${env:UNSET}', b: ['${env:EMPTY}'], c: '${env:UNSET:-x}', d: '${env:HOST}'}";
    let resolved = resolve_in(&world(), &[uri], &[]).unwrap();
    let warnings: Vec<(&str, &str, bool)> = resolved
        .warnings
        .iter()
        .map(|warning| (warning.message.as_str(), warning.name.as_str(), warning.info))
        .collect();
    let expected = [
        ("Configuration references unset environment variable", "UNSET", false),
        ("Configuration references empty environment variable", "EMPTY", true),
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn files_are_included_and_keep_their_positions() {
    let mut world = world();
    world.files.insert(
        "main.yaml",
        "receivers: ${file:part.yaml}\nname: a ${file:word.txt} b\nwhole: ${file:word.txt}\n".into(),
    );
    world.files.insert("part.yaml", "otlp:\n  endpoint: ${env:HOST}\n  port: ${env:PORT}\n".into());
    world.files.insert("word.txt", "word\n".into());
    let resolved = resolve_in(&world, &["main.yaml"], &[]).unwrap();
    assert_eq!(resolved.root.get(&["name"]).and_then(Node::as_str), Some("a word\n b"));
    assert_eq!(resolved.root.get(&["whole"]).and_then(Node::as_str), Some("word\n"));
    let port = resolved.root.get(&["receivers", "otlp", "port"]).unwrap();
    assert_eq!(resolved.sources.position(port.span), "part.yaml:3:9");
    let endpoint = resolved.root.get(&["receivers", "otlp", "endpoint"]).unwrap();
    assert_eq!(resolved.sources.position(endpoint.span), "part.yaml:2:13");
    let part = resolved.root.get(&["receivers", "otlp"]).unwrap();
    let source = resolved.sources.get(part.span.source).unwrap();
    assert_eq!(source.kind, SourceKind::File("part.yaml".into()));
    assert_eq!(resolved.sources.position(source.used_at.unwrap()), "main.yaml:1:12");
}

#[test]
fn files_that_include_each_other_are_refused() {
    let mut world = world();
    world.files.insert("a.yaml", "a: ${file:b.yaml}".into());
    world.files.insert("b.yaml", "b: ${file:a.yaml}".into());
    let diagnostics = resolve_in(&world, &["a.yaml"], &[]).unwrap_err();
    assert_eq!(diagnostics.errors()[0].core_sentence(), "too many recursive expansions");
}

#[test]
fn configurations_are_laid_over_each_other_and_flags_over_all() {
    let mut world = world();
    world.files.insert("a.yaml", "a: {x: 1, y: [1, 2], z: {k: 1}}\nreceivers::otlp: {p: 1}\n".into());
    world.files.insert("b.yaml", "a: {y: [3], z: }\n".into());
    let cases: &[(&[&str], &[&str], &str)] = &[
        (&["a.yaml", "b.yaml"], &[], "{a: {x: 1, y: [3], z: null}, receivers: {otlp: {p: 1}}}"),
        (&["b.yaml", "a.yaml"], &[], "{a: {y: [1, 2], z: {k: 1}, x: 1}, receivers: {otlp: {p: 1}}}"),
        (
            &["a.yaml"],
            &["a.x=2", "a.z.k=${env:PORT}"],
            "{a: {x: 2, y: [1, 2], z: {k: 4317<4317>}}, receivers: {otlp: {p: 1}}}",
        ),
        (&["file:b.yaml", "yaml:a::x: 7"], &["a.y=[]"], "{a: {y: [], z: null, x: 7}}"),
        (&[], &["a.b={c: 1}"], "{a: {b: {c: 1}}}"),
        (&["env:MAP"], &[], "{a: 1, b: \"localhost\"}"),
        (&["env:UNSET", "env:MAP"], &[], "{a: 1, b: \"localhost\"}"),
        (&["yaml:", "b.yaml"], &["a="], "{a: null}"),
    ];
    for (uris, sets, expected) in cases {
        let resolved = resolve_in(&world, uris, sets).unwrap();
        assert_eq!(flat(&resolved.root), *expected, "{uris:?} {sets:?}");
    }
}

#[test]
fn sources_that_are_no_configuration_get_the_collectors_sentence() {
    let mut world = world();
    world.files.insert("list.yaml", "- a\n".into());
    world.files.insert("text.yaml", "text\n".into());
    world.files.insert("broken.yaml", "a: [1\nb: 2\n".into());
    world.files.insert("twice.yaml", "a: 1\na: 2\n".into());
    let no_yaml = "retrieved value (type=string) cannot be used as a Conf: assuming string type since contents are not valid YAML: yaml: ";
    let cases: &[(&[&str], &[&str], &str)] = &[
        (&[], &[], "at least one config flag must be provided"),
        (
            &["no.yaml"],
            &[],
            "cannot retrieve the configuration: unable to read the file file:no.yaml: open no.yaml: no such file or directory",
        ),
        (&["foo:bar"], &[], "unsupported scheme on URI \"foo:bar\""),
        (&["./a:b"], &[], "invalid uri: \"./a:b\""),
        (&["list.yaml"], &[], "retrieved value (type=[]interface {}) cannot be used as a Conf"),
        (&["text.yaml"], &[], "retrieved value (type=string) cannot be used as a Conf"),
        (&["env:PORT"], &[], "retrieved value (type=int) cannot be used as a Conf"),
        (&["broken.yaml"], &[], no_yaml),
        (&["twice.yaml"], &[], "mapping key \"a\" already defined at line 1"),
        (
            &["env:a-b"],
            &[],
            "cannot retrieve the configuration: environment variable \"a-b\" has invalid name",
        ),
        (&["yaml:a: 1"], &["a"], "missing equal sign"),
    ];
    for (uris, sets, sentence) in cases {
        let diagnostics = resolve_in(&world, uris, sets).unwrap_err();
        assert!(diagnostics.errors()[0].core_sentence().contains(sentence), "{uris:?}: {diagnostics}");
    }
    let both = resolve_in(&world, &["no.yaml", "list.yaml", "broken.yaml"], &["a"]).unwrap_err();
    assert_eq!(both.errors().len(), 4);
}

#[test]
fn endless_and_huge_sources_are_refused() {
    struct Endless;
    impl Env for Endless {
        fn variable(&self, _name: &str) -> Option<String> {
            Some(format!("a: {}", "x".repeat(8 << 20)))
        }
    }
    let load = |uri: &str| {
        resolve(Request { uris: &[uri.to_owned()], sets: &[], env: &Endless, append_lists: false })
    };
    let diagnostics = load("/dev/zero").unwrap_err();
    assert!(diagnostics.to_string().contains("over the limit of 16 MiB"), "{diagnostics}");
    let many = format!("yaml:a: [{}]", vec!["'${env:BIG}'"; 100].join(", "));
    let diagnostics = load(&many).unwrap_err();
    assert!(diagnostics.to_string().contains("too many recursive expansions"), "{diagnostics}");
    let diagnostics = load("/").unwrap_err();
    assert!(
        diagnostics.to_string().contains("unable to read the file file:/: read /: is a directory"),
        "{diagnostics}"
    );
}

#[test]
fn text_that_is_not_utf_8_is_refused_with_its_line() {
    struct Binary;
    impl Env for Binary {
        fn variable(&self, _name: &str) -> Option<String> {
            None
        }
        fn file(&self, _path: &str) -> Result<Vec<u8>, String> {
            Ok(b"a: 1\nb: \xff\n".to_vec())
        }
    }
    let request = Request { uris: &["x".to_owned()], sets: &[], env: &Binary, append_lists: false };
    let diagnostics = resolve(request).unwrap_err();
    assert!(diagnostics.to_string().contains("invalid leading UTF-8 octet in line 2"), "{diagnostics}");
}

/// One option of each type, to see what a value becomes in it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Typed {
    text: String,
    int: i64,
    float: f64,
    on: bool,
    wait: GoDuration,
    texts: Vec<String>,
    map: std::collections::BTreeMap<String, String>,
    any: serde_json::Value,
    maybe: Option<i64>,
}

#[test]
fn a_value_of_a_variable_becomes_what_its_option_wants() {
    let refused = |sentence: &'static str| Err(sentence);
    let cases: &[(&str, &str, Result<&str, &str>)] = &[
        ("0123", "text", Ok("\"0123\"")),
        ("0123", "int", Ok("83")),
        ("0123", "float", Ok("83.0")),
        ("0123", "any", Ok("83")),
        ("0123", "on", refused("expected type 'bool', got unconvertible type 'int'")),
        ("0xdeadbeef", "text", Ok("\"0xdeadbeef\"")),
        ("0xdeadbeef", "int", Ok("3735928559")),
        ("\"0123\"", "text", Ok("\"\\\"0123\\\"\"")),
        ("'0123'", "text", Ok("\"'0123'\"")),
        ("!!str 0123", "text", Ok("\"!!str 0123\"")),
        ("!!str 0123", "int", refused("expected type 'int', got unconvertible type 'string'")),
        ("t", "text", Ok("\"t\"")),
        ("t", "on", refused("expected type 'bool', got unconvertible type 'string'")),
        ("true", "text", Ok("\"true\"")),
        ("true", "on", Ok("true")),
        ("TRUE", "on", Ok("true")),
        ("yes", "on", refused("expected type 'bool', got unconvertible type 'string'")),
        ("23", "on", refused("expected type 'bool', got unconvertible type 'int'")),
        ("123.45", "text", Ok("\"123.45\"")),
        ("123.45", "float", Ok("123.45")),
        ("123.45", "int", Ok("123")),
        ("1e3", "int", Ok("1000")),
        ("1e3", "text", Ok("\"1e3\"")),
        ("", "text", Ok("\"\"")),
        ("", "int", Ok("0")),
        ("", "on", Ok("false")),
        ("", "maybe", Ok("null")),
        ("", "texts", Ok("[]")),
        ("null", "text", Ok("\"null\"")),
        ("null", "int", Ok("0")),
        ("null", "any", Ok("null")),
        ("{a: 1}", "text", Ok("\"{a: 1}\"")),
        ("{a: x}", "map", Ok("{\"a\":\"x\"}")),
        ("{a: 1}", "any", Ok("{\"a\":1}")),
        ("[a,b]", "text", Ok("\"[a,b]\"")),
        ("[a,b]", "texts", Ok("[\"a\",\"b\"]")),
        ("a,b", "texts", Ok("[\"a\",\"b\"]")),
        ("a", "texts", Ok("[\"a\"]")),
        ("5", "texts", refused("source data must be an array or slice, got int")),
        ("5s", "wait", Ok("\"5s\"")),
        ("5", "wait", Ok("\"5ns\"")),
        ("5", "text", Ok("\"5\"")),
        ("a: b: c", "text", Ok("\"a: b: c\"")),
        ("2006-01-02", "text", Ok("\"2006-01-02\"")),
        ("x # y", "text", Ok("\"x # y\"")),
        ("@x", "text", Ok("\"@x\"")),
    ];
    for (value, option, expected) in cases {
        let world = World { variables: [("X", (*value).to_owned())].into(), files: HashMap::new() };
        let resolved = resolve_in(&world, &[&format!("yaml:{option}: ${{env:X}}")], &[]).unwrap();
        let found = match from_node::<Typed>(&resolved.root, &Path::new()) {
            Ok(typed) => Ok(serde_json::to_value(typed).unwrap()[option].to_string()),
            Err(errors) => Err(errors[0].core_sentence().to_owned()),
        };
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, *expected, "{value} into {option}"),
            (Err(found), Err(expected)) => {
                assert!(found.contains(expected), "{value} into {option}: {found}")
            }
            (found, expected) => {
                assert_eq!(found.as_deref().map_err(String::as_str), *expected, "{value} into {option}")
            }
        }
    }
}

/// Every configuration collected from the wild, when they are there.
#[test]
fn configurations_from_the_wild_are_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/configs/files");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: there is no folder {}", folder.display());
        return;
    };
    let (mut read, mut wrong) = (0, Vec::new());
    for entry in entries {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // Templates that were not filled in are no YAML for anybody.
        if text.contains(": {{") {
            continue;
        }
        let mut world = World::default();
        world.files.insert("c.yaml", text);
        read += 1;
        let Err(diagnostics) = resolve_in(&world, &["c.yaml"], &[]) else { continue };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        wrong.extend(diagnostics.errors().iter().map(|error| (name.clone(), error.kind, error.to_string())));
    }
    println!("{read} configurations read, {} references to what is not there", wrong.len());
    assert!(read > 0);
    let unreadable: Vec<_> = wrong.iter().filter(|(_, kind, _)| *kind != ErrorKind::Expansion).collect();
    assert!(unreadable.is_empty(), "{unreadable:?}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_expansion_panic(text in "([$]{0,3}[{]?(env:|file:|yaml:|foo:|:-)?[A-Z]{0,4}[}]? ?){0,8}") {
        let mut world = world();
        world.files.insert("c.yaml", format!("a: '{text}'\nb: [\"{text}\"]\n"));
        let _ignored = resolve_in(&world, &["c.yaml"], &[&format!("c={text}")]);
    }
}

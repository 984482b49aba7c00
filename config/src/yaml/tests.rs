use super::*;
use crate::NodeKind;

/// A value in one line, to compare with: `{a: 1, b: [x, null]}`, strings that look like something else in quotes.
fn flat(node: &Node) -> String {
    match &node.kind {
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
    }
}

fn read(text: &str) -> Node {
    parse(text, SourceId::default()).expect(text)
}

fn fails(text: &str) -> ConfigError {
    parse(text, SourceId::default()).expect_err(text)
}

#[test]
fn documents_become_the_values_yaml_v3_reads() {
    let cases: &[(&str, &str, &str)] = &[
        ("empty", "", "null"),
        ("only a comment", "# nothing\n", "null"),
        ("explicit document", "---\na: 1\n...\n", "{a: 1}"),
        ("second document is not read", "a: 1\n---\nb: 2\n", "{a: 1}"),
        (
            "empty values",
            "otlp:\n  protocols:\n    grpc:\n    http:\n",
            "{otlp: {protocols: {grpc: null, http: null}}}",
        ),
        ("flow with empty values", "{grpc: , http: }", "{grpc: null, http: null}"),
        ("flow list", "[a, 'b', \"c\", 4]", r#"["a", "b", "c", 4]"#),
        ("quoted scalars stay text", "a: '1'\nb: \"true\"", r#"{a: "1", b: "true"}"#),
        (
            "keys that are no strings",
            "1: a\ntrue: b\nnull: c\n0x10: d",
            r#"{1: "a", true: "b", <nil>: "c", 16: "d"}"#,
        ),
        ("literal block", "a: |\n  x\n  y\n", r#"{a: "x\ny\n"}"#),
        ("literal block without a last line feed", "a: |\n  x", r#"{a: "x"}"#),
        ("folded block", "a: >-\n  x\n  y\n", r#"{a: "x y"}"#),
        ("plain over several lines", "a: x\n  y\n", r#"{a: "x y"}"#),
        ("escapes", r#"a: "\x41\u00e9\n""#, r#"{a: "Aé\n"}"#),
        ("alias", "a: &x {k: 1}\nb: *x", "{a: {k: 1}, b: {k: 1}}"),
        ("alias of a scalar as a key", "a: &x k\n*x : 2", r#"{a: "k", k: 2}"#),
        ("merge key", "a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  k: 3", "{a: {k: 1, l: 2}, b: {k: 3, l: 2}}"),
        (
            "merge key, own keys win before and after",
            "a: &x {k: 1}\nb:\n  k: 3\n  <<: *x",
            "{a: {k: 1}, b: {k: 3}}",
        ),
        (
            "merge of several, the first wins",
            "a: &x {k: 1}\nb: &y {k: 2, l: 2}\nc:\n  <<: [*x, *y]",
            "{a: {k: 1}, b: {k: 2, l: 2}, c: {k: 1, l: 2}}",
        ),
        ("quoted merge key is a key", "'<<': 1", "{<<: 1}"),
        ("tags", "a: !!str 1\nb: !!int '0x10'\nc: !!float 2", r#"{a: "1", b: 16, c: 2.0}"#),
        (
            "other tags",
            "a: !x 1\nb: !<y> true\nc: !!z ~\nd: ! 5\ne: !x 'f'",
            r#"{a: "1", b: "true", c: "~", d: 5, e: "f"}"#,
        ),
        ("binary", "a: !!binary aGVsbG8=", r#"{a: "hello"}"#),
        ("list without indentation", "a:\n- 1\n- 2\n", "{a: [1, 2]}"),
        ("windows line ends", "a: 1\r\nb:\r\n  c: 2\r\n", "{a: 1, b: {c: 2}}"),
        ("byte order mark", "\u{feff}a: 1", "{a: 1}"),
        ("reference stays text", "a: ${env:X:-b}", r#"{a: "${env:X:-b}"}"#),
        ("scalar", "just text", r#""just text""#),
    ];
    for (name, input, expected) in cases {
        assert_eq!(flat(&read(input)), *expected, "{name}");
    }
}

#[test]
fn positions_are_lines_and_columns_in_characters_from_one() {
    let node = read("receivers:\n  otlp:\n    é: value # note\n    list: [a, bb]\n    text: |\n      x\n");
    let place = |keys: &[&str]| {
        let span = node.get(keys).map(|node| node.span).unwrap_or_default();
        (span.line, span.column, span.len)
    };
    assert_eq!(place(&["receivers"]), (2, 3, 1));
    assert_eq!(place(&["receivers", "otlp", "é"]), (3, 8, 5));
    let items = match &node.get(&["receivers", "otlp", "list"]).unwrap().kind {
        NodeKind::Seq(items) => items.clone(),
        _ => Vec::new(),
    };
    assert_eq!((items[1].span.line, items[1].span.column, items[1].span.len), (4, 15, 2));
    let key = node
        .get(&["receivers", "otlp"])
        .and_then(Node::as_map)
        .and_then(|map| map.entry("é"))
        .map(|(key, _)| key.span);
    assert_eq!(key.map(|span| (span.line, span.column, span.len)), Some((3, 5, 1)));
}

/// Name, text, what is wrong, where, and a part of the sentence.
type Wrong = (&'static str, &'static str, ErrorKind, (u32, u32), &'static str);

#[test]
fn wrong_documents_are_refused_with_a_position() {
    let cases: &[Wrong] = &[
        (
            "duplicate key",
            "a: 1\nb: 2\na: 3\n",
            ErrorKind::Duplicate,
            (3, 1),
            "mapping key \"a\" already defined at line 1",
        ),
        (
            "duplicate in flow",
            "x: {a: 1, a: 2}",
            ErrorKind::Duplicate,
            (1, 11),
            "mapping key \"a\" already defined at line 1",
        ),
        ("unclosed flow", "a: [1, 2\nb: 3\n", ErrorKind::Syntax, (2, 2), "yaml:"),
        ("value of a value", "a: b: c\n", ErrorKind::Syntax, (1, 5), "yaml:"),
        ("unknown alias", "a: *x\n", ErrorKind::Syntax, (1, 4), "yaml:"),
        ("anchor in itself", "a: &x [*x]\n", ErrorKind::Syntax, (1, 8), "an anchor's value contains itself"),
        (
            "wrong tag",
            "a: !!int x\n",
            ErrorKind::Syntax,
            (1, 10),
            "yaml: cannot decode !!str `[REDACTED]` as a !!int",
        ),
        (
            "no base64",
            "a: !!binary x-\n",
            ErrorKind::Syntax,
            (1, 13),
            "yaml: !!binary value contains invalid base64 data",
        ),
        (
            "merge of a scalar",
            "a:\n  <<: x\n",
            ErrorKind::Syntax,
            (2, 7),
            "map merge requires map or sequence of maps as the value",
        ),
        ("key that is a list", "? [a]\n: b\n", ErrorKind::Syntax, (1, 3), "yaml: invalid map key"),
        ("template", "a: {{x}}", ErrorKind::Syntax, (1, 5), "yaml: invalid map key"),
    ];
    for (name, input, kind, (line, column), core) in cases {
        let error = fails(input);
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
fn a_duplicate_key_names_both_places() {
    let error = fails("a: 1\na: 2\n");
    assert_eq!(error.related.len(), 1);
    assert_eq!(error.related[0].0.line, 1);
}

#[test]
fn limits_stop_bombs_at_once() {
    let deep = "[".repeat(10_000);
    assert_eq!(fails(&deep).kind, ErrorKind::Limit);
    let nested = (0..70).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>();
    assert_eq!(fails(&nested).kind, ErrorKind::Limit);
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let items = [below.as_str(); 10].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let error = fails(&bomb);
    assert_eq!(error.kind, ErrorKind::Limit);
    assert!(error.core.contains("excessive aliasing"));
    assert_eq!(fails(&"a".repeat(MAX_BYTES + 1)).kind, ErrorKind::Limit);
    let allowed = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    read(&allowed);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        let _ignored = parse(&text, SourceId::default());
    }

    #[test]
    fn no_yaml_like_text_makes_the_reader_panic(text in "[-a:\\[\\]{},&*!|>'\"#?%@ \n\t<~01.$]{0,120}") {
        let _ignored = parse(&text, SourceId::default());
    }
}

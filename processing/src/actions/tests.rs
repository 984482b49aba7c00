use weir_pdata::Payload;
use weir_pdata::edit::{Editor, Message, Then};
use weir_pdata::otlp::common::v1::any_value::Value;
use weir_pdata::otlp::common::v1::{AnyValue, ArrayValue, KeyValue};
use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_pdata::otlp::{LogsRequest, kv};

use super::*;

#[derive(Debug, Clone, Default, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    actions: Vec<ActionConfig>,
}

impl weir_config::Validate for Config {
    fn validate(&self, issues: &mut weir_config::Issues) {
        check(&self.actions, "actions", issues);
    }
}

fn load(yaml: &str) -> Result<Config, Vec<weir_config::ConfigError>> {
    let body = weir_config::parse_body(yaml).expect("YAML");
    weir_config::load(&body, &weir_config::Path::component("processors", "attributes"))
}

struct Apply<'a>(Prepared<'a>);

impl Editor for Apply<'_> {
    fn item(&mut self, item: &mut Message<'_, '_>) -> Then {
        self.0.apply(item.attributes().expect("a log record"));
        Then::Keep
    }
}

fn after_in(context: &Context, actions: &str, attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    let config = load(&format!("actions: {actions}")).expect("valid");
    let actions = Actions::new(&config.actions).expect("checked");
    let records = vec![LogRecord { attributes, ..Default::default() }];
    let scope_logs = vec![ScopeLogs { log_records: records, ..Default::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
    let mut payload = Payload::from(LogsRequest { resource_logs });
    payload.edit(&mut Apply(actions.prepare(context)));
    payload.decode_logs().resource_logs.remove(0).scope_logs.remove(0).log_records.remove(0).attributes
}

fn after(actions: &str, attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    after_in(&Context::default(), actions, attributes)
}

#[test]
fn insert_adds_update_changes_and_upsert_does_both() {
    let before = || vec![kv("a", 1), kv("b", "old")];
    let one =
        |action: &str, key: &str| after(&format!("[{{key: {key}, value: new, action: {action}}}]"), before());
    assert_eq!(one("insert", "a"), before());
    assert_eq!(one("insert", "c"), [kv("a", 1), kv("b", "old"), kv("c", "new")]);
    assert_eq!(one("update", "a"), [kv("a", "new"), kv("b", "old")]);
    assert_eq!(one("update", "c"), before());
    assert_eq!(one("UPSERT", "b"), [kv("a", 1), kv("b", "new")]);
    assert_eq!(one("Upsert", "c"), [kv("a", 1), kv("b", "old"), kv("c", "new")]);
}

#[test]
fn a_value_has_the_type_in_which_it_is_written() {
    let list = |values: Vec<Value>| {
        let values = values.into_iter().map(|v| AnyValue { value: Some(v) }).collect();
        AnyValue { value: Some(Value::ArrayValue(ArrayValue { values })) }
    };
    let typed = |yaml: &str| {
        let all = after(&format!("[{{key: k, value: {yaml}, action: insert}}]"), Vec::new());
        all.into_iter().next().and_then(|kv| kv.value)
    };
    assert_eq!(typed("1"), kv("k", 1).value);
    assert_eq!(typed("'1'"), kv("k", "1").value);
    assert_eq!(typed("1.5"), kv("k", 1.5).value);
    assert_eq!(typed("true"), kv("k", true).value);
    assert_eq!(typed("''"), kv("k", "").value);
    assert_eq!(typed("[1, x]"), Some(list(vec![Value::IntValue(1), Value::StringValue("x".into())])));
    let map = typed("{a: {b: 1}}").and_then(|v| v.value);
    assert!(matches!(map, Some(Value::KvlistValue(m)) if m.values[0].key == "a"));
}

#[test]
fn actions_see_what_those_before_them_did() {
    let rename = "[{key: new, from_attribute: old, action: insert}, {key: old, action: delete}]";
    assert_eq!(after(rename, vec![kv("old", 7), kv("x", 1)]), [kv("x", 1), kv("new", 7)]);
    assert_eq!(after(rename, vec![kv("x", 1)]), [kv("x", 1)]);
    let chain = "[{key: a, value: 1, action: insert}, {key: b, from_attribute: a, action: upsert}, \
                  {key: a, value: 2, action: update}]";
    assert_eq!(after(chain, Vec::new()), [kv("a", 2), kv("b", 1)]);
}

#[test]
fn a_default_steps_in_where_the_source_gives_nothing() {
    let actions = "[{key: k, from_attribute: missing, default_value: d, action: upsert}]";
    assert_eq!(after(actions, Vec::new()), [kv("k", "d")]);
    assert_eq!(after(actions, vec![kv("missing", 1)]), [kv("missing", 1), kv("k", 1)]);
    assert_eq!(after("[{key: k, default_value: 3, action: insert}]", Vec::new()), [kv("k", 3)]);
}

#[test]
fn the_sender_gives_metadata_its_name_and_its_address() {
    let metadata = vec![("x-tenant".to_owned(), vec!["a".to_owned(), "b".to_owned()])];
    let peer = Some("[::ffff:10.1.2.3]:99".parse().expect("an address"));
    let auth = vec![("username".to_owned(), vec!["ann".to_owned()])];
    let context = Context { metadata, auth, peer, transport: "grpc", ..Context::default() };
    let value = |from: &str| {
        let actions = format!("[{{key: k, from_context: {from}, action: insert}}]");
        after_in(&context, &actions, Vec::new())
    };
    assert_eq!(value("metadata.X-Tenant"), [kv("k", "a;b")]);
    assert_eq!(value("x-tenant"), [kv("k", "a;b")]);
    assert_eq!(value("client.address"), [kv("k", "10.1.2.3")]);
    assert_eq!(value("auth.username"), [kv("k", "ann")]);
    assert_eq!((value("metadata.other"), value("auth.other")), (vec![], vec![]));
}

#[test]
fn delete_and_hash_take_keys_and_patterns() {
    let before = || vec![kv("a.x", 1), kv("b", 2), kv("a.y", 3)];
    assert_eq!(after("[{key: b, action: delete}]", before()), [kv("a.x", 1), kv("a.y", 3)]);
    assert_eq!(after("[{pattern: '^a\\.', action: delete}]", before()), [kv("b", 2)]);
    assert_eq!(after("[{key: b, pattern: x$, action: delete}]", before()), [kv("a.y", 3)]);

    let sha = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    assert_eq!(after("[{key: k, action: hash}]", vec![kv("k", "foo")]), [kv("k", sha)]);
    // Of eight bytes 1, 0, 0, ... and of the single byte 1.
    let one = "7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8";
    let yes = "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a";
    let both = after("[{pattern: ., action: hash}]", vec![kv("i", 1), kv("b", true)]);
    assert_eq!(both, [kv("i", one), kv("b", yes)]);
    let list = AnyValue { value: Some(Value::ArrayValue(ArrayValue::default())) };
    let list = KeyValue { key: "k".into(), value: Some(list), ..Default::default() };
    assert_eq!(after("[{key: k, action: hash}]", vec![list]), [kv("k", "")]);
}

#[test]
fn attributes_are_walked_once_to_hash_them_however_many_match() {
    // With a search for each key it would take minutes.
    let before: Vec<_> = (0..100_000).map(|i| kv(&format!("k{}", i / 2), 1)).collect();
    let one = "7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8";
    let hashed = after("[{key: new, value: 1, action: insert}, {pattern: ., action: hash}]", before.clone());
    assert_eq!(hashed.len(), before.len() + 1);
    assert!(
        hashed.iter().zip(&before).all(|(new, old)| *new == kv(&old.key, one)),
        "equal keys are hashed too"
    );
    assert_eq!(hashed.last(), Some(&kv("new", one)));
}

#[test]
fn extract_makes_attributes_of_the_groups_of_a_text() {
    let actions =
        "[{key: url, pattern: '^(?P<scheme>\\w+)://(?P<host>[^/:]+)(:(?P<port>\\d+))?', action: extract}]";
    let error = load(&format!("actions: {actions}")).expect_err("one group has no name");
    assert!(error[0].core.contains("contains at least one unnamed matcher group"), "{}", error[0].core);
    let actions =
        "[{key: url, pattern: '^(?P<scheme>\\w+)://(?P<host>[^/:]+)(?::(?P<port>\\d+))?', action: extract}]";
    let out = after(actions, vec![kv("url", "http://weir.dev/x"), kv("host", 1)]);
    assert_eq!(
        out,
        [kv("url", "http://weir.dev/x"), kv("host", "weir.dev"), kv("scheme", "http"), kv("port", "")]
    );
    assert_eq!(after(actions, vec![kv("url", 5)]), [kv("url", 5)]);
    assert_eq!(after(actions, vec![kv("url", "none")]), [kv("url", "none")]);
}

#[test]
fn convert_leaves_alone_what_it_cannot_convert() {
    let to = |target: &str, value: KeyValue| {
        after(&format!("[{{key: k, converted_type: {target}, action: convert}}]"), vec![value]).remove(0)
    };
    assert_eq!(to("int", kv("k", "-12")), kv("k", -12));
    assert_eq!(to("int", kv("k", "1.5")), kv("k", "1.5"));
    assert_eq!(to("int", kv("k", -1.9)), kv("k", -1));
    assert_eq!(to("int", kv("k", true)), kv("k", 1));
    assert_eq!(to("double", kv("k", "1e3")), kv("k", 1000.0));
    assert_eq!(to("double", kv("k", "1e999")), kv("k", "1e999"));
    assert_eq!(to("double", kv("k", 2)), kv("k", 2.0));
    assert_eq!(to("string", kv("k", 1.0)), kv("k", "1"));
    assert_eq!(to("string", kv("k", false)), kv("k", "false"));
}

#[test]
fn what_is_wrong_is_said_in_the_collectors_words_with_its_place() {
    let cases = [
        ("[]", "missing required field \"actions\"", 1),
        (
            "[{key: a, action: foo}]",
            "error with key \"a\" (0-th action): error creating AttrProc due to unsupported action \"foo\"",
            1,
        ),
        (
            "\n- {action: insert}",
            "error creating AttrProc due to missing required field \"key\" at the 0-th action",
            2,
        ),
        (
            "\n- {key: a, value: 1, action: insert}\n- {action: delete}",
            "error creating AttrProc due to missing required field (at least one of \"key\" and \"pattern\" have to be used) at the 1-th action",
            3,
        ),
        (
            "[{key: a, action: insert}]",
            "error with key \"a\" (0-th action): error creating AttrProc. Either field \"value\", \"from_attribute\", \"from_context\", or \"default_value\" must be specified",
            1,
        ),
        (
            "[{key: a, value: 1, from_attribute: b, action: upsert}]",
            "error with key \"a\" (0-th action): error creating AttrProc due to multiple value sources being set",
            1,
        ),
        (
            "[{key: a, value: 1, pattern: b, action: update}]",
            "error with key \"a\" (0-th action): error creating AttrProc. Action \"update\" does not use the \"pattern\" field. This must not be specified",
            1,
        ),
        (
            "[{key: a, value: 1, action: delete}]",
            "error with key \"a\" (0-th action): error creating AttrProc. Action \"delete\" does not use \"value\" or \"from_attribute\" field. These must not be specified",
            1,
        ),
        (
            "[{key: a, action: extract}]",
            "error with key \"a\" (0-th action): error creating AttrProc due to missing required field \"pattern\" for action \"extract\"",
            1,
        ),
        (
            "[{key: a, pattern: b, action: extract}]",
            "error with key \"a\" (0-th action): error creating AttrProc. Field \"pattern\" contains no named matcher groups",
            1,
        ),
        (
            "[{key: a, pattern: '(', action: hash}]",
            "error with key \"a\" (0-th action): error creating AttrProc. Field \"pattern\" has invalid pattern: \"(\" (error parsing regexp: unclosed group: `(`)",
            1,
        ),
        (
            "[{key: a, action: convert}]",
            "error with key \"a\" (0-th action): error creating AttrProc due to missing required field \"converted_type\" for action \"convert\"",
            1,
        ),
        (
            "[{key: a, converted_type: list, action: convert}]",
            "error with key \"a\" (0-th action): error creating AttrProc due to invalid value \"list\" in field \"converted_type\" for action \"convert\"",
            1,
        ),
    ];
    for (actions, core, line) in cases {
        let errors = load(&format!("actions: {actions}")).expect_err(actions);
        assert_eq!(errors[0].core, core);
        assert_eq!(errors[0].span.map(|s| s.line), Some(line), "{actions}");
    }
    let two = load("actions: [{key: a, action: x}, {key: b, action: y}]").expect_err("two mistakes");
    assert_eq!(two.len(), 2);
}

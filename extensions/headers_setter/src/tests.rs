use std::time::Duration;

use weir_testkit::Beside;

use super::*;

fn started(body: &str) -> Beside {
    Beside::start(&FACTORY, body, &[]).expect("started")
}

fn refused(body: &str) -> String {
    Beside::start(&FACTORY, body, &[]).err().expect("refused")
}

/// The headers of a request that had `x-there: old`, signed for data of that sender.
fn signed_for(extension: &Beside, context: Context) -> Result<HeaderMap, String> {
    let sign = extension.offers.client_auth.clone().expect("signs");
    let headers = extension.run(async move {
        let mut headers = HeaderMap::new();
        headers.insert("x-there", HeaderValue::from_static("old"));
        sign.sign(&mut headers, &context).await.map(|()| headers)
    });
    headers.expect("answers").map_err(|failure| failure.message().to_owned())
}

fn signed(extension: &Beside) -> HeaderMap {
    signed_for(extension, Context::default()).expect("signed")
}

fn sender(values: &[&str]) -> Context {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    Context {
        metadata: vec![("x-tenant".to_owned(), values.clone())],
        auth: vec![("username".to_owned(), values)],
        ..Context::default()
    }
}

#[test]
fn each_action_does_what_its_name_says() {
    for (action, there, absent) in [
        ("insert", Some("old"), Some("new")),
        ("update", Some("new"), None),
        ("upsert", Some("new"), Some("new")),
    ] {
        let header = |key| format!("{{action: {action}, key: {key}, value: new}}");
        let headers = signed(&started(&format!("headers: [{}, {}]", header("X-There"), header("x-absent"))));
        let found = |name| headers.get(name).map(|v| v.to_str().expect("text"));
        assert_eq!((found("x-there"), found("x-absent")), (there, absent), "{action}");
    }
    let headers = signed(&started("headers: [{key: x-absent, value: v}, {action: delete, key: x-there}]"));
    assert_eq!(headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x-absent"]);
}

#[test]
fn values_follow_the_sender_or_fall_back() {
    for source in ["from_context: X-Tenant", "from_attribute: username"] {
        let extension = started(&format!("headers: [{{key: x-org, {source}, default_value: nobody}}]"));
        assert_eq!(signed_for(&extension, sender(&["shop"])).expect("signed")["x-org"], "shop");
        assert_eq!(signed(&extension)["x-org"], "nobody");
        let failure = signed_for(&extension, sender(&["a", "b"])).expect_err("two values");
        assert!(failure.contains("2 source keys found"), "{failure}");
        assert!(signed_for(&extension, sender(&["a\nb"])).is_err(), "no header can be smuggled in");
        let without = started(&format!("headers: [{{key: x-org, {source}}}]"));
        assert_eq!(signed(&without)["x-org"], "");
    }
}

#[test]
fn a_changed_file_is_taken_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("value");
    std::fs::write(&file, "first\n").expect("written");
    let extension = started(&format!("headers: [{{key: x-key, value_file: '{}'}}]", file.display()));
    assert_eq!(signed(&extension)["x-key"], "first");
    std::fs::write(&file, "second\n").expect("written");
    extension.wait(Duration::from_secs(2));
    assert_eq!(signed(&extension)["x-key"], "second");
}

#[test]
fn another_authenticator_signs_afterwards() {
    let first = started("headers: [{key: x-there, value: first}, {key: x-first, value: f}]");
    let others = [("headers_setter/other", first.offers.clone())];
    let body = "{headers: [{key: x-there, value: second}], additional_auth: headers_setter/other}";
    let both = Beside::start(&FACTORY, body, &others).expect("started");
    let headers = signed(&both);
    assert_eq!(
        (&headers["x-there"], &headers["x-first"]),
        (&"first".parse().unwrap(), &"f".parse().unwrap())
    );
    let missing = Beside::start(&FACTORY, body, &[]).err().expect("refused");
    assert!(
        missing
            .starts_with("failed to resolve authenticator \"headers_setter/other\": authenticator not found")
    );
}

#[test]
fn mistakes_are_named() {
    assert!(refused("").contains("missing headers configuration"));
    assert!(refused("headers: [{value: x}]").contains("missing header name"));
    assert!(refused("headers: [{key: 'a b', value: x}]").contains("\"a [REDACTED]\" is not a header name"));
    assert!(refused("headers: [{key: a}]").contains("missing header source"));
    assert!(
        refused("headers: [{key: a, value: hunter2, from_context: b}]").contains("invalid header source")
    );
    assert!(refused("headers: [{key: a, value: x, action: replace}]").contains("invalid action"));
    assert!(refused("headers: [{key: a, value_file: /no/such/file}]").contains("/no/such/file"));
}

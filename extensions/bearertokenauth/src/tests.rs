use std::time::Duration;

use weir_testkit::Beside;

use super::*;

fn started(body: &str) -> Beside {
    Beside::start(&FACTORY, body, &[]).expect("started")
}

fn refused(body: &str) -> String {
    Beside::start(&FACTORY, body, &[]).err().expect("refused")
}

/// What a caller with that header is told.
fn told(extension: &Beside, header: &'static str, value: &str) -> Result<(), String> {
    let headers = HeaderMap::from_iter([(
        HeaderName::from_static(header),
        HeaderValue::try_from(value).expect("a value"),
    )]);
    let check = extension.offers.server_auth.clone().expect("checks");
    let answer = extension.run(async move { check.authenticate(&headers).await }).expect("answers");
    answer.map(drop).map_err(|failure| failure.message().to_owned())
}

/// The headers of a request that had a foreign one.
fn signed(extension: &Beside) -> HeaderMap {
    let sign = extension.offers.client_auth.clone().expect("signs");
    let headers = extension.run(async move {
        let mut headers =
            HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_static("other"))]);
        sign.sign(&mut headers, &Context::default()).await.map(|()| headers)
    });
    headers.expect("answers").expect("signed")
}

#[test]
fn one_token_of_several_is_enough_and_anything_else_is_not() {
    let extension = started("tokens: [one, two]");
    assert_eq!(told(&extension, "authorization", "Bearer one"), Ok(()));
    assert_eq!(told(&extension, "authorization", "Bearer two"), Ok(()));
    for wrong in [
        "Bearer",
        "Bearer ",
        "Bearer on",
        "Bearer onf",
        "Bearer pne",
        "Bearer onetwo",
        "bearer one",
        "one",
        "Basic one",
    ] {
        let told = told(&extension, "authorization", wrong).expect_err("refused");
        assert_eq!(told, "provided authorization does not match expected scheme or token");
    }
    let missing = told(&extension, "x-other", "Bearer one").expect_err("refused");
    assert_eq!(missing, "missing or empty authorization header: Authorization");
}

#[test]
fn the_first_token_signs_and_replaces_what_was_there() {
    let extension = started("tokens: [one, two]");
    let headers = signed(&extension);
    assert_eq!(headers["authorization"], "Bearer one");
    assert!(headers["authorization"].is_sensitive());
    assert!(extension.offers.client_auth.as_ref().is_some_and(|auth| auth.needs_encryption()));
}

#[test]
fn scheme_and_header_can_be_others() {
    let extension = started("{scheme: '', header: X-Api-Key, token: secret}");
    assert_eq!(told(&extension, "x-api-key", "secret"), Ok(()));
    assert_eq!(signed(&extension)["x-api-key"], "secret");
}

#[test]
fn a_changed_file_is_taken_up_and_a_lost_one_leaves_the_old_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "first a comment\n\n  second\n").expect("written");
    let extension = started(&format!("{{filename: '{}', token: ignored}}", file.display()));
    for right in ["first", "second"] {
        assert_eq!(told(&extension, "authorization", &format!("Bearer {right}")), Ok(()));
    }
    assert!(told(&extension, "authorization", "Bearer ignored").is_err());
    std::fs::write(&file, "third").expect("written");
    extension.wait(Duration::from_secs(2));
    assert_eq!(signed(&extension)["authorization"], "Bearer third");
    assert!(told(&extension, "authorization", "Bearer first").is_err());
    std::fs::remove_file(&file).expect("removed");
    extension.wait(Duration::from_secs(2));
    assert_eq!(signed(&extension)["authorization"], "Bearer third");
}

#[test]
fn an_empty_token_of_several_is_refused_at_its_place_as_it_would_let_everyone_in() {
    let path = weir_config::Path::component("extensions", "bearertokenauth");
    for empty in ["''", "' '", ""] {
        let body = weir_config::parse_body(&format!("tokens:\n- one\n- {empty}\n")).expect("YAML");
        let errors = weir_config::load::<Config>(&body, &path).expect_err("refused");
        let told: Vec<_> =
            errors.iter().map(|e| (e.message.as_str(), e.span.map(|span| span.line))).collect();
        let message =
            "extensions::bearertokenauth::tokens::1: the token is empty: whoever sends none would be let in";
        assert_eq!(told, [(message, Some(3))], "{empty:?}");
    }
}

#[test]
fn mistakes_are_named_and_no_token_is_shown() {
    assert!(refused("").contains("no bearer token provided"));
    let both = refused("{token: hunter2, tokens: [hunter3]}");
    assert!(both.contains("either tokens or token should be provided, not both") && !both.contains("hunter"));
    assert!(refused("{token: x, header: 'a b'}").contains("\"a [REDACTED]\" is not a header name"));
    assert!(refused("filename: /no/such/token").contains("/no/such/token"));
    let config: Config = weir_config::load(
        &weir_config::parse_body("tokens: [hunter2]").expect("YAML"),
        &weir_config::Path::component("extensions", "bearertokenauth"),
    )
    .expect("valid");
    assert!(!format!("{config:?}").contains("hunter2"));
}

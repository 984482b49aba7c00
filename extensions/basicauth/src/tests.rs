use std::time::Duration;

use weir_testkit::Beside;

use super::*;

fn started(body: &str) -> Beside {
    Beside::start(&FACTORY, body, &[]).expect("started")
}

fn refused(body: &str) -> String {
    Beside::start(&FACTORY, body, &[]).err().expect("refused")
}

/// What a caller is told who sends that header: his name, or why not.
fn told(extension: &Beside, authorization: &str) -> Result<String, String> {
    let value = HeaderValue::try_from(authorization).expect("a value");
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    let check = extension.offers.server_auth.clone().expect("checks");
    let answer = extension.run(async move { check.authenticate(&headers).await }).expect("answers");
    let context = answer.map(|auth| Context { auth, ..Context::default() });
    context.map(|c| c.auth("username").join(";")).map_err(|failure| failure.message().to_owned())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The `authorization` of a signed request.
fn signed(extension: &Beside) -> Result<HeaderValue, String> {
    let sign = extension.offers.client_auth.clone().expect("signs");
    let headers = extension.run(async move {
        let mut headers = HeaderMap::new();
        sign.sign(&mut headers, &Context::default()).await.map(|()| headers)
    });
    let headers = headers.expect("answers").map_err(|failure| failure.message().to_owned())?;
    Ok(headers[header::AUTHORIZATION].clone())
}

#[test]
fn callers_with_a_right_password_are_let_through_by_name_every_time() {
    let hash = bcrypt::hash("open:sesame", 4).expect("hashed");
    let extension = started(&format!("htpasswd: {{inline: \"ali:{hash}\\nbaba:plain\"}}"));
    for _ in 0..2 {
        assert_eq!(told(&extension, &basic("ali", "open:sesame")), Ok("ali".to_owned()));
        assert_eq!(told(&extension, &basic("baba", "plain")), Ok("baba".to_owned()));
        for (user, password) in [("ali", "plain"), ("baba", "open:sesame"), ("nobody", "plain"), ("", "")] {
            assert_eq!(told(&extension, &basic(user, password)), Err("invalid credentials".to_owned()));
        }
    }
    assert_eq!(told(&extension, &basic("baba", "plain").replace("Basic", "bAsIc")), Ok("baba".to_owned()));
}

#[test]
fn what_is_no_basic_authentication_is_told_so() {
    let extension = started("htpasswd: {inline: 'a:b'}");
    assert_eq!(told(&extension, ""), Err("no basic auth provided".to_owned()));
    for other in ["Bearer x", "Basic", "a"] {
        assert_eq!(told(&extension, other), Err("invalid authorization scheme prefix".to_owned()), "{other}");
    }
    for other in ["Basic ***", "Basic YQ==", "Basic /w==", "Basic YTpi YTpi"] {
        assert_eq!(told(&extension, other), Err("invalid authorization format".to_owned()), "{other}");
    }
}

#[test]
fn a_changed_file_is_taken_up_and_inline_lines_count_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("htpasswd");
    std::fs::write(&file, "a:one\nb:one\n").expect("written");
    let extension = started(&format!("htpasswd: {{file: '{}', inline: 'b:two'}}", file.display()));
    assert_eq!(told(&extension, &basic("a", "one")), Ok("a".to_owned()));
    assert_eq!(told(&extension, &basic("b", "two")), Ok("b".to_owned()));
    assert!(told(&extension, &basic("b", "one")).is_err());
    std::fs::write(&file, "a:three\n").expect("written");
    extension.wait(Duration::from_secs(2));
    assert!(told(&extension, &basic("a", "one")).is_err(), "the accepted password is forgotten");
    assert_eq!(told(&extension, &basic("a", "three")), Ok("a".to_owned()));
}

#[test]
fn requests_are_signed_with_what_the_options_or_files_hold() {
    let extension = started("client_auth: {username: me, password: 'p:w'}");
    let value = signed(&extension).expect("signed");
    assert_eq!(value, basic("me", "p:w"));
    assert!(value.is_sensitive());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    std::fs::write(&file, "first\n").expect("written");
    let body = format!("client_auth: {{username: me, password: no, password_file: '{}'}}", file.display());
    let extension = started(&body);
    assert_eq!(signed(&extension).expect("signed"), basic("me", "first"));
    std::fs::write(&file, "second").expect("written");
    extension.wait(Duration::from_secs(2));
    assert_eq!(signed(&extension).expect("signed"), basic("me", "second"));
}

#[test]
fn mistakes_are_named() {
    assert!(refused("").contains("no credential source provided"));
    assert!(refused("htpasswd: {}").contains("no credential source provided"));
    let both = refused("{htpasswd: {inline: 'a:hunter2'}, client_auth: {username: a}}");
    assert!(both.contains("only one of `htpasswd` or `client_auth` can be specified"), "{both}");
    assert!(!both.contains("hunter2"));
    assert!(refused("htpasswd: {file: /no/such/file}").contains("/no/such/file"));
    assert!(refused("htpasswd: {inline: 'no colon'}").contains("user:hash"));
    assert!(refused("client_auth: {username: 'a:b'}").contains("invalid authorization format"));
}

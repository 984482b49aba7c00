use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, poll};
use tokio::sync::oneshot;
use tracing::level_filters::LevelFilter;
use weir_component::{Blocking, Host, Status, Telemetry};
use weir_testkit::Beside;

use super::*;
use crate::turns::PLACES;

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
fn a_changed_file_without_a_user_changes_nothing_and_is_said_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("htpasswd");
    std::fs::write(&file, "a:one\n").expect("written");
    let lines = weir_testkit::logged(LevelFilter::WARN, || {
        let body = format!("htpasswd: {{file: '{}', inline: \"b:two\\n\\nno colon\"}}", file.display());
        let extension = started(&body);
        std::fs::write(&file, "\na:\n").expect("written");
        for _ in 0..3 {
            extension.wait(Duration::from_secs(2));
            assert_eq!(told(&extension, &basic("a", "one")), Ok("a".to_owned()));
            assert_eq!(told(&extension, &basic("b", "two")), Ok("b".to_owned()));
            assert!(told(&extension, &basic("a", "")).is_err());
        }
    });
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, said) in lines.iter().zip([
        ["htpasswd: there is no colon, the line is left out", "option=\"inline\";line=3;"],
        ["htpasswd: the password is empty, the line is left out", "option=\"file\";line=2;"],
        ["the users of the old one stay", ""],
    ]) {
        assert!(said.iter().all(|words| line.contains(words)), "{line}");
    }
}

#[test]
fn a_file_whose_last_line_has_no_end_is_read_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("htpasswd");
    std::fs::write(&file, "a:one\nb:two").expect("written");
    let extension = started(&format!("htpasswd: {{file: '{}'}}", file.display()));
    assert_eq!(told(&extension, &basic("b", "two")), Ok("b".to_owned()));
}

/// Threads for blocking work, which end what they began when they are told to.
#[derive(Default)]
struct Threads(Mutex<VecDeque<Box<dyn FnOnce() + Send>>>);

impl Threads {
    fn busy(&self) -> usize {
        self.0.lock().expect("not poisoned").len()
    }

    fn end_one(&self) {
        let work = self.0.lock().expect("not poisoned").pop_front();
        work.expect("something was begun")();
    }
}

impl Blocking for Threads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let (done, ended) = oneshot::channel::<()>();
        let work = move || {
            work();
            drop(done);
        };
        self.0.lock().expect("not poisoned").push_back(Box::new(work));
        Box::pin(async move { drop(ended.await) })
    }
}

#[test]
fn wrong_passwords_take_a_bounded_number_of_threads_and_those_who_leave_give_up_their_places() {
    let threads = Arc::new(Threads::default());
    let host = Host::new("", 0, Telemetry::default(), Arc::clone(&threads) as Arc<dyn Blocking>);
    let server = Server::new(host, "basicauth", Credential::lines(""), "a:one\nb:two");
    let turns = std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).max(1));
    let ask = |user, password: &str| {
        let value = HeaderValue::try_from(basic(user, password)).expect("a value");
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        let server = &server;
        Box::pin(async move { server.authenticate(&headers).await.map(drop) })
    };
    let whole = async {
        let mut seen = ask("a", "one");
        assert!(poll!(&mut seen).is_pending());
        threads.end_one();
        assert!(seen.await.is_ok());

        let mut wrong: Vec<_> = (0..turns + PLACES).map(|i| ask("a", &i.to_string())).collect();
        for request in &mut wrong {
            assert!(poll!(request).is_pending());
        }
        assert_eq!(threads.busy(), turns);
        let refused = ask("b", "two").await.expect_err("all places are taken");
        assert!(refused.is_retryable() && refused.status() == Some(Status::Unavailable), "{refused:?}");
        assert!(ask("a", "one").await.is_ok(), "what was right before needs no turn");

        drop(wrong);
        assert_eq!(threads.busy(), turns, "what was begun goes on, and nothing that waited");
        let mut next = ask("b", "two");
        assert!(poll!(&mut next).is_pending());
        assert_eq!(threads.busy(), turns, "those who left keep their turns until what they began has ended");
        threads.end_one();
        assert!(poll!(&mut next).is_pending());
        (0..turns).for_each(|_| threads.end_one());
        assert!(next.await.is_ok());
    };
    whole.now_or_never().expect("waits for nothing else");
}

#[test]
fn a_password_longer_than_any_that_is_checked_is_refused_at_once() {
    let threads = Arc::new(Threads::default());
    let host = Host::new("", 0, Telemetry::default(), Arc::clone(&threads) as Arc<dyn Blocking>);
    let server = Server::new(host, "basicauth", Credential::lines(""), "a:one");
    let value = HeaderValue::try_from(basic("a", &"x".repeat(1025))).expect("a value");
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    let answer = server.authenticate(&headers).now_or_never().expect("at once");
    assert_eq!(answer.map_err(|failure| failure.message().to_owned()), Err("invalid credentials".to_owned()));
    assert_eq!(threads.busy(), 0);
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

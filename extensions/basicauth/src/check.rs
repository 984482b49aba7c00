//! What must hold for whatever callers send and htpasswd files hold; for tests and for fuzzing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::htpasswd::Users;
use crate::server::credentials;

/// The bytes as an `authorization` header: credentials that are read are those that were written. The same bytes as an
/// htpasswd file: each line is a user, or numbered as wrong, and checking a password ends.
pub fn basic_auth(bytes: &[u8]) {
    if let Ok((user, password, raw)) = credentials(bytes) {
        assert!(!user.contains(':'), "a user with a colon: {user:?}");
        let again = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        assert_eq!(credentials(again.as_bytes()), Ok((user, password, raw)));
    }
    let text = String::from_utf8_lossy(bytes);
    let (users, wrong) = Users::parse(&text);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for (line, why) in &wrong {
        assert!(!lines[line - 1].is_empty(), "line {line} is empty, and {why}");
    }
    let given = lines.iter().filter(|line| !line.is_empty()).count();
    assert!(users.len() + wrong.len() <= given, "more users than lines");
    assert!(!users.is_empty() || wrong.len() == given, "users are gone");
    users.check();
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_is_read() {
        crate::corpus::corpus("basic_auth").iter().for_each(|bytes| super::basic_auth(bytes));
    }
}

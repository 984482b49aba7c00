//! The lines of an htpasswd file: `user:hash`, in the schemes that Apache and LDAP use.
//!
//! Source: Apache's "Password Formats". A line is of the scheme that its hash begins with, else its password is in clear
//! text (which nginx marks with `{PLAIN}`).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use crate::md5crypt;

/// Bytes of the longest password that is checked. bcrypt reads 72 of them, and what SHA-crypt costs grows with the square of
/// their number.
pub(crate) const MAX_PASSWORD: usize = 1 << 10;

/// Users and what their passwords are checked against.
#[derive(Default)]
pub(crate) struct Users(BTreeMap<String, Hash>);

/// A hashed password.
#[derive(Clone)]
enum Hash {
    Md5 { magic: &'static str, salt: String, hash: String },
    Sha1 { hash: [u8; 20], salt: Vec<u8> },
    Bcrypt(String),
    ShaCrypt(String),
    Plain(String),
}

impl Users {
    /// Reads lines; a later line replaces an earlier one of the same user. Beside the users the numbers of the lines that
    /// cannot be read are returned, from 1, with the reason.
    pub(crate) fn parse(text: &str) -> (Users, Vec<(usize, &'static str)>) {
        let (mut users, mut wrong) = (Users::default(), Vec::new());
        for (i, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
            match line
                .split_once(':')
                .ok_or("there is no colon")
                .and_then(|(user, hash)| Ok((user, Hash::parse(hash)?)))
            {
                Ok((user, hash)) => drop(users.0.insert(user.to_owned(), hash)),
                Err(why) => wrong.push((i + 1, why)),
            }
        }
        (users, wrong)
    }

    /// Adds others, which replace those of the same name.
    pub(crate) fn add(&mut self, others: &Users) {
        self.0.extend(others.0.iter().map(|(user, hash)| (user.clone(), hash.clone())));
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether that is the password of that user. A user who does not exist takes as long as one who does.
    pub(crate) fn matches(&self, user: &str, password: &str) -> bool {
        let known = self.0.get(user);
        let hash = known.or_else(|| self.0.values().next());
        hash.is_some_and(|hash| hash.matches(password)) & known.is_some()
    }
}

/// What [`crate::check`] asks.
#[cfg(any(test, feature = "fuzzing"))]
impl Users {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// A password in clear text opens, nobody who is not there gets in, and no hash makes checking panic. Schemes that are
    /// made to be slow are left out where they would take more than their least time.
    pub(crate) fn check(&self) {
        for (user, hash) in self.0.iter().take(4) {
            match hash {
                Hash::Plain(plain) => assert!(self.matches(user, plain), "{user:?} is locked out"),
                Hash::Bcrypt(hash) if !hash[3..].starts_with("$04$") => {}
                Hash::ShaCrypt(hash) if hash.contains("rounds=") => {}
                _ => drop(self.matches(user, "open")),
            }
        }
        if let Some(Hash::Plain(plain)) = self.0.values().next() {
            assert!(!self.matches("a:b", plain), "a name that no line can have is let in");
        }
    }
}

impl Hash {
    fn parse(text: &str) -> Result<Hash, &'static str> {
        for magic in ["$apr1$", "$1$"] {
            if let Some(rest) = text.strip_prefix(magic) {
                let (salt, hash) = rest.split_once('$').ok_or("the MD5 hash has no salt")?;
                return Ok(Hash::Md5 { magic, salt: salt.to_owned(), hash: hash.to_owned() });
            }
        }
        let sha = |encoded: &str| STANDARD.decode(encoded).map_err(|_| "the SHA-1 hash is not base64");
        if let Some(encoded) = text.strip_prefix("{SHA}") {
            let hash = sha(encoded)?.try_into().map_err(|_| "the SHA-1 hash is not 20 bytes long")?;
            return Ok(Hash::Sha1 { hash, salt: Vec::new() });
        }
        if let Some(encoded) = text.strip_prefix("{SSHA}") {
            let bytes = sha(encoded)?;
            let (hash, salt) = bytes.split_first_chunk().ok_or("the SHA-1 hash is shorter than 20 bytes")?;
            return Ok(Hash::Sha1 { hash: *hash, salt: salt.to_vec() });
        }
        if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|magic| text.starts_with(magic)) {
            return Ok(Hash::Bcrypt(text.to_owned()));
        }
        if text.starts_with("$5$") || text.starts_with("$6$") {
            return Ok(Hash::ShaCrypt(text.to_owned()));
        }
        let password = text.strip_prefix("{PLAIN}").unwrap_or(text);
        if password.is_empty() {
            return Err("the password is empty");
        }
        if password.len() > MAX_PASSWORD {
            return Err("the password is longer than 1024 bytes");
        }
        Ok(Hash::Plain(text.to_owned()))
    }

    fn matches(&self, password: &str) -> bool {
        let same = |a: &[u8], b: &[u8]| bool::from(a.ct_eq(b));
        match self {
            Hash::Md5 { magic, salt, hash } => {
                same(md5crypt::hash(password.as_bytes(), magic, salt).as_bytes(), hash.as_bytes())
            }
            Hash::Sha1 { hash, salt } => {
                same(&Sha1::new().chain_update(password).chain_update(salt).finalize(), hash)
            }
            Hash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Hash::ShaCrypt(hash) => {
                ShaCrypt::default().verify_password(password.as_bytes(), hash.as_str()).is_ok()
            }
            Hash::Plain(plain) => {
                let marked = plain.strip_prefix("{PLAIN}").unwrap_or(plain);
                same(password.as_bytes(), plain.as_bytes()) | same(password.as_bytes(), marked.as_bytes())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One user per scheme, all with the password `open`; made with `openssl passwd` and `htpasswd`.
    const FILE: &str = "
apr1:$apr1$saltsalt$BJ8ZoMQQVmQ9DSUqX7duf.
md5:$1$saltsalt$4GjbKnCDSyi2rl7G9MlD10
sha:{SHA}X8fji//gDKRq3YkUVGSi6vdZ1cI=
ssha:{SSHA}QsZCbS/gbgpV5i1c+SGSDgl69cBzYWx0
sha256:$5$abcdefgh$qdVaO9Dcvw4I0niJ3QeXwwVxZYYw3LWeiYEYF28r357
sha512:$6$abcdefgh$M/SXtNftV98x2.EyjBiyjWo6.orwqG24oTGdY0vZFp75Eu4/jnwCUJDGaEgE8S6H346weBqUfIt.bef7LRd5u.
plain:open
marked:{PLAIN}open
";

    #[test]
    fn every_scheme_knows_its_password_and_no_other() {
        let bcrypt = ["2a", "2b", "2y"].map(|v| {
            let hash = bcrypt::hash_with_salt("open", 4, [7; 16]).expect("hashed");
            format!(
                "bcrypt{v}:{}",
                hash.format_for_version(match v {
                    "2a" => bcrypt::Version::TwoA,
                    "2b" => bcrypt::Version::TwoB,
                    _ => bcrypt::Version::TwoY,
                })
            )
        });
        let (users, wrong) = Users::parse(&format!("{FILE}{}", bcrypt.join("\r\n")));
        assert_eq!(wrong, []);
        assert_eq!(users.0.len(), 11);
        for user in users.0.keys() {
            assert!(users.matches(user, "open"), "{user}");
            for other in ["", "Open", "open ", "{PLAIN}"] {
                assert!(!users.matches(user, other), "{user} {other:?}");
            }
        }
        assert!(!users.matches("nobody", "open"));
    }

    #[test]
    fn a_later_line_counts_and_damaged_ones_are_numbered() {
        let (users, wrong) =
            Users::parse("a:one\n\nno colon\na:two\nb:{SHA}***\nc:{SHA}AAAA\nd:{SSHA}AAAA\ne:$1$salt\n");
        assert!(users.matches("a", "two") && !users.matches("a", "one"));
        assert_eq!(wrong.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 5, 6, 7, 8]);
    }

    #[test]
    fn an_empty_password_and_one_that_is_never_checked_are_damaged_lines() {
        let long = "x".repeat(MAX_PASSWORD + 1);
        let (users, wrong) = Users::parse(&format!("a:\nb: \nc:{{PLAIN}}\nd:{long}\ne:{{PLAIN}}{long}"));
        assert!(users.is_empty() && wrong.len() == 5, "{wrong:?}");
    }

    #[test]
    fn a_password_that_looks_like_a_hash_does_not_open() {
        let (users, _) = Users::parse(FILE);
        assert!(
            !users.matches("sha", "{SHA}X8fji//gDKRq3YkUVGSi6vdZ1cI=")
                && !users.matches("plain", "{PLAIN}open")
        );
    }

    #[test]
    fn damaged_hashes_match_nothing_and_do_not_panic() {
        let (users, _) = Users::parse(
            "a:$2b$\nb:$6$\nc:$5$rounds=9$x$y\nd:$apr1$$\ne:$2y$99$abc\nf:$6$é$é\ng:$1$éééééééé$x",
        );
        for user in users.0.keys() {
            assert!(!users.matches(user, "open"), "{user}");
        }
    }
}

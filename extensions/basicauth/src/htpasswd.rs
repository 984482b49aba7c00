//! The lines of an htpasswd file: `user:hash`, in the schemes that Apache and LDAP use.
//!
//! Source: Apache's "Password Formats". A line is of the scheme that its hash begins with, else its password is in clear
//! text (which nginx marks with `{PLAIN}`).

use std::collections::BTreeMap;
use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use sha_crypt::{Params, PasswordVerifier, ShaCrypt};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use crate::md5crypt;

/// Bytes of the longest password that is checked. bcrypt reads 72 of them, and what SHA-crypt costs grows with the square of
/// their number.
pub(crate) const MAX_PASSWORD: usize = 1 << 10;

/// Users and what their passwords are checked against.
#[derive(Default)]
pub(crate) struct Users {
    hashes: BTreeMap<String, Hash>,
    /// A hash of each cost that there is.
    of_cost: BTreeMap<Cost, Hash>,
}

/// A hashed password.
#[derive(Clone)]
enum Hash {
    Md5 { magic: &'static str, salt: String, hash: String },
    Sha1 { hash: [u8; 20], salt: Vec<u8> },
    Bcrypt(String),
    ShaCrypt(String),
    Plain(String),
}

/// What it takes to check a password against a hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    Plain,
    Sha1,
    Md5,
    Bcrypt(u32),
    /// Its magic and rounds.
    ShaCrypt(String),
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
                Ok((user, hash)) => users.insert(user, hash),
                Err(why) => wrong.push((i + 1, why)),
            }
        }
        (users, wrong)
    }

    /// Adds others, which replace those of the same name.
    pub(crate) fn add(&mut self, others: &Users) {
        others.hashes.iter().for_each(|(user, hash)| self.insert(user, hash.clone()));
    }

    fn insert(&mut self, user: &str, hash: Hash) {
        if let Some(cost) = hash.cost() {
            self.of_cost.entry(cost).or_insert_with(|| hash.clone());
        }
        self.hashes.insert(user.to_owned(), hash);
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether that is the password of that user. It takes as long for each user, and for one who does not exist: one hash of
    /// each cost is computed for all.
    pub(crate) fn matches(&self, user: &str, password: &str) -> bool {
        self.checks(user)
            .fold(false, |right, (hash, is_own)| right | (black_box(hash.matches(password)) & is_own))
    }

    /// The hashes that are computed for a user, and whether they are the user's own.
    fn checks(&self, user: &str) -> impl Iterator<Item = (&Hash, bool)> {
        let own = self.hashes.get(user).and_then(|hash| Some((hash.cost()?, hash)));
        self.of_cost.iter().map(move |(cost, other)| match &own {
            Some((of_own, hash)) if of_own == cost => (*hash, true),
            _ => (other, false),
        })
    }
}

/// What [`crate::check`] asks.
#[cfg(any(test, feature = "fuzzing"))]
impl Users {
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// A password in clear text opens, nobody who is not there gets in, and no hash makes checking panic. Files with hashes
    /// that are made to be slow are left out where they would take more than their least time.
    pub(crate) fn check(&self) {
        let is_slow = |cost: &Cost| match cost {
            Cost::Bcrypt(cost) => *cost > 4,
            Cost::ShaCrypt(rounds) => !rounds.ends_with("rounds=5000"),
            Cost::Plain | Cost::Sha1 | Cost::Md5 => false,
        };
        if self.of_cost.keys().any(is_slow) {
            return;
        }
        for (user, hash) in self.hashes.iter().take(4) {
            match hash {
                Hash::Plain(plain) => assert!(self.matches(user, plain), "{user:?} is locked out"),
                _ => drop(self.matches(user, "open")),
            }
        }
        if let Some(Hash::Plain(plain)) = self.hashes.values().next() {
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

    /// What it takes to check it; none where it is damaged and opens to nothing.
    fn cost(&self) -> Option<Cost> {
        match self {
            Hash::Md5 { .. } => Some(Cost::Md5),
            Hash::Sha1 { .. } => Some(Cost::Sha1),
            Hash::Bcrypt(hash) => {
                let cost = hash.parse::<HashParts>().ok()?.get_cost();
                (4..=31).contains(&cost).then_some(Cost::Bcrypt(cost))
            }
            Hash::ShaCrypt(hash) => cost_of_sha_crypt(hash),
            Hash::Plain(_) => Some(Cost::Plain),
        }
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

/// `$5$` or `$6$`, rounds that may be left out, a salt and a hash.
fn cost_of_sha_crypt(text: &str) -> Option<Cost> {
    let (magic, rest) = text.split_at_checked(3)?;
    // Characters of six bits each, and values of the last one, which has what is left.
    let (length, last) = if magic == "$5$" { (43, 16) } else { (86, 4) };
    let (rounds, rest) = match rest.split_once('$') {
        Some((first, behind)) if let Ok(rounds) = first.parse() => (rounds, behind),
        _ => (Params::default(), rest),
    };
    let (_, hash) = rest.split_once('$')?;
    let values: Option<Vec<_>> = hash.bytes().map(|c| SHA_CRYPT_64.iter().position(|of| *of == c)).collect();
    let values = values.filter(|values| values.len() == length)?;
    values.last().is_some_and(|value| *value < last).then(|| Cost::ShaCrypt(format!("{magic}{rounds}")))
}

const SHA_CRYPT_64: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

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
        assert_eq!(users.hashes.len(), 11);
        for (user, hash) in &users.hashes {
            assert!(users.matches(user, "open"), "{user}");
            for other in ["", "Open", "open ", "{PLAIN}"] {
                assert!(!hash.matches(other), "{user} {other:?}");
            }
        }
        assert!(!users.matches("plain", "Open"));
        assert!(!users.matches("nobody", "open"));
    }

    #[test]
    fn checking_takes_as_long_whoever_asks() {
        let bcrypt = [4, 5, 5].map(|cost| bcrypt::hash_with_salt("open", cost, [7; 16]).expect("hashed"));
        let bcrypt = bcrypt.map(|hash| hash.format_for_version(bcrypt::Version::TwoB));
        let rounds = FILE.lines().find_map(|line| line.strip_prefix("sha256:$5$")).expect("a line");
        let [a, b, c] = &bcrypt;
        let text = format!("{FILE}a:{a}\nb:{b}\nc:{c}\nd:$5$rounds=9000${rounds}\ndamaged:$2b$31$x\n");
        let (users, _) = Users::parse(&text);
        let costs = |user: &str| -> Vec<_> { users.checks(user).map(|(hash, _)| hash.cost()).collect() };
        let all = costs("nobody");
        assert_eq!(all.len(), 8, "{all:?}");
        for user in users.hashes.keys() {
            assert_eq!(costs(user), all, "{user}");
            let own = users.checks(user).filter(|(_, is_own)| *is_own).count();
            assert_eq!(own, usize::from(user != "damaged"), "{user}");
        }
    }

    #[test]
    fn hashes_of_sha_crypt_that_cannot_be_read_cost_nothing() {
        let (short, long) = ("7".repeat(43), format!("{}.", "7".repeat(85)));
        let rounds = |text: String| match cost_of_sha_crypt(&text) {
            Some(Cost::ShaCrypt(rounds)) => rounds,
            _ => String::new(),
        };
        assert_eq!(rounds(format!("$5$salt${short}")), "$5$rounds=5000");
        assert_eq!(rounds(format!("$6$rounds=1000$salt${long}")), "$6$rounds=1000");
        for damaged in [
            format!("$5$salt${long}"),
            format!("$6$salt${short}"),
            format!("$5$rounds=9$salt${short}"),
            format!("$5$salt${short}$"),
            format!("$5${short}"),
            format!("$6$salt${}", "7".repeat(86)),
        ] {
            assert_eq!(rounds(damaged.clone()), "", "{damaged}");
            assert!(ShaCrypt::default().verify_password(b"open", damaged.as_str()).is_err());
        }
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
        for user in users.hashes.keys() {
            assert!(!users.matches(user, "open"), "{user}");
        }
    }
}

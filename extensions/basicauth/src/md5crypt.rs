//! The MD5 schemes of htpasswd files: `$apr1$` and `$1$`, which differ in that word only.
//!
//! Source: the description of the algorithm in crypt(5) and in Apache's "Password Formats". MD5 is broken as a hash and
//! 1,000 rounds are few; it is here because files have it.

use md5::{Digest, Md5};

const ROUNDS: usize = 1000;
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Bytes of the digest in the order in which they are written, three at a time; the last stands alone.
const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
const LAST: usize = 11;
/// Longer salts are cut.
const MAX_SALT: usize = 8;

/// The 22 characters behind the salt. `magic` is `$apr1$` or `$1$`.
pub(crate) fn hash(password: &[u8], magic: &str, salt: &str) -> String {
    let salt = &salt.as_bytes()[..salt.len().min(MAX_SALT)];
    encode(&rounds(first(password, magic, salt), password, salt))
}

fn first(password: &[u8], magic: &str, salt: &[u8]) -> [u8; 16] {
    let inner: [u8; 16] =
        Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize().into();
    let mut outer = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    for start in (0..password.len()).step_by(16) {
        outer.update(&inner[..(password.len() - start).min(16)]);
    }
    let mut bits = password.len();
    while bits > 0 {
        // The first character stands for a zero bit of the length, a NUL for a one.
        outer.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    outer.finalize().into()
}

fn rounds(mut digest: [u8; 16], password: &[u8], salt: &[u8]) -> [u8; 16] {
    for round in 0..ROUNDS {
        let odd = round % 2 == 1;
        let mut next = Md5::new().chain_update(if odd { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &digest[..] } else { password });
        digest = next.finalize().into();
    }
    digest
}

fn encode(digest: &[u8; 16]) -> String {
    let mut out = String::with_capacity(22);
    let mut put = |mut value: u32, characters: usize| {
        for _ in 0..characters {
            out.push(char::from(ALPHABET[(value & 0x3f) as usize]));
            value >>= 6;
        }
    };
    for [a, b, c] in ORDER {
        put(u32::from(digest[a]) << 16 | u32::from(digest[b]) << 8 | u32::from(digest[c]), 4);
    }
    put(u32::from(digest[LAST]), 2);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl passwd -apr1` and `-1`.
    #[test]
    fn the_hashes_are_those_of_openssl() {
        for (magic, salt, password, expected) in [
            ("$apr1$", "saltsalt", "password", "yAAkm4libquA.ZWLHbSBq/"),
            ("$1$", "saltsalt", "password", "qjXMvbEw8oaL.CzflDtaK/"),
            ("$apr1$", "ab", "", "S8K6Sgp3W8c9Jb6LxgywZ."),
            ("$apr1$", "12345678", "a password of more than thirty-two characters", "7jVYn25GKB2p2AHtyKrLl."),
        ] {
            assert_eq!(hash(password.as_bytes(), magic, salt), expected, "{magic}{salt}");
        }
    }
}

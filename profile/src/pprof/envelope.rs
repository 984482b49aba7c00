//! From the bytes of an HTTP answer to those of a profile: gzip with a bound, and answers that are no profile at all.

use std::borrow::Cow;

use libdeflater::{DecompressionError, Decompressor};

use crate::ProfileError;

/// Deflate cannot shrink by more than this factor (RFC 1951: 258 bytes for two bits), so that a trailer which says
/// more is wrong before anything is allocated for it.
const MOST_SHRUNK: u64 = 1032;

/// The decompressed bytes of `answer`, of which there are at most `limit`.
pub(super) fn open(answer: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, ProfileError> {
    let bytes = if answer.starts_with(&[0x1f, 0x8b]) {
        Cow::Owned(inflate(answer, limit)?)
    } else if answer.len() > limit {
        return Err(ProfileError::TooLarge { announced: answer.len() as u64, limit });
    } else {
        Cow::Borrowed(answer)
    };
    if bytes.is_empty() {
        return Err(ProfileError::Empty);
    }
    match text_start(&bytes) {
        Some(text) => Err(not_pprof(&text)),
        None => Ok(bytes),
    }
}

/// Decompresses a file of one gzip member (RFC 1952), as Go writes it. The size comes from its trailer, which is not trusted: it only sizes the
/// buffer, and a stream that does not fit is refused.
fn inflate(answer: &[u8], limit: usize) -> Result<Vec<u8>, ProfileError> {
    let trailer = answer.len().checked_sub(4).filter(|&at| at >= 14).and_then(|at| answer.get(at..));
    let Some(trailer) = trailer.and_then(|last| <[u8; 4]>::try_from(last).ok()) else {
        return Err(ProfileError::Gzip { what: "shorter than an empty gzip file" });
    };
    let announced = u64::from(u32::from_le_bytes(trailer));
    if announced > answer.len() as u64 * MOST_SHRUNK {
        return Err(ProfileError::Gzip { what: "cut short or corrupt (its length does not fit its size)" });
    }
    if announced > limit as u64 {
        return Err(ProfileError::TooLarge { announced, limit });
    }
    let mut bytes = vec![0; announced as usize];
    match Decompressor::new().gzip_decompress(answer, &mut bytes) {
        Ok(length) if length == bytes.len() => Ok(bytes),
        Ok(_) | Err(DecompressionError::InsufficientSpace) => {
            Err(ProfileError::Gzip { what: "its length differs from the one that it announces" })
        }
        Err(DecompressionError::BadData) => Err(ProfileError::Gzip { what: "cut short or corrupt" }),
    }
}

/// The first characters when the bytes are text. A profile is never: the length of its first message comes within
/// its first bytes and its fields are numbered below 32.
fn text_start(bytes: &[u8]) -> Option<String> {
    let head = bytes.get(..64).unwrap_or(bytes);
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(head.get(..error.valid_up_to()).unwrap_or(&[])).ok()?
        }
        Err(_) => return None,
    };
    let printable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    valid.chars().all(printable).then(|| valid.trim_start().to_owned())
}

fn not_pprof(text: &str) -> ProfileError {
    let first_line: String = text.lines().next().unwrap_or("").chars().take(32).collect();
    let lower = text.to_lowercase();
    let cure = if lower.starts_with('<') {
        "is the target's path right?"
    } else if lower.starts_with("goroutine ")
        || lower.contains(" profile: total")
        || lower.starts_with("heap profile")
    {
        "it is the text form: ask without `debug`, or with debug=0"
    } else if lower.starts_with("unknown profile") {
        "the service has no profile of that name"
    } else {
        "is the target's path right, and is it net/http/pprof that answers there?"
    };
    ProfileError::NotPprof { starts_with: first_line, cure }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::gzip;

    #[test]
    fn text_answers_are_named_with_what_to_look_at() {
        for (answer, start, cure) in [
            ("\n  <!doctype html>\n<title>x", "<!doctype html>", "is the target's path right?"),
            ("404 page not found\n", "404 page not found", "is it net/http/pprof"),
            ("Unknown profile\n", "Unknown profile", "no profile of that name"),
            ("goroutine profile: total 7\n", "goroutine profile: total 7", "debug=0"),
            ("goroutine 1 [running]:\n", "goroutine 1 [running]:", "debug=0"),
            ("heap profile: 1: 2 [3: 4] @", "heap profile: 1: 2 [3: 4] @", "debug=0"),
            ("{\"error\": \"é\"}", "{\"error\": \"é\"}", "path right"),
        ] {
            for bytes in [answer.as_bytes().to_vec(), gzip(answer.as_bytes())] {
                let message = open(&bytes, 1 << 20).unwrap_err().to_string();
                assert!(message.contains(&format!("it starts with `{start}`")), "{message}");
                assert!(message.contains(cure), "{message}");
            }
        }
        assert_eq!(open(b"", 10), Err(ProfileError::Empty));
        assert_eq!(open(&gzip(b""), 10), Err(ProfileError::Empty));
    }

    #[test]
    fn a_gzip_bomb_is_refused_before_anything_is_allocated() {
        let bomb = gzip(&vec![0; 8 << 20]);
        assert!(bomb.len() < 10_000);
        assert_eq!(open(&bomb, 1 << 20), Err(ProfileError::TooLarge { announced: 8 << 20, limit: 1 << 20 }));

        // The same with a trailer that lies about its size: the small buffer is all that it gets.
        let mut liar = bomb.clone();
        let at = liar.len() - 4;
        liar[at..].copy_from_slice(&100_u32.to_le_bytes());
        assert!(matches!(open(&liar, 1 << 20), Err(ProfileError::Gzip { .. })));
        liar[at..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(open(&liar, usize::MAX), Err(ProfileError::Gzip { .. })));
    }

    #[test]
    fn broken_gzip_is_refused_wherever_it_breaks() {
        let whole = gzip(&[10, 4, 8, 1, 16, 2, 0, 1]);
        assert!(open(&whole, 100).is_ok());
        for length in 2..whole.len() {
            assert!(open(&whole[..length], 100).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_plain_answer_over_the_limit_is_refused() {
        assert_eq!(open(&[10; 11], 10), Err(ProfileError::TooLarge { announced: 11, limit: 10 }));
    }
}

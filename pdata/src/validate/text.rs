//! UTF-8, with the short ASCII texts of telemetry in mind.

/// Longer texts go to the vectorised check at once, whose call costs as much as this many bytes.
const SHORT: usize = 64;

/// Whether these bytes are UTF-8.
#[inline(always)]
pub(super) fn is_text(bytes: &[u8]) -> bool {
    (bytes.len() <= SHORT && is_ascii(bytes)) || simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Whether there is no high bit, eight bytes at a time; the last eight may overlap those before.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    if let Some(last) = bytes.last_chunk::<8>() {
        let mut all = u64::from_ne_bytes(*last);
        for word in bytes.as_chunks::<8>().0 {
            all |= u64::from_ne_bytes(*word);
        }
        return all & HIGH == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let all = u32::from_ne_bytes(*first) | u32::from_ne_bytes(*last);
        return u64::from(all) & HIGH == 0;
    }
    bytes.iter().all(u8::is_ascii)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_of_a_short_text_is_looked_at() {
        for length in 0..100 {
            let mut text = vec![b'a'; length];
            assert!(is_text(&text), "{length}");
            for at in 0..length {
                text[at] = 0xff;
                assert!(!is_text(&text), "{length} {at}");
                text[at] = b'a';
            }
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_standard_library(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in ".{0,80}") {
            prop_assert_eq!(is_text(&bytes), std::str::from_utf8(&bytes).is_ok());
            prop_assert!(is_text(text.as_bytes()));
        }
    }
}

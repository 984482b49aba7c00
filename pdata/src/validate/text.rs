//! UTF-8, with the short ASCII texts of telemetry in mind.

/// Longer texts go to the vectorised check at once, whose call costs as much as this many bytes.
const SHORT: usize = 64;

/// Whether these bytes are UTF-8.
#[inline(always)]
pub(super) fn is_text(bytes: &[u8]) -> bool {
    (bytes.len() <= SHORT && is_ascii(bytes)) || simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Whether there is no high bit in at most [`SHORT`] bytes: two or four words that may overlap cover them all.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;
    let all = match bytes.len() {
        0..4 => bytes.iter().fold(0, |all, byte| all | u128::from(*byte)),
        4..8 => ends::<4>(bytes, |word| u128::from(u32::from_ne_bytes(word))),
        8..16 => ends::<8>(bytes, |word| u128::from(u64::from_ne_bytes(word))),
        16..=32 => ends::<16>(bytes, u128::from_ne_bytes),
        _ => {
            let (head, tail) = bytes.split_at(bytes.len() / 2);
            ends::<16>(head, u128::from_ne_bytes) | ends::<16>(tail, u128::from_ne_bytes)
        }
    };
    all & HIGH == 0
}

/// The first and the last `N` bytes together.
#[inline(always)]
fn ends<const N: usize>(bytes: &[u8], word: impl Fn([u8; N]) -> u128) -> u128 {
    match (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) {
        (Some(first), Some(last)) => word(*first) | word(*last),
        _ => u128::MAX,
    }
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

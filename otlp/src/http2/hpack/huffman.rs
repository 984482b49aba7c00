//! The Huffman code of HPACK (RFC 7541, 5.2 and appendix B).
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols, and longer ones follow
//! shorter ones. The lengths alone therefore tell all of it.

/// Bits of the code of each byte.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26,
];

const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// The codes of one length.
#[derive(Clone, Copy)]
struct Group {
    /// The first of them.
    first: u32,
    /// How many there are.
    count: u32,
    /// Where their symbols begin in [`Code::symbols`].
    at: usize,
}

struct Code {
    groups: [Group; LONGEST + 1],
    symbols: [u8; 256],
}

const CODE: Code = code();

const fn code() -> Code {
    let mut groups = [Group { first: 0, count: 0, at: 0 }; LONGEST + 1];
    let mut symbols = [0; 256];
    let (mut next, mut at, mut length) = (0, 0, SHORTEST);
    while length <= LONGEST {
        next <<= 1;
        groups[length] = Group { first: next, count: 0, at };
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                symbols[at] = symbol as u8;
                at += 1;
                next += 1;
                groups[length].count += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    Code { groups, symbols }
}

/// Appends what `coded` stands for. `None` when it is not valid: the end-of-string symbol, padding of more than seven
/// bits or of other bits than ones.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut bits, mut have) = (0u64, 0usize);
    for byte in coded {
        bits = bits << 8 | u64::from(*byte);
        have += 8;
        while let Some((symbol, length)) = first_symbol(bits, have)? {
            out.push(symbol);
            have -= length;
        }
        bits &= (1 << have) - 1;
    }
    (have < 8 && bits == (1 << have) - 1).then_some(())
}

/// The symbol that the upper of the `have` lowest bits begin with, and its length; `Some(None)` when more bits are needed,
/// `None` when no symbol begins like that.
fn first_symbol(bits: u64, have: usize) -> Option<Option<(u8, usize)>> {
    for length in SHORTEST..=have.min(LONGEST) {
        let group = &CODE.groups[length];
        let code = (bits >> (have - length)) as u32 & ((1 << length) - 1);
        let index = code.wrapping_sub(group.first);
        if index < group.count {
            return Some(Some((CODE.symbols[group.at + index as usize], length)));
        }
    }
    if have >= LONGEST { None } else { Some(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        decode(coded, &mut out)?;
        Some(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn examples_of_the_rfc_are_read() {
        let examples: [(&[u8], &str); 4] = [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff], "www.example.com"),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (&[], ""),
        ];
        for (coded, text) in examples {
            assert_eq!(decoded(coded).as_deref(), Some(text));
        }
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        assert_eq!(decoded(&[0x1f]).as_deref(), Some("a"));
        for wrong in [&[0x1e][..], &[0x1f, 0xff], &[0xff, 0xff, 0xff, 0xff], &[0xff]] {
            assert_eq!(decoded(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn every_byte_has_a_code() {
        for symbol in 0..=255u8 {
            let length = LENGTHS[usize::from(symbol)] as usize;
            let group = CODE.groups[length];
            let place = CODE.symbols[group.at..].iter().position(|s| *s == symbol).expect("a place") as u32;
            let code = u64::from(group.first + place) << (40 - length) | ((1 << (40 - length)) - 1);
            let bytes = &code.to_be_bytes()[3..][..length.div_ceil(8)];
            let mut out = Vec::new();
            decode(bytes, &mut out).expect("valid");
            assert_eq!(out, [symbol]);
        }
    }
}

//! The action `hash`.

use ring::digest::{SHA256, digest};
use weir_pdata::view::AnyValue;

/// SHA-256 of a value in lower-case hex; of numbers their eight bytes, least first; nothing for values that are not
/// simple.
pub(super) fn hex(value: AnyValue<'_>) -> String {
    let sum = match value {
        AnyValue::Str(text) => digest(&SHA256, text.as_bytes()),
        AnyValue::Bool(value) => digest(&SHA256, &[u8::from(value)]),
        AnyValue::Int(value) => digest(&SHA256, &value.to_le_bytes()),
        AnyValue::Double(value) => digest(&SHA256, &value.to_bits().to_le_bytes()),
        _ => return String::new(),
    };
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    sum.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

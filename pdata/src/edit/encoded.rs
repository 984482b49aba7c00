//! Values ready to be written.

use prost::Message;

use crate::otlp::common::v1::AnyValue;
use crate::{view, wire};

/// An attribute value as an encoded `AnyValue`, made once and written often.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoded(Vec<u8>);

impl Encoded {
    /// The encoded message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value as a view.
    pub fn view(&self) -> view::AnyValue<'_> {
        view::AnyValue::read(&self.0)
    }
}

impl From<&AnyValue> for Encoded {
    fn from(value: &AnyValue) -> Encoded {
        Encoded(value.encode_to_vec())
    }
}

/// Appends the encoded `AnyValue` of a text.
pub(super) fn text(value: &str, out: &mut Vec<u8>) {
    wire::message(1, value.as_bytes(), out);
}

/// Appends the encoded `AnyValue` of an integer.
pub(super) fn int(value: i64, out: &mut Vec<u8>) {
    out.push(3 << 3);
    wire::put_varint(value.cast_unsigned(), out);
}

/// Appends the encoded `AnyValue` of a double.
pub(super) fn double(value: f64, out: &mut Vec<u8>) {
    out.push(4 << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

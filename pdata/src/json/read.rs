//! JSON in, protobuf out: one pass of visitors that write while they read.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use prost::encoding::{encode_varint, encoded_len_varint};
use serde::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};

use crate::schema::{Field, Id, Kind};
use crate::text::parse_double;
use crate::validate::MAX_VALUE_DEPTH;

/// Base64 as the Collector reads it: with padding; bits that stand for nothing may be set.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Reads one message of type `id` and returns it encoded.
pub(super) fn request(id: Id, json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(json.len() / 2);
    let mut reader = serde_json::Deserializer::from_slice(json);
    // The limit of serde_json counts braces; the one of OTLP counts values and is kept by `Message`.
    reader.disable_recursion_limit();
    Message { id, values: 0, out: &mut out }.deserialize(&mut reader)?;
    Ok(out)
}

/// A JSON object that becomes the fields of a message.
struct Message<'o> {
    id: Id,
    /// Values (`AnyValue`) around this message and this one included.
    values: usize,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", self.id.message().name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(known) = map.next_key_seed(Name(self.id))? {
            match known {
                Some(field) => map.next_value_seed(Value {
                    field,
                    place: Place::of(field),
                    values: self.values,
                    out: self.out,
                })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A name that becomes a field of the message, when there is one of that name.
struct Name(Id);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let fields = self.0.message().fields;
        let exact = fields.iter().find(|f| f.name == name);
        Ok(exact.or_else(|| fields.iter().find(|f| is_snake_case_of(f.name, name))))
    }
}

/// Whether `name` is `camel` in snake_case.
fn is_snake_case_of(camel: &str, name: &str) -> bool {
    let mut rest = name.bytes();
    camel.bytes().all(|c| {
        let first = rest.next();
        if c.is_ascii_uppercase() {
            first == Some(b'_') && rest.next() == Some(c.to_ascii_lowercase())
        } else {
            first == Some(c)
        }
    }) && rest.next().is_none()
}

/// Where a value stands, which decides how it is framed.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// The value of a field that is not repeated.
    Single,
    /// The value of a repeated field: a list.
    List,
    /// An element of a list of strings or messages: framed as a field of its own.
    Element,
    /// An element of a list of numbers: without a tag.
    Packed,
}

impl Place {
    fn of(field: &Field) -> Place {
        if field.repeated { Place::List } else { Place::Single }
    }
}

/// A value that becomes a field.
struct Value<'o> {
    field: &'static Field,
    place: Place,
    values: usize,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.field.kind {
            _ if self.place == Place::List => "a list",
            Kind::Bool => "true or false",
            Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 => "a 32-bit integer",
            Kind::Int64 | Kind::Uint64 | Kind::Fixed64 | Kind::Sfixed64 => {
                "a 64-bit integer as a string or number"
            }
            Kind::Enum(_) => "a number or name of the enum",
            Kind::Double => "a number",
            Kind::String => "a string",
            Kind::Bytes => "a string in standard base64",
            Kind::Id(_) => "an id in hex",
            Kind::Message(_) => "an object",
        };
        write!(f, "{what} for {:?}", self.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match (self.place, self.field.kind) {
            (Place::Single | Place::List, _) => Ok(()),
            (_, Kind::Message(_)) => {
                open(self.out, self.field);
                Ok(())
            }
            _ => Err(E::custom(format_args!("null in the list {:?}", self.field.name))),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.field.kind {
            Kind::Bool if self.place != Place::List => {
                self.varint(u64::from(value));
                Ok(())
            }
            _ => Err(self.unexpected("true or false")),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(i128::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(i128::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if self.field.kind == Kind::Double && self.place != Place::List {
            self.fixed64(value.to_bits());
            Ok(())
        } else if value.fract() == 0.0 && value.abs() < 2e19 {
            // 1e3 and 1.0 are integers in JSON.
            self.integer(value as i128)
        } else {
            Err(self.unexpected("a fraction"))
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.place == Place::List {
            return Err(self.unexpected("a string"));
        }
        match self.field.kind {
            Kind::String => self.bytes(text.as_bytes()),
            Kind::Bytes => match BASE64.decode(text) {
                Ok(bytes) => self.bytes(&bytes),
                Err(e) => return Err(self.invalid(&format_args!("is not standard base64: {e}"))),
            },
            Kind::Id(length) => return self.id(text, usize::from(length)),
            Kind::Int64
            | Kind::Uint64
            | Kind::Fixed64
            | Kind::Sfixed64
            | Kind::Int32
            | Kind::Uint32
            | Kind::Sint32
            | Kind::Fixed32 => match text.parse::<i128>() {
                Ok(value) => return self.integer(value),
                Err(_) => return Err(self.unexpected("other text")),
            },
            Kind::Double => match parse_double(text) {
                Some(value) => self.fixed64(value.to_bits()),
                None => return Err(self.unexpected("other text")),
            },
            Kind::Enum(names) => match names.iter().position(|name| *name == text) {
                Some(number) => self.varint(number as u64),
                None => return Err(self.invalid(&"has no value of that name")),
            },
            Kind::Bool | Kind::Message(_) => return Err(self.unexpected("a string")),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.place != Place::List {
            return Err(self.unexpected("a list"));
        }
        let packed = !matches!(self.field.kind, Kind::String | Kind::Bytes | Kind::Id(_) | Kind::Message(_));
        let place = if packed { Place::Packed } else { Place::Element };
        let start = self.out.len();
        let (field, values, out) = (self.field, self.values, self.out);
        let content = if packed { open(out, field) } else { start };
        let mut empty = true;
        while list.next_element_seed(Value { field, place, values, out })?.is_some() {
            empty = false;
        }
        match (packed, empty) {
            (true, true) => out.truncate(start),
            (true, false) => close(out, content),
            _ => {}
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Kind::Message(id) = self.field.kind else {
            return Err(self.unexpected("an object"));
        };
        if self.place == Place::List {
            return Err(self.unexpected("an object"));
        }
        let values = self.values + usize::from(id == Id::AnyValue);
        if values > MAX_VALUE_DEPTH + 1 {
            return Err(A::Error::custom(format_args!("values nest deeper than {MAX_VALUE_DEPTH} levels")));
        }
        let (field, out) = (self.field, self.out);
        let content = open(out, field);
        Message { id, values, out }.visit_map(map)?;
        close(out, content);
        Ok(())
    }
}

impl Value<'_> {
    /// Whether a default value is written: it has to be in lists and where presence counts.
    fn keeps_default(&self) -> bool {
        self.place != Place::Single || self.field.explicit
    }

    fn tag(&mut self, wire: u64) {
        if self.place != Place::Packed {
            encode_varint(u64::from(self.field.number) << 3 | wire, self.out);
        }
    }

    fn varint(mut self, value: u64) {
        if value != 0 || self.keeps_default() {
            self.tag(0);
            encode_varint(value, self.out);
        }
    }

    fn fixed64(mut self, bits: u64) {
        if bits != 0 || self.keeps_default() {
            self.tag(1);
            self.out.extend_from_slice(&bits.to_le_bytes());
        }
    }

    fn fixed32(mut self, bits: u32) {
        if bits != 0 || self.keeps_default() {
            self.tag(5);
            self.out.extend_from_slice(&bits.to_le_bytes());
        }
    }

    fn bytes(mut self, bytes: &[u8]) {
        if !bytes.is_empty() || self.keeps_default() {
            self.tag(2);
            encode_varint(bytes.len() as u64, self.out);
            self.out.extend_from_slice(bytes);
        }
    }

    fn integer<E: Error>(self, value: i128) -> Result<(), E> {
        if self.place == Place::List {
            return Err(self.unexpected("a number"));
        }
        let range = match self.field.kind {
            Kind::Int32 | Kind::Sint32 | Kind::Enum(_) => i128::from(i32::MIN)..=i128::from(i32::MAX),
            Kind::Uint32 | Kind::Fixed32 => 0..=i128::from(u32::MAX),
            Kind::Int64 | Kind::Sfixed64 => i128::from(i64::MIN)..=i128::from(i64::MAX),
            Kind::Uint64 | Kind::Fixed64 => 0..=i128::from(u64::MAX),
            Kind::Double => {
                self.fixed64((value as f64).to_bits());
                return Ok(());
            }
            _ => return Err(self.unexpected("a number")),
        };
        if !range.contains(&value) {
            return Err(self.invalid(&"is out of range"));
        }
        // In range, so that the low bits are the two's complement of every kind.
        let bits = value as u64;
        match self.field.kind {
            Kind::Sint32 => {
                self.varint(u64::from(((value as i32) << 1 ^ (value as i32) >> 31).cast_unsigned()))
            }
            Kind::Fixed32 => self.fixed32(bits as u32),
            Kind::Fixed64 | Kind::Sfixed64 => self.fixed64(bits),
            _ => self.varint(bits),
        }
        Ok(())
    }

    fn id<E: Error>(self, text: &str, length: usize) -> Result<(), E> {
        let mut id = [0u8; 16];
        if text.is_empty() {
            self.bytes(&[]);
            return Ok(());
        }
        if text.len() != 2 * length {
            return Err(
                self.invalid(&format_args!("length mismatch: an id of {length} bytes in hex is expected"))
            );
        }
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digit = |c: &u8| char::from(*c).to_digit(16);
            match (pair.first().and_then(digit), pair.get(1).and_then(digit)) {
                (Some(high), Some(low)) => *byte = (high << 4 | low) as u8,
                _ => return Err(self.invalid(&"is not hex")),
            }
        }
        self.bytes(&id[..length.min(16)]);
        Ok(())
    }

    fn unexpected<E: Error>(&self, found: &'static str) -> E {
        E::invalid_type(Unexpected::Other(found), self)
    }

    fn invalid<E: Error>(&self, why: &dyn fmt::Display) -> E {
        E::custom(format_args!("{:?} {why}", self.field.name))
    }
}

/// Writes the tag of a length-delimited field and returns the offset at which its content begins. Until [`close`] its
/// length is 0.
fn open(out: &mut Vec<u8>, field: &Field) -> usize {
    encode_varint(u64::from(field.number) << 3 | 2, out);
    out.push(0);
    out.len()
}

/// Writes the length of the content that begins at `content` and ends here in front of it, moving it when the length
/// needs more than one byte.
fn close(out: &mut Vec<u8>, content: usize) {
    let length = out.len() - content;
    let mut prefix = [0u8; 10];
    let mut rest = &mut prefix[..];
    encode_varint(length as u64, &mut rest);
    let width = encoded_len_varint(length as u64);
    let end = out.len();
    out.resize(end + width - 1, 0);
    out.copy_within(content..end, content + width - 1);
    out[content - 1..content - 1 + width].copy_from_slice(&prefix[..width]);
}

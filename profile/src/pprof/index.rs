//! First pass: where everything lies.

use super::wire::{Cursor, Span};
use crate::{Limits, ProfileError};

/// Places of the parts of a profile, and its few scalars.
#[derive(Default)]
pub(super) struct Index {
    pub(super) sample_types: Vec<Span>,
    pub(super) samples: Vec<Span>,
    pub(super) locations: Vec<Span>,
    pub(super) functions: Vec<Span>,
    pub(super) strings: Vec<Span>,
    pub(super) time_nanos: i64,
    pub(super) duration_nanos: i64,
    pub(super) period_type: Option<Span>,
    pub(super) period: i64,
    pub(super) default_sample_type: u64,
}

impl Index {
    /// Walks the top level of the profile. Mappings, comments and frame filters are of no use here and passed over.
    pub(super) fn scan(bytes: &[u8], limits: &Limits) -> Result<Self, ProfileError> {
        let mut index = Self::default();
        let mut cursor = Cursor::whole(bytes);
        while let Some(field) = cursor.next()? {
            match field.number {
                1 => push(
                    &mut index.sample_types,
                    field.bytes("sample_type")?,
                    limits.sample_types,
                    "sample types",
                )?,
                2 => push(&mut index.samples, field.bytes("sample")?, limits.samples, "samples")?,
                4 => push(&mut index.locations, field.bytes("location")?, limits.locations, "locations")?,
                5 => push(&mut index.functions, field.bytes("function")?, limits.functions, "functions")?,
                6 => push(&mut index.strings, field.bytes("string_table")?, limits.strings, "strings")?,
                9 => index.time_nanos = field.number("time_nanos")? as i64,
                10 => index.duration_nanos = field.number("duration_nanos")? as i64,
                11 => index.period_type = Some(field.bytes("period_type")?),
                12 => index.period = field.number("period")? as i64,
                14 => index.default_sample_type = field.number("default_sample_type")?,
                _ => {}
            }
        }
        if index.sample_types.is_empty() {
            return Err(ProfileError::malformed(bytes.len(), "it ended without a sample type"));
        }
        match index.strings.first() {
            None => Err(ProfileError::malformed(bytes.len(), "it ended without a string table")),
            Some(first) if first.start != first.end => Err(ProfileError::malformed(
                first.offset(),
                "the string table does not start with an empty string",
            )),
            Some(_) => Ok(index),
        }
    }
}

fn push(list: &mut Vec<Span>, span: Span, limit: usize, what: &'static str) -> Result<(), ProfileError> {
    if list.len() >= limit {
        return Err(ProfileError::TooMany { what, limit });
    }
    list.push(span);
    Ok(())
}

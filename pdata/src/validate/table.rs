//! What the fast half of the walk does with a tag, by message.

use super::MAX_FIELD;
use crate::schema::{Field, IDS, Id, Kind, MESSAGES};

/// What to do with a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Unknown, repeated scalars, a wrong wire type: for the general half.
    General,
    Varint,
    Fixed32,
    Fixed64,
    Text,
    Bytes,
    /// Bytes of exactly that many.
    Id(u8),
    /// A `KeyValue`.
    Pair,
    Message(Id),
}

/// Tags of fields up to [`MAX_FIELD`]. Those from 0x80 on have two bytes, of which the second is 1 and the first the tag.
const TAGS: usize = (MAX_FIELD + 1) << 3;

/// Steps by message and tag, two bytes each, so that the rows that a signal needs stay in the first cache.
pub(super) static STEPS: [[Step; TAGS]; IDS.len()] = steps();

const fn steps() -> [[Step; TAGS]; IDS.len()] {
    let mut table = [[Step::General; TAGS]; IDS.len()];
    let mut m = 0;
    while m < IDS.len() {
        let fields = MESSAGES[m].fields;
        let mut f = 0;
        while f < fields.len() {
            let (step, wire) = step(&fields[f]);
            table[m][(fields[f].number as usize) << 3 | wire] = step;
            f += 1;
        }
        m += 1;
    }
    table
}

/// The step and the wire type it is for.
const fn step(field: &Field) -> (Step, usize) {
    match field.kind {
        Kind::String => (Step::Text, 2),
        Kind::Bytes => (Step::Bytes, 2),
        Kind::Id(length) => (Step::Id(length), 2),
        Kind::Message(Id::KeyValue) => (Step::Pair, 2),
        Kind::Message(id) => (Step::Message(id), 2),
        _ if field.repeated => (Step::General, 2),
        Kind::Fixed32 => (Step::Fixed32, 5),
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => (Step::Fixed64, 1),
        Kind::Bool
        | Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Enum(_) => (Step::Varint, 0),
    }
}

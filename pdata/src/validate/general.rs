//! One field under all of the rules: the half of the walk that knows what is wrong.

use super::{Next, Reason};
use crate::schema::{Field, Id, Kind};

/// The field at the beginning of `rest`, in message `id`.
#[cold]
#[inline(never)]
pub(super) fn field(rest: &[u8], id: Id) -> Result<Next<'_>, Reason> {
    let (tag, rest) = varint(rest).ok_or(Reason::Varint)?;
    let (number, wire) = (tag >> 3, tag & 7);
    if number == 0 || number > 0x1fff_ffff {
        return Err(Reason::Tag);
    }
    let (content, rest) = match wire {
        0 => (&[][..], varint(rest).ok_or(Reason::Varint)?.1),
        1 => rest.split_at_checked(8).ok_or(Reason::Length)?,
        2 => {
            let (length, rest) = varint(rest).ok_or(Reason::Length)?;
            let length = usize::try_from(length).map_err(|_| Reason::Length)?;
            rest.split_at_checked(length).ok_or(Reason::Length)?
        }
        5 => rest.split_at_checked(4).ok_or(Reason::Length)?,
        _ => return Err(Reason::WireType),
    };
    let Some(field) = id.message().field(number as u32) else {
        return Ok(Next::Skip(rest));
    };
    if !fits(field, wire) {
        return Err(Reason::WireType);
    }
    if let Kind::Message(child) = field.kind {
        return Ok(Next::Enter(content, rest, child));
    }
    if wire == 2 {
        check(field, content)?;
    }
    Ok(Next::Skip(rest))
}

/// Whether a field may have that wire type; repeated scalars may be packed or not.
fn fits(field: &Field, wire: u64) -> bool {
    match field.kind {
        Kind::String | Kind::Bytes | Kind::Id(_) | Kind::Message(_) => wire == 2,
        _ if field.repeated && wire == 2 => true,
        Kind::Fixed32 => wire == 5,
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => wire == 1,
        _ => wire == 0,
    }
}

/// Checks the content of a length-delimited scalar.
fn check(field: &Field, mut content: &[u8]) -> Result<(), Reason> {
    match field.kind {
        Kind::String => simdutf8::basic::from_utf8(content).map(|_| ()).map_err(|_| Reason::Utf8),
        Kind::Id(length) => {
            let good = content.is_empty() || content.len() == usize::from(length);
            good.then_some(()).ok_or(Reason::IdLength)
        }
        Kind::Bytes | Kind::Message(_) => Ok(()),
        Kind::Fixed32 => content.len().is_multiple_of(4).then_some(()).ok_or(Reason::Length),
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
            content.len().is_multiple_of(8).then_some(()).ok_or(Reason::Length)
        }
        _ => {
            while !content.is_empty() {
                content = varint(content).ok_or(Reason::Varint)?.1;
            }
            Ok(())
        }
    }
}

/// A varint of at most ten bytes and what follows it.
fn varint(rest: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (i, &byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            let fits = i < 9 || byte <= 1;
            return fits.then(|| (value, &rest[i + 1..]));
        }
    }
    None
}

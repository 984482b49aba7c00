//! Splitting one encoded request after a number of items.

use bytes::Bytes;

use crate::Signal;
use crate::schema::{Id, Kind};
use crate::validate::count;
use crate::view::{Field, Fields};

/// Splits a validated request into the first `n` items and the rest. Between two top-level resources both parts are
/// slices of the input; inside one, the messages on the path are written twice with their headers (resource, scope,
/// metric name and unit), and the items are moved whole.
pub(crate) fn split(signal: Signal, request: &Bytes, n: usize) -> (Bytes, Bytes) {
    let root = Id::request(signal);
    if signal != Signal::Profiles
        && let Some(at) = boundary(root, request, n)
    {
        return (request.slice(..at), request.slice(at..));
    }
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    divide(root, request, n, &mut head, &mut tail);
    (Bytes::from(head), Bytes::from(tail))
}

/// Offset after the top-level field with which exactly `n` items are complete.
fn boundary(root: Id, request: &[u8], n: usize) -> Option<usize> {
    let mut seen = 0;
    for field in Fields::new(request) {
        seen += items_in(root, &field);
        if seen >= n {
            return (seen == n).then_some(field.end);
        }
    }
    None
}

/// Writes the first `n` items of message `id` to `head` and the others to `tail`; fields that hold no items go to both.
fn divide(id: Id, bytes: &[u8], n: usize, head: &mut Vec<u8>, tail: &mut Vec<u8>) {
    let mut room = n;
    for field in Fields::new(bytes) {
        let raw = &bytes[field.start..field.end];
        let Some(child) = item_bearer(id, field.number) else {
            head.extend_from_slice(raw);
            tail.extend_from_slice(raw);
            continue;
        };
        let items = items_in(id, &field);
        if items <= room {
            room -= items;
            head.extend_from_slice(raw);
        } else if room == 0 {
            tail.extend_from_slice(raw);
        } else {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            divide(child, field.bytes(), room, &mut first, &mut second);
            room = 0;
            write_message(field.number, &first, head);
            write_message(field.number, &second, tail);
        }
    }
}

pub(crate) fn write_message(number: u32, body: &[u8], out: &mut Vec<u8>) {
    prost::encoding::encode_varint(u64::from(number << 3 | 2), out);
    prost::encoding::encode_varint(body.len() as u64, out);
    out.extend_from_slice(body);
}

/// Items in one field of message `id`.
fn items_in(id: Id, field: &Field<'_>) -> usize {
    item_bearer(id, field.number)
        .map_or(0, |child| usize::from(child.message().item) + count(child, field.bytes()))
}

/// The message type of a field when it is an item or leads to items.
pub(crate) fn item_bearer(id: Id, number: u32) -> Option<Id> {
    let Kind::Message(child) = id.message().field(number)?.kind else {
        return None;
    };
    child.bears_items().then_some(child)
}

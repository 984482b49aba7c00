//! The way through a request.

use super::message::{Changes, Message};
use super::writer::Writer;
use super::{Editor, Then};
use crate::Signal;
use crate::schema::{IDS, Id, Kind, MESSAGES};
use crate::split::count;
use crate::validate::MAX_FIELD;
use crate::view::{self, Field, Fields};
use crate::wire;

/// A request in which something changed.
pub(crate) struct Rewritten {
    pub(crate) bytes: Vec<u8>,
    /// How many items were dropped.
    pub(crate) dropped: usize,
}

/// Leads `editor` through a validated request. `None` when nothing changed.
pub(crate) fn rewrite<E: Editor>(signal: Signal, request: &[u8], editor: &mut E) -> Option<Rewritten> {
    let strings = if signal == Signal::Profiles { string_table(request) } else { Vec::new() };
    let (writer, changes) = (Writer::new(request), Changes::new(&strings));
    let mut walk = Walk { editor, writer, changes, strings: &strings, dropped: 0 };
    let root = Id::request(signal);
    for field in Fields::new(request) {
        if let Step::Group(id) = step(root, field.number) {
            walk.group(id, Part::of(&field, 0));
        }
    }
    let dropped = walk.dropped;
    walk.writer.finish().map(|bytes| Rewritten { bytes, dropped })
}

/// The texts that a request of profiles refers to by index.
fn string_table(request: &[u8]) -> Vec<&str> {
    let dictionaries = Fields::new(request).filter(|f| f.number == 2);
    dictionaries.flat_map(|d| Fields::new(d.bytes())).filter(|f| f.number == 5).map(|f| f.str()).collect()
}

/// What stands in a field of a message on the way to the items.
#[derive(Clone, Copy)]
enum Step {
    Other,
    /// The `Resource` or `InstrumentationScope`.
    Holder,
    /// A message that holds items.
    Group(Id),
    Item(Id),
}

const fn steps() -> [[Step; MAX_FIELD + 1]; IDS.len()] {
    let mut table = [[Step::Other; MAX_FIELD + 1]; IDS.len()];
    let mut m = 0;
    while m < IDS.len() {
        let fields = MESSAGES[m].fields;
        let mut f = 0;
        while f < fields.len() {
            if let Kind::Message(child) = fields[f].kind {
                table[m][fields[f].number as usize] = if MESSAGES[child as usize].item {
                    Step::Item(child)
                } else if child.bears_items() {
                    Step::Group(child)
                } else if matches!(child, Id::Resource | Id::Scope) {
                    Step::Holder
                } else {
                    Step::Other
                };
            }
            f += 1;
        }
        m += 1;
    }
    table
}

static STEPS: [[Step; MAX_FIELD + 1]; IDS.len()] = steps();

fn step(id: Id, number: u32) -> Step {
    let known = usize::try_from(number).ok().and_then(|n| STEPS[id as usize].get(n));
    known.copied().unwrap_or(Step::Other)
}

/// A length-delimited field: its offsets in the request, and its content.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) start: usize,
    pub(crate) body: usize,
    pub(crate) end: usize,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Part<'a> {
    /// The content of a message as a whole.
    pub(crate) fn whole(bytes: &'a [u8]) -> Part<'a> {
        Part { start: 0, body: 0, end: bytes.len(), bytes }
    }

    /// A field of a message whose content begins at `base` of the request.
    pub(crate) fn of(field: &Field<'a>, base: usize) -> Part<'a> {
        let (bytes, end) = (field.bytes(), base + field.end);
        Part { start: base + field.start, body: end - bytes.len(), end, bytes }
    }
}

struct Walk<'a, 'e, E> {
    editor: &'e mut E,
    writer: Writer<'a>,
    /// Changes of the item that the walk is at.
    changes: Changes<'a>,
    strings: &'a [&'a str],
    dropped: usize,
}

impl<'a, E: Editor> Walk<'a, '_, E> {
    /// A message that holds items; `false` when it goes.
    fn group(&mut self, id: Id, part: Part<'a>) -> bool {
        let (then, mut holder) = self.ask(id, part.bytes);
        if then == Then::Drop {
            self.dropped += count(id, part.bytes);
            self.writer.remove(part.start..part.end);
            return false;
        }
        if then == Then::Keep && holder.is_none() {
            return true;
        }
        let (mark, open) = (self.writer.mark(), self.writer.open(part.start, part.body..part.end));
        if let Some(new) = holder.take_if(|_| !has_holder(id, part.bytes)).filter(|new| !new.is_empty()) {
            self.writer.replace(part.body..part.body, |out| wire::message(1, &new, out));
        }
        let mut kept = then == Then::Keep;
        let mut holder = holder.map(Some);
        for field in Fields::new(part.bytes) {
            let below = Part::of(&field, part.body);
            match step(id, field.number) {
                Step::Group(child) if then == Then::Descend => kept |= self.group(child, below),
                Step::Item(child) if then == Then::Descend => kept |= self.item(child, below),
                Step::Holder => {
                    // The first one is replaced, further ones went into it.
                    if let Some(new) = &mut holder {
                        let new = new.take();
                        self.writer.replace(below.start..below.end, |out| {
                            new.iter().for_each(|content| wire::message(1, content, out));
                        });
                    }
                }
                _ => {}
            }
        }
        if E::DROPS_EMPTY && !kept {
            self.writer.back_to(mark);
            self.writer.remove(part.start..part.end);
            return false;
        }
        self.writer.close(open, part.end);
        true
    }

    /// Asks the editor about a message that holds items. Returns the new content of its resource or scope, if that
    /// changes.
    fn ask(&mut self, id: Id, bytes: &[u8]) -> (Then, Option<Vec<u8>>) {
        let holder_id = match id {
            Id::ResourceSpans | Id::ResourceMetrics | Id::ResourceLogs | Id::ResourceProfiles => Id::Resource,
            Id::ScopeSpans | Id::ScopeMetrics | Id::ScopeLogs | Id::ScopeProfiles => Id::Scope,
            Id::Metric => return (self.editor.metric(view::Metric::new(bytes)), None),
            _ => return (Then::Descend, None),
        };
        let mut holders = Fields::new(bytes).filter(|f| f.number == 1).map(|f| f.bytes());
        let first = holders.next().unwrap_or_default();
        // Encoded messages merge by concatenation.
        let merged = holders.next().map(|second| {
            let mut all = [first, second].concat();
            holders.for_each(|more| all.extend_from_slice(more));
            all
        });
        let holder = merged.as_deref().unwrap_or(first);
        let mut changes = Changes::new(self.strings);
        let mut message = Message::new(holder_id, holder, &mut changes);
        let then = match holder_id {
            Id::Resource => self.editor.resource(view::Resource::new(bytes), &mut message),
            _ => self.editor.scope(view::Scope::new(bytes), &mut message),
        };
        (then, (!changes.is_empty()).then(|| changes.applied(holder_id, holder)))
    }

    /// An item; `false` when it goes.
    fn item(&mut self, id: Id, part: Part<'a>) -> bool {
        let mut message = Message::new(id, part.bytes, &mut self.changes);
        if self.editor.item(&mut message) == Then::Drop {
            self.dropped += 1;
            self.writer.remove(part.start..part.end);
            return false;
        }
        if !self.changes.is_empty() {
            let open = self.writer.open(part.start, part.body..part.end);
            self.changes.write(id, part.bytes, part.body, &mut self.writer);
            self.writer.close(open, part.end);
        }
        true
    }
}

fn has_holder(id: Id, bytes: &[u8]) -> bool {
    Fields::new(bytes).any(|f| matches!(step(id, f.number), Step::Holder))
}

//! Editing telemetry where it lies: only the touched bytes are written anew.
//!
//! # Design
//! An [`Editor`] is led through a request in its order: each resource, then each scope, each metric and each item below
//! it. It says what is to change by means of a [`Message`]: attributes, single fields, or that the whole is to go. The
//! walk copies everything between two changes in one piece, unknown fields included, and on the way back corrects the
//! lengths of the messages that hold a change. A request in which nothing changed is not copied at all.
//!
//! What is found and what is written:
//!
//! - fields may come in any order; of a singular message that comes more than once the parts are merged first, as every
//!   reader does;
//! - an attribute keeps its place, its key and its unknown fields when its value changes; new attributes come behind the
//!   others of their message;
//! - of equal keys the first counts, as in the Collector;
//! - in profiles, keys and texts may be given by index into the string table; what is written anew is written as text.
//!
//! Cost: one look at each field on the way to the items, and nothing below a message that the editor does not ask for. Of the
//! attributes of the one message that is edited 24 bytes each are kept.

mod attributes;
mod encoded;
mod limits;
mod message;
mod slot;
mod walk;
mod writer;

pub use attributes::{AttributeList, ValueRef};
pub use encoded::Encoded;
pub(crate) use limits::limit;
pub use limits::{AttributeLimits, Beyond};
pub use message::Message;
pub(crate) use walk::{Part, rewrite};
pub(crate) use writer::Writer;

use crate::view;

/// What becomes of a part of the telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It stays, and what is below it is looked at.
    Descend,
    /// It stays, and what is below it stays as it is.
    Keep,
    /// It goes, with everything below it.
    Drop,
}

/// Edits telemetry. Each method has a default that changes nothing and goes on.
pub trait Editor {
    /// Whether a scope and a resource in which no item is left goes too, also when it had none before.
    const DROPS_EMPTY: bool = false;

    /// A resource with what is below it as it was received, and the `Resource` itself, which is made when it is
    /// missing and gets something.
    fn resource(&mut self, _below: view::Resource<'_>, _resource: &mut Message<'_, '_>) -> Then {
        Then::Descend
    }

    /// A scope with what is below it as it was received, and the `InstrumentationScope` itself.
    fn scope(&mut self, _below: view::Scope<'_>, _scope: &mut Message<'_, '_>) -> Then {
        Then::Descend
    }

    /// A metric with its points as it was received.
    fn metric(&mut self, _metric: view::Metric<'_>) -> Then {
        Then::Descend
    }

    /// A span, data point, log record or sample. There is nothing below it: [`Then::Descend`] means the same as
    /// [`Then::Keep`].
    fn item(&mut self, _item: &mut Message<'_, '_>) -> Then {
        Then::Keep
    }
}

#[cfg(test)]
mod tests;

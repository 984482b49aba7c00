//! Typed settings as a plain tree: the shape in which defaults are laid under what the user wrote, and in which
//! settings are printed.
//!
//! A component's `Default` may set a nested option otherwise than the nested type does (`grpc: {endpoint:
//! localhost:4317}`). serde alone would forget that as soon as the user writes any other option of the nested type;
//! the tree keeps it.

mod serialize;

use std::cell::Cell;
use std::thread::LocalKey;

use serde::Serialize;

use crate::DeError;

/// Names by which our own types make themselves known to our reader and writer through serde.
pub(crate) mod marker {
    pub(crate) const SECRET: &str = "weir::Secret";
    pub(crate) const DURATION: &str = "weir::GoDuration";
    pub(crate) const OPTIONAL: &str = "weir::Optional";
    pub(crate) const COMPONENT_ID: &str = "weir::ComponentId";
    /// Fields whose serde name starts with this have their options on the level of the struct that holds them.
    pub(crate) const INLINE: char = '+';
}

/// Settings without their types.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    String(String),
    Secret(String),
    /// Nanoseconds.
    Duration(i64),
    Seq(Vec<Tree>),
    Map(Vec<(String, Tree)>),
    Optional(OptionalState, Option<Box<Tree>>),
}

/// The state of an optional section; see [`crate::Optional`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptionalState {
    None,
    Default,
    Some,
}

impl Tree {
    /// The settings as a tree, secrets included.
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, DeError> {
        let _scope = Scope::enter(&BUILDING);
        value.serialize(serialize::TreeSerializer)
    }

    /// The value under a key.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }
}

thread_local! {
    static BUILDING: Cell<bool> = const { Cell::new(false) };
    static WITHOUT_VALUE: Cell<bool> = const { Cell::new(false) };
}

/// Whether a tree is being made on this thread. Our types then show what they hide from every other serializer.
pub(crate) fn building() -> bool {
    BUILDING.get()
}

/// Whether what is read on this thread is a section that was written without a value (`batch:`), and so is all defaults.
pub(crate) fn without_value() -> bool {
    WITHOUT_VALUE.get()
}

/// Reads such a section.
pub(crate) fn read_without_value<T>(read: impl FnOnce() -> T) -> T {
    let _scope = Scope::enter(&WITHOUT_VALUE);
    read()
}

/// Something is so until it is dropped.
struct Scope {
    what: &'static LocalKey<Cell<bool>>,
    before: bool,
}

impl Scope {
    fn enter(what: &'static LocalKey<Cell<bool>>) -> Self {
        Self { what, before: what.replace(true) }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.what.set(self.before);
    }
}

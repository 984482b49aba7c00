//! Sections that can be on or off.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tree::{self, marker};

/// A section that can be on or off, with the Collector's rules (`configoptional`).
///
/// The state in a component's `Default` decides what the user's YAML means:
///
/// | written | `None` | `Default(t)` | `Some(t)` |
/// |---|---|---|---|
/// | key absent | off | off | on, `t` |
/// | null | off | on, `t` | on, `t` |
/// | a reference to nothing | on, `T::default()` | on, `t` | on, `t` |
/// | `{}` | on, `T::default()` | on, `t` | on, `t` |
/// | options | on, over `T::default()` | on, over `t` | on, over `t` |
/// | `enabled: false` with anything | off | off | off |
///
/// Every such section accepts the key `enabled`, which is not an option of `T`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Optional<T> {
    /// Off, and without defaults of its own.
    #[default]
    None,
    /// Off, but with defaults for when it is turned on.
    Default(T),
    /// On.
    Some(T),
}

impl<T> Optional<T> {
    /// The settings, if the section is on.
    pub const fn as_ref(&self) -> Option<&T> {
        match self {
            Self::Some(value) => Some(value),
            Self::None | Self::Default(_) => None,
        }
    }

    /// The settings, if the section is on.
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::Some(value) => Some(value),
            Self::None | Self::Default(_) => None,
        }
    }

    /// Whether the section is on.
    pub const fn is_on(&self) -> bool {
        matches!(self, Self::Some(_))
    }
}

/// The codes by which the three states travel through serde; the fourth is "read it for its errors, then off".
pub(crate) mod code {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const DEFAULT: u8 = 1;
    pub(crate) const SOME: u8 = 2;
    pub(crate) const DISABLED: u8 = 3;
}

impl<T: Serialize> Serialize for Optional<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !tree::building() {
            return self.as_ref().serialize(serializer);
        }
        let pair = match self {
            Self::None => (code::NONE, None),
            Self::Default(value) => (code::DEFAULT, Some(value)),
            Self::Some(value) => (code::SOME, Some(value)),
        };
        serializer.serialize_newtype_struct(marker::OPTIONAL, &pair)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Optional<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(marker::OPTIONAL, OptionalVisitor(PhantomData))
    }
}

struct OptionalVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OptionalVisitor<T> {
    type Value = Optional<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    /// Our own reader: the state, then the content.
    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Optional<T>, A::Error> {
        let state = parts.next_element::<u8>()?.unwrap_or(code::NONE);
        let value = parts.next_element::<T>()?;
        Ok(match (state, value) {
            (code::DEFAULT, Some(value)) => Optional::Default(value),
            (code::SOME, Some(value)) => Optional::Some(value),
            _ => Optional::None,
        })
    }

    /// Any other reader.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Optional<T>, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Optional::None, Optional::Some))
    }

    fn visit_none<E: Error>(self) -> Result<Optional<T>, E> {
        Ok(Optional::None)
    }

    fn visit_unit<E: Error>(self) -> Result<Optional<T>, E> {
        Ok(Optional::None)
    }
}

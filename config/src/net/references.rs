//! Small settings that refer to something else.

use serde::{Deserialize, Serialize};

use crate::{ComponentId, Issues};

/// Which extension authenticates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// The id of an authenticator extension that is listed in `service::extensions`; `None` when not given, which
    /// fails at start.
    pub authenticator: Option<ComponentId>,
}

/// Which extension stands in the way of each request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MiddlewareConfig {
    /// The id of a middleware extension.
    pub id: Option<ComponentId>,
}

/// There are no middleware extensions: a component that should have one must not start without.
pub(super) fn no_middlewares(middlewares: &[MiddlewareConfig], issues: &mut Issues) {
    let Some(first) = middlewares.first() else { return };
    let id = first.id.as_ref().map(ToString::to_string).unwrap_or_default();
    issues.at_with_help(
        "middlewares",
        format!("failed to resolve middleware {id:?}: middleware not found"),
        "no extension of this version is one: leave `middlewares` out",
    );
}

/// How bodies are compressed on the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "unsupported compression type %q", rename_all = "lowercase")]
pub enum Compression {
    /// Not set, which is not compressed.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// Not compressed.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// zlib (RFC 1950).
    Zlib,
    /// In HTTP the same as zlib.
    Deflate,
    /// The raw block format of snappy.
    Snappy,
    /// The framed format of snappy.
    #[serde(rename = "x-snappy-framed")]
    SnappyFramed,
    /// Zstandard (RFC 8878).
    Zstd,
    /// The frame format of LZ4.
    Lz4,
}

impl Compression {
    /// Whether anything is compressed.
    pub const fn is_on(self) -> bool {
        !matches!(self, Self::Unset | Self::None)
    }

    /// As written in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unset => "",
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Deflate => "deflate",
            Self::Snappy => "snappy",
            Self::SnappyFramed => "x-snappy-framed",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
        }
    }
}

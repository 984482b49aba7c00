//! Reader of `profile.proto` (github.com/google/pprof/proto/profile.proto).
//!
//! Two passes over the decompressed bytes. The first notes where each string, function, location and sample lies, so
//! that their order does not matter. The second resolves references and keeps each distinct string, frame, stack and
//! label set once. Nothing is decoded that no sample refers to, save functions and locations, which are few.

mod build;
mod envelope;
mod index;
mod wire;

use crate::{Limits, Profile, ProfileError};

/// Reads a profile, gzip-compressed or not.
pub(crate) fn parse(answer: &[u8], limits: &Limits) -> Result<Profile, ProfileError> {
    let bytes = envelope::open(answer, limits.bytes.min(u32::MAX as usize))?;
    let index = index::Index::scan(&bytes, limits)?;
    build::build(&bytes, &index, limits)
}

#[cfg(test)]
mod tests;

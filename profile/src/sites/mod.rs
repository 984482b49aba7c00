//! The source lines that may have opened what is open, or what grew.
//!
//! Best evidence first: labels and the custom profile `grpc.clientconn` count exactly, both put there by the companion
//! Go module; heap and allocs profiles know the caller but are samples; a goroutine's own stack tells where it runs and
//! hardly ever who opened what it serves. Every candidate says how far it can be trusted.

mod allocations;
mod clients;
mod entry;
mod labels;
mod rules;

use std::cmp::Reverse;
use std::collections::HashMap;

pub use allocations::{Measure, Opened, by_allocations, sampled};
pub use clients::by_custom_profile;
pub use entry::by_entry;
pub use labels::by_label;
pub use rules::SiteRules;

use crate::profile::Profile;

/// Candidates that are kept of one source.
pub const MOST_SITES: usize = 20;

/// A source line that may have opened something.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteCandidate {
    /// Source file as compiled.
    pub file: String,
    /// Line of the call, from 1; 0 when unknown.
    pub line: u32,
    /// Full name of the function around the line; empty when the source does not say (labels).
    pub function: String,
    /// What was opened there; in a delta, by how much that grew.
    pub amount: Amount,
    /// Part of the amount of the whole process, with what has no site included; 0 to 1.
    pub share: f64,
    /// Where this is known from.
    pub source: SiteSource,
    /// One standard deviation of the amount as a part of it: 0 for exact counts, 1 when it may as well be nothing.
    pub relative_error: f64,
    /// The error in words, for a verdict to print.
    pub uncertainty: String,
}

/// An amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amount {
    /// Connections, clients or goroutines.
    Count(i64),
    /// Bytes.
    Bytes(i64),
}

/// Where a site is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SiteSource {
    /// The label `weir.site` of goroutines.
    Label,
    /// The custom profile `grpc.clientconn`.
    CustomProfile,
    /// Memory in use.
    Heap,
    /// Memory allocated since the start.
    Allocs,
    /// The function that a goroutine was started with.
    CreatedBy,
}

impl SiteSource {
    /// Name for the attribute `connection.site.source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::CustomProfile => "custom_profile",
            Self::Heap => "heap",
            Self::Allocs => "allocs",
            Self::CreatedBy => "created_by",
        }
    }
}

/// Ranks exact counts by frame; `total` has what no frame was found for as well.
fn rank_counts(
    profile: &Profile,
    counts: HashMap<u32, i64>,
    total: i64,
    source: SiteSource,
    uncertainty: &str,
) -> Vec<SiteCandidate> {
    let candidate = |(id, count): (u32, i64)| {
        let frame = profile.frame(id);
        SiteCandidate {
            file: frame.file.to_owned(),
            line: frame.line,
            function: frame.function.to_owned(),
            amount: Amount::Count(count),
            share: share(count as f64, total as f64),
            source,
            relative_error: 0.0,
            uncertainty: uncertainty.to_owned(),
        }
    };
    largest(profile, counts, |count| *count).into_iter().map(candidate).collect()
}

/// The frames with the largest amounts, those above zero and at most [`MOST_SITES`]; of equal ones in the order of their
/// lines. Files are compared once each: many frames may share a long name, of which few are to be held again.
fn largest<T>(profile: &Profile, amounts: HashMap<u32, T>, amount: impl Fn(&T) -> i64) -> Vec<(u32, T)> {
    let mut sites: Vec<(u32, T)> = amounts.into_iter().filter(|(_, of)| amount(of) > 0).collect();
    let mut files: Vec<u32> = sites.iter().map(|(id, _)| profile.file(*id)).collect();
    files.sort_unstable();
    files.dedup();
    files.sort_unstable_by_key(|file| profile.strings.get(*file));
    let place: HashMap<u32, usize> =
        files.into_iter().enumerate().map(|(place, file)| (file, place)).collect();
    sites.sort_unstable_by_key(|(id, of)| {
        (Reverse(amount(of)), place.get(&profile.file(*id)), profile.frame(*id).line, *id)
    });
    sites.truncate(MOST_SITES);
    sites
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

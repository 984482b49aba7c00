//! pprof profiles: reader, goroutine census, call sites, growth between two scrapes.
//!
//! A scrape goes through four steps, each usable alone:
//!
//! 1. [`Profile::parse`] reads `profile.proto`, gzip or plain, with every size bounded by [`Limits`]. What stays in
//!    memory is what is distinct: a profile of 200,000 goroutines in 2,000 stacks costs 2,000 rows.
//! 2. [`Keeper`] remembers the previous scrape as hashes and numbers and answers with a [`Delta`].
//! 3. [`Census`] counts goroutines by what they are ([`ANCHORS`]), in total and per `weir.site` and `weir.target` label.
//! 4. [`sites`] ranks the source lines that may have opened what grows, each with how sure it is.
//!
//! Steps 3 and 4 take a [`View`], which is a profile's own numbers or a delta's, so that "open now" and "grew by" go
//! through the same code.
//!
//! # What Go writes
//!
//! Checked against the recorded profiles in `testdata`, which a real Go program wrote:
//!
//! - Line numbers are those of the call. The runtime resolves return addresses with `runtime.CallersFrames`, which
//!   subtracts one first; a reader must not subtract again.
//! - Heap and allocation samples are already scaled up from the sampled to the estimated number. Only the old text form
//!   (`debug=1`) is not. [`sites::sampled`] goes the other way, to know how many samples an estimate rests on.
//! - Symbol names escape dots in the last element of a package path (`nats%2ego.Connect`); [`Frame::function`] has them
//!   unescaped.
//! - A goroutine sample does not say which goroutine created it; its outermost frame is the function it was started
//!   with.

pub mod census;
#[cfg(any(test, feature = "fuzzing"))]
pub mod check;
#[cfg(test)]
#[path = "../../fuzz/corpus.rs"]
mod corpus;
mod delta;
mod error;
mod intern;
mod limits;
mod pprof;
mod profile;
pub mod sites;
mod symbol;
#[cfg(test)]
mod testdata;

pub use census::{ANCHORS, Anchor, Census, Counts, Kind, Resource};
pub use delta::{Delta, Keeper, Snapshot};
pub use error::ProfileError;
pub use limits::Limits;
pub use profile::{Frame, Label, LabelValue, Profile, Sample, StackId, ValueType, View};
pub use sites::{SiteCandidate, SiteRules, SiteSource};

/// Label that the companion Go module puts on the goroutines of a client: `file:line` of its call site.
pub const SITE_LABEL: &str = "weir.site";

/// Label that the companion Go module puts on the goroutines of a client: its target as given to `NewClient`.
pub const TARGET_LABEL: &str = "weir.target";

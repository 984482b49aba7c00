//! What the scrapes of one process say, and what has to be remembered from one to the next.

use std::collections::{BTreeMap, BTreeSet};

use weir_connection::publish::{ProcessPoint, SeriesPoint};
use weir_connection::report::Stack;
use weir_profile::census::{Behind, stacks_behind};
use weir_profile::{Census, Counts, Delta, Keeper, Kind, Limits, Profile, SiteRules, Snapshot};

use crate::client::Answer;
use crate::config::ProfileName;
use crate::error::FetchError;
use crate::kinds;
use crate::series::{self, Profiles};

/// Stacks that are shown of each kind of goroutine.
const MOST_STACKS: usize = 5;
/// Kinds of which stacks are shown, those that grew most.
const MOST_KINDS: usize = 8;
/// Distinct stacks that are remembered; a real service has hundreds to some thousands.
const MOST_ROWS: usize = 50_000;

/// The profiles of one scrape as they came.
pub(crate) type Answers = BTreeMap<ProfileName, Answer>;

/// What a scrape says.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The process as a whole and its series; none without a readable goroutine profile.
    pub(crate) points: Option<(ProcessPoint, Vec<SeriesPoint>)>,
    /// Stacks that grew.
    pub(crate) stacks: Vec<Stack>,
    /// Profiles that could not be read.
    pub(crate) problems: Vec<(ProfileName, FetchError)>,
}

/// The memory of one process: bounded by [`MOST_ROWS`], some MiB at the very most.
#[derive(Debug)]
pub(crate) struct Book {
    rules: SiteRules,
    limits: Limits,
    /// The first goroutine profile, against which growth is shown.
    baseline: Option<Snapshot>,
    heap: Keeper,
    mutex: Keeper,
    /// Series that were above zero.
    seen: BTreeSet<&'static str>,
}

impl Book {
    /// An empty one. Profiles may have `limit` bytes after decompression; `ignored` are further dial helpers.
    pub(crate) fn new(limit: usize, ignored: &[String]) -> Book {
        Book {
            rules: SiteRules { ignored_functions: ignored.to_vec(), ..SiteRules::default() },
            limits: Limits { bytes: limit, ..Limits::default() },
            baseline: None,
            // Of the heap only its sums matter, which tell a restart.
            heap: Keeper::new(0),
            mutex: Keeper::new(MOST_ROWS),
            seen: BTreeSet::new(),
        }
    }

    /// This one, with an empty one of the same settings left in its place.
    pub(crate) fn take(&mut self) -> Book {
        let empty = Book::new(self.limits.bytes, &self.rules.ignored_functions);
        std::mem::replace(self, empty)
    }

    /// Another process answers: nothing that was before counts.
    pub(crate) fn forget(&mut self) {
        self.baseline = None;
        self.heap.forget();
        self.mutex.forget();
        self.seen.clear();
    }

    /// Reads the profiles of a scrape. Takes CPU time, some seconds for the largest that [`Limits`] let pass. One that is
    /// needed with no other is dropped before the next is read.
    pub(crate) fn read(&mut self, mut answers: Answers) -> Reading {
        let mut problems = Vec::new();
        let mut profile =
            |name| parse(answers.remove(&name)?, self.limits).map_err(|e| problems.push((name, e))).ok();
        // Both have the same numbers.
        let heap = profile(ProfileName::Heap).or_else(|| profile(ProfileName::Allocs));
        let delta = heap.as_ref().and_then(|heap| self.heap.next(heap));
        if delta.is_some_and(|delta| delta.restarted()) {
            self.baseline = None;
            self.mutex.forget();
            self.seen.clear();
        }
        let mutex = profile(ProfileName::Mutex);
        let contended = mutex.as_ref().and_then(contention);
        let held = mutex.as_ref().and_then(|mutex| self.mutex.next(mutex)).map(|delta| held(&delta));
        drop(mutex);
        let leaked = profile(ProfileName::GoroutineLeak).as_ref().map(kinds::leaked);
        let clients = profile(ProfileName::ClientConn);
        let goroutine = profile(ProfileName::Goroutine);
        let mut reading = Reading { problems, ..Reading::default() };
        reading.problems.sort_by_key(|(name, _)| *name);
        if let Some(goroutine) = &goroutine {
            let census = Census::take(goroutine.view(), Census::DEFAULT_GROUPS);
            let point = ProcessPoint {
                goroutines: kinds::goroutines(&census),
                leaked_goroutines: leaked.unwrap_or_default(),
                mutex: contended,
                ..ProcessPoint::default()
            };
            let profiles = Profiles { goroutine, heap: heap.as_ref(), clients: clients.as_ref() };
            let series = series::points(&census, &profiles, &self.rules, &mut self.seen);
            reading.points = Some((point, series));
            let delta = self.baseline.as_ref().and_then(|baseline| baseline.growth(goroutine));
            match delta {
                Some(delta) => reading.stacks = grown(&delta),
                None => self.baseline = Some(Snapshot::of(goroutine, MOST_ROWS)),
            }
        }
        reading.stacks.extend(held.unwrap_or_default());
        reading
    }
}

fn parse(answer: Answer, limits: Limits) -> Result<Profile, FetchError> {
    let bytes = answer.decoded(limits.bytes)?;
    Ok(Profile::parse(&bytes, limits)?)
}

/// Contentions and the seconds waited in them, since the process started. None where it does not sample mutexes: its
/// profile is empty then.
fn contention(mutex: &Profile) -> Option<(u64, f64)> {
    let (contentions, delay) = (mutex.type_index("contentions")?, mutex.type_index("delay")?);
    let sum =
        |at| mutex.samples().map(|s| s.value(at).max(0)).fold(0_i64, i64::saturating_add).unsigned_abs();
    (!mutex.is_empty()).then(|| (sum(contentions), sum(delay) as f64 / 1e9))
}

/// The stacks of the kinds of goroutines that are more than they were at first, with by how much.
fn grown(delta: &Delta<'_>) -> Vec<Stack> {
    let growth: Counts = Census::take(delta.view(), 0).total;
    let mut kinds: Vec<(Kind, i64)> = growth.iter().filter(|(_, count)| *count > 0).collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    kinds.truncate(MOST_KINDS);
    let of_kind = |(kind, _): (Kind, i64)| {
        let behind = Behind { kind: Some(kind), ..Behind::default() };
        let stacks = stacks_behind(delta.view(), behind, MOST_STACKS).into_iter();
        stacks.map(move |s| stack(s.count, kinds::words(kind), s.frames))
    };
    kinds.into_iter().flat_map(of_kind).collect()
}

/// The stacks that held a mutex for which others waited, since the previous scrape.
fn held(delta: &Delta<'_>) -> Vec<Stack> {
    if delta.restarted() {
        return Vec::new();
    }
    let stacks = stacks_behind(delta.view(), Behind::default(), MOST_STACKS).into_iter();
    stacks
        .map(|s| stack(s.count, "mutex holder, waits since the previous scrape".to_owned(), s.frames))
        .collect()
}

fn stack(count: i64, kind: String, frames: Vec<String>) -> Stack {
    Stack { count, kind, labels: Vec::new(), frames }
}

#[cfg(test)]
mod tests;

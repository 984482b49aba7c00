//! Files that were set aside: `data.json` as `data-2026-11-26T11-05-02.173-size.json`.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::config::RotationConfig;
use crate::place::Place;

const FORM: &str = "%Y-%m-%dT%H-%M-%S%.3f";
/// Bytes of a time in that form.
const LENGTH: usize = 23;
const WHY: &str = "-size";

/// The name under which a file is set aside now (Unix ns), one that is free.
pub(crate) fn name(place: &Place, now: u64, local: bool) -> String {
    let file = place.path().file_name().unwrap_or_default().to_string_lossy();
    let (stem, extension) = parts(&file);
    let zone = if local { TimeZone::system() } else { TimeZone::UTC };
    let mut at = timestamp(now);
    loop {
        let time = at.to_zoned(zone.clone()).strftime(FORM).to_string();
        let free = format!("{stem}-{time}{WHY}{extension}");
        if !place.has(&free) {
            return free;
        }
        // Two within a millisecond.
        at += Duration::from_millis(1);
    }
}

/// Removes what is more than `max_backups` or older than `max_days`; 0 means no limit.
pub(crate) fn prune(place: &Place, now: u64, rotation: &RotationConfig) -> io::Result<()> {
    let mut all = found(place, rotation.localtime)?;
    all.sort_unstable_by_key(|(time, _)| std::cmp::Reverse(*time));
    let oldest = timestamp(now) - Duration::from_secs(u64::from(rotation.max_days) * 24 * 3600);
    for (newer, (time, file)) in all.into_iter().enumerate() {
        let too_many = rotation.max_backups > 0 && newer >= rotation.max_backups as usize;
        let too_old = rotation.max_days > 0 && time < oldest;
        if too_many || too_old {
            place.remove(&file)?;
        }
    }
    Ok(())
}

/// Files beside the file that were set aside, each with its time.
fn found(place: &Place, local: bool) -> io::Result<Vec<(Timestamp, String)>> {
    let file = place.path().file_name().unwrap_or_default().to_string_lossy();
    let (stem, extension) = parts(&file);
    let zone = if local { TimeZone::system() } else { TimeZone::UTC };
    let time_of = |name: &str| {
        let time = name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(extension)?.strip_suffix(WHY)?;
        Some(read(time)?.to_zoned(zone.clone()).ok()?.timestamp())
    };
    let names = place.names()?.into_iter();
    Ok(names.filter_map(|name| Some((time_of(&name)?, name))).collect())
}

/// A name that telemetry gives, with a `_` behind it where it would pass for that of a file that was set aside: files of
/// that name would make those of another one go.
pub(crate) fn apart(name: &str) -> Cow<'_, str> {
    // The time has a dot too: of a name without an extension all is the stem.
    let (stem, extension) = parts(name);
    if is_aside(name) {
        return format!("{name}_").into();
    }
    if is_aside(stem) { format!("{stem}_{extension}").into() } else { name.into() }
}

/// Whether it is a stem, a time and why.
fn is_aside(name: &str) -> bool {
    let time = || {
        let dated = name.strip_suffix(WHY)?;
        let (before, time) = dated.split_at_checked(dated.len().checked_sub(LENGTH)?)?;
        before.ends_with('-').then(|| read(time))?
    };
    time().is_some()
}

/// The time in a name, in the form in which it is written.
fn read(time: &str) -> Option<DateTime> {
    DateTime::strptime(FORM, time).ok().filter(|read| read.strftime(FORM).to_string() == time)
}

/// Name and extension with its dot.
fn parts(name: &str) -> (&str, &str) {
    name.split_at(name.rfind('.').unwrap_or(name.len()))
}

fn timestamp(nanos: u64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default()
}

//! Files that were set aside: `data.json` as `data-2026-11-26T11-05-02.173-size.json`.

use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::RotationConfig;
use crate::place::Place;

const FORM: &str = "%Y-%m-%dT%H-%M-%S%.3f";
const WHY: &str = "-size";

/// The name under which a file is set aside now (Unix ns), one that is free.
pub(crate) fn name(place: &Place, now: u64, local: bool) -> String {
    let (stem, extension) = parts(place.path());
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
    let (stem, extension) = parts(place.path());
    let zone = if local { TimeZone::system() } else { TimeZone::UTC };
    let time_of = |name: &str| {
        let time =
            name.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(&extension)?.strip_suffix(WHY)?;
        let time = jiff::civil::DateTime::strptime(FORM, time).ok()?.to_zoned(zone.clone()).ok()?;
        Some(time.timestamp())
    };
    let names = place.names()?.into_iter();
    Ok(names.filter_map(|name| Some((time_of(&name)?, name))).collect())
}

/// Name and extension with its dot.
fn parts(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.rfind('.') {
        Some(at) => (name[..at].to_owned(), name[at..].to_owned()),
        None => (name, String::new()),
    }
}

fn timestamp(nanos: u64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default()
}

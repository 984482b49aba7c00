//! Files that were set aside: `data.json` as `data-2026-11-26T11-05-02.173-size.json`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::RotationConfig;

const FORM: &str = "%Y-%m-%dT%H-%M-%S%.3f";
const WHY: &str = "-size";

/// The name under which a file is set aside now (Unix ns), one that is free.
pub(crate) fn name(path: &Path, now: u64, local: bool) -> PathBuf {
    let (stem, extension) = parts(path);
    let zone = if local { TimeZone::system() } else { TimeZone::UTC };
    let mut at = timestamp(now);
    loop {
        let time = at.to_zoned(zone.clone()).strftime(FORM).to_string();
        let free = path.with_file_name(format!("{stem}-{time}{WHY}{extension}"));
        if !free.exists() {
            return free;
        }
        // Two within a millisecond.
        at += Duration::from_millis(1);
    }
}

/// Removes what is more than `max_backups` or older than `max_days`; 0 means no limit.
pub(crate) fn prune(path: &Path, now: u64, rotation: &RotationConfig) -> io::Result<()> {
    let mut all = found(path, rotation.localtime)?;
    all.sort_unstable_by_key(|(time, _)| std::cmp::Reverse(*time));
    let oldest = timestamp(now) - Duration::from_secs(u64::from(rotation.max_days) * 24 * 3600);
    for (place, (time, file)) in all.into_iter().enumerate() {
        let too_many = rotation.max_backups > 0 && place >= rotation.max_backups as usize;
        let too_old = rotation.max_days > 0 && time < oldest;
        if too_many || too_old {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// Files beside `path` that were set aside, each with its time.
fn found(path: &Path, local: bool) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let (stem, extension) = parts(path);
    let zone = if local { TimeZone::system() } else { TimeZone::UTC };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let time = name.to_str().and_then(|name| {
            let time =
                name.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(&extension)?.strip_suffix(WHY)?;
            jiff::civil::DateTime::strptime(FORM, time).ok()?.to_zoned(zone.clone()).ok()
        });
        if let Some(time) = time {
            all.push((time.timestamp(), entry.path()));
        }
    }
    Ok(all)
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

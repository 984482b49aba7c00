//! One file that is written.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::sync::{Mutex, MutexGuard};

use crate::backups;
use crate::config::RotationConfig;
use crate::lock;
use crate::place::Place;

/// What the megabytes of `max_megabytes` are; 0 means 100 of them.
const MEGABYTE: u64 = 1 << 20;
const DEFAULT_MEGABYTES: u32 = 100;

/// Permissions of a new file, as the Collector's, which the umask lessens.
const PERMISSIONS: u32 = 0o644;
const PERMISSIONS_WITH_ROTATION: u32 = 0o640;

/// What tells a file that is open from all others, whatever it is called.
pub(crate) type Identity = (u64, u64);

/// An open file. Every record is written at once: what was acknowledged is in the file.
#[derive(Debug)]
pub(crate) struct Output {
    place: Place,
    file: Mutex<File>,
    /// Beside the file, which may stand still.
    identity: Mutex<Identity>,
}

impl Output {
    /// Opens the file, to append to it: a record that failed is cut off again, and what comes next stands behind what is
    /// there.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(place: Place, rotates: bool) -> io::Result<Output> {
        let file = place.open(if rotates { PERMISSIONS_WITH_ROTATION } else { PERMISSIONS })?;
        let identity = identity(&file.metadata()?);
        Ok(Output { place, file: Mutex::new(file), identity: Mutex::new(identity) })
    }

    /// Which file is open. Never waits for one that stands still.
    pub(crate) fn identity(&self) -> Identity {
        *lock(&self.identity)
    }

    /// For whoever holds it nobody writes.
    pub(crate) fn hold(&self) -> MutexGuard<'_, File> {
        lock(&self.file)
    }

    /// Adds a record, whole or not at all; sets a full file aside for it as `rotation` says. `now` is Unix ns.
    ///
    /// # Errors
    /// The record is too large for a file, or it cannot be written.
    pub(crate) fn write(&self, record: &[u8], rotation: Option<&RotationConfig>, now: u64) -> io::Result<()> {
        let mut file = self.hold();
        if let Some(rotation) = rotation {
            let length = record.len() as u64;
            let max = u64::from(match rotation.max_megabytes {
                0 => DEFAULT_MEGABYTES,
                megabytes => megabytes,
            }) * MEGABYTE;
            if length > max {
                let words = format!("write length {length} exceeds maximum file size {max}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
            }
            if file.metadata()?.len() + length > max {
                self.rotate(&mut file, rotation, now)?;
            }
        }
        self.append(&mut file, record)
    }

    fn append(&self, file: &mut File, record: &[u8]) -> io::Result<()> {
        let before = file.metadata()?.len();
        let mut written = 0;
        while written < record.len() {
            let error = match file.write(&record[written..]) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(more) => {
                    written += more;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            if written > 0 {
                self.cut_off(file, before, written as u64);
            }
            return Err(error);
        }
        Ok(())
    }

    /// Half a record would spoil those behind it.
    fn cut_off(&self, file: &File, before: u64, written: u64) {
        let cut = file.metadata().and_then(|now| match now.len() == before + written {
            true => file.set_len(before),
            // What is at the end may be somebody else's.
            false => Err(io::Error::other("another program changed the file meanwhile")),
        });
        if let Err(error) = cut {
            let path = self.place.path().display();
            tracing::warn!(%error, %path, written, "Half a record stays in a file of the file exporter");
        }
    }

    /// Sets the file aside under a name with the time and begins a new one, which those may read who could read it. One that
    /// somebody has moved or removed is set aside already.
    fn rotate(&self, file: &mut File, rotation: &RotationConfig, now: u64) -> io::Result<()> {
        let before = file.metadata()?;
        match self.place.rename(&backups::name(&self.place, now, rotation.localtime)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => *file = self.place.open(before.permissions().mode())?,
        }
        *lock(&self.identity) = identity(&file.metadata()?);
        if let Err(error) = resemble(file, &before) {
            let path = self.place.path().display();
            tracing::warn!(%error, %path, "A new file of the file exporter cannot have the mode and owner of the one before");
        }
        if let Err(error) = backups::prune(&self.place, now, rotation) {
            tracing::warn!(%error, path = %self.place.path().display(), "Old files of the file exporter cannot be removed");
        }
        Ok(())
    }
}

fn identity(file: &Metadata) -> Identity {
    (file.dev(), file.ino())
}

/// Gives a file the permissions and the owner of another.
fn resemble(file: &File, other: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if own.permissions() != other.permissions() {
        file.set_permissions(other.permissions())?;
    }
    if (own.uid(), own.gid()) != (other.uid(), other.gid()) {
        fchown(file, Some(other.uid()), Some(other.gid()))?;
    }
    Ok(())
}

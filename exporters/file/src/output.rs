//! One file that is written.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

use crate::backups;
use crate::config::RotationConfig;
use crate::place::Place;

/// What the megabytes of `max_megabytes` are; 0 means 100 of them.
const MEGABYTE: u64 = 1 << 20;
const DEFAULT_MEGABYTES: u32 = 100;

/// Permissions of a new file, as the Collector's, which the umask lessens.
const PERMISSIONS: u32 = 0o644;
const PERMISSIONS_WITH_ROTATION: u32 = 0o640;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What is in it goes.
    Truncate,
    /// What is in it stays.
    Append,
}

/// An open file. Every record is written at once: what was acknowledged is in the file.
#[derive(Debug)]
pub(crate) struct Output {
    place: Place,
    file: File,
    size: u64,
    rotation: Option<RotationConfig>,
}

impl Output {
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(place: Place, mode: Mode, rotation: Option<RotationConfig>) -> io::Result<Output> {
        let permissions = if rotation.is_some() { PERMISSIONS_WITH_ROTATION } else { PERMISSIONS };
        // Both modes append: a failed write is cut off again, and what comes next stands behind what is there.
        let file = place.open(permissions)?;
        if mode == Mode::Truncate && file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        let size = file.metadata()?.len();
        Ok(Output { place, file, size, rotation })
    }

    /// Adds a record, whole or not at all. `now` is Unix ns.
    ///
    /// # Errors
    /// The record is too large for a file, or it cannot be written.
    pub(crate) fn write(&mut self, record: &[u8], now: u64) -> io::Result<()> {
        let length = record.len() as u64;
        if let Some(rotation) = &self.rotation {
            let max = u64::from(match rotation.max_megabytes {
                0 => DEFAULT_MEGABYTES,
                megabytes => megabytes,
            }) * MEGABYTE;
            if length > max {
                let words = format!("write length {length} exceeds maximum file size {max}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
            }
            if self.size + length > max {
                self.rotate(now)?;
            }
        }
        match self.file.write_all(record) {
            Ok(()) => {
                self.size += length;
                Ok(())
            }
            Err(error) => {
                // Half a record would spoil those behind it.
                if let Err(error) = self.file.set_len(self.size) {
                    tracing::debug!(%error, path = %self.place.path().display(), "Cannot cut off half a record");
                }
                Err(error)
            }
        }
    }

    /// Sets the file aside under a name with the time and begins a new one, which those may read who could read it.
    fn rotate(&mut self, now: u64) -> io::Result<()> {
        let Some(rotation) = &self.rotation else {
            return Ok(());
        };
        let before = self.file.metadata()?;
        self.place.rename(&backups::name(&self.place, now, rotation.localtime))?;
        self.file = self.place.open(before.permissions().mode())?;
        self.size = self.file.metadata()?.len();
        if let Err(error) = resemble(&self.file, &before) {
            let path = self.place.path().display();
            tracing::warn!(%error, %path, "A new file of the file exporter cannot have the mode and owner of the one before");
        }
        if let Err(error) = backups::prune(&self.place, now, rotation) {
            tracing::warn!(%error, path = %self.place.path().display(), "Old files of the file exporter cannot be removed");
        }
        Ok(())
    }
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

//! One file that is written.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::backups;
use crate::config::RotationConfig;

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
    path: PathBuf,
    file: File,
    size: u64,
    /// Whether it follows symbolic links: those that the configuration names, not those that telemetry names.
    follow: bool,
    rotation: Option<RotationConfig>,
}

impl Output {
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(
        path: &Path,
        mode: Mode,
        follow: bool,
        rotation: Option<RotationConfig>,
    ) -> io::Result<Output> {
        let permissions = if rotation.is_some() { PERMISSIONS_WITH_ROTATION } else { PERMISSIONS };
        let file = open(path, mode, follow, permissions)?;
        let size = file.metadata()?.len();
        Ok(Output { path: path.to_owned(), file, size, follow, rotation })
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
                    tracing::debug!(%error, path = %self.path.display(), "Cannot cut off half a record");
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
        fs::rename(&self.path, backups::name(&self.path, now, rotation.localtime))?;
        self.file = open(&self.path, Mode::Append, self.follow, before.permissions().mode())?;
        self.size = self.file.metadata()?.len();
        if let Err(error) = resemble(&self.file, &before) {
            let path = self.path.display();
            tracing::warn!(%error, %path, "A new file of the file exporter cannot have the mode and owner of the one before");
        }
        if let Err(error) = backups::prune(&self.path, now, rotation) {
            tracing::warn!(%error, path = %self.path.display(), "Old files of the file exporter cannot be removed");
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

fn open(path: &Path, mode: Mode, follow: bool, permissions: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Both append: a failed write is cut off again, and what comes next stands behind what is there.
    options.create(true).append(true).mode(permissions);
    if fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
        // Otherwise the start would wait for somebody who reads it.
        options.read(true);
    }
    if !follow {
        options.custom_flags(libc::O_NOFOLLOW);
    }
    let file = options.open(path)?;
    if mode == Mode::Truncate && file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    Ok(file)
}

/// Makes the folder of a file and those above it.
pub(crate) fn make_folder(file: &Path, mode: u32) -> io::Result<()> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            DirBuilder::new().recursive(true).mode(mode).create(folder)
        }
        _ => Ok(()),
    }
}

/// Makes the folders between `base` and a file below it, none of which may be a symbolic link.
pub(crate) fn make_folder_below(base: &Path, file: &Path, mode: u32) -> io::Result<()> {
    make_folder(&base.join("x"), mode)?;
    let between = file.parent().and_then(|folder| folder.strip_prefix(base).ok()).unwrap_or(Path::new(""));
    let mut folder = base.to_owned();
    for part in between.components() {
        folder.push(part);
        match DirBuilder::new().mode(mode).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !fs::symlink_metadata(&folder)?.is_dir() {
                    let words = format!(
                        "{} is no folder, or a symbolic link, which is not followed",
                        folder.display()
                    );
                    return Err(io::Error::new(io::ErrorKind::NotADirectory, words));
                }
            }
            made => made?,
        }
    }
    Ok(())
}

//! A real directory, owned by one process.

use std::fs::{DirBuilder, TryLockError};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use std::{fmt, io};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::fs::OF_ANOTHER_USER;
use crate::recover::records_left;
use crate::{File, Fs};

/// Name of the file that is locked.
const OWNER: &str = "owner";

/// A directory for one queue, locked until it is dropped. Files in it are opened relative to it and without following
/// links, so that nobody can put something else in their place.
#[derive(Debug)]
pub struct Directory {
    parent: PathBuf,
    name: String,
    held: RwLock<Arc<Held>>,
    opened: Instant,
}

/// What keeps others from a directory.
#[derive(Debug)]
struct Held {
    fd: OwnedFd,
    /// Holds the lock.
    owner: std::fs::File,
    /// Permissions of the directory above, which that one gets when it has to be made anew.
    mode_above: u32,
}

/// Why a directory cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another owner has it.
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that has it, when it said so.
        owner: Option<u32>,
    },
    /// The system refuses.
    Io {
        /// What was to be done, with the path.
        what: String,
        /// Why not.
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse { path, owner } => {
                write!(f, "the queue directory {} is in use by ", path.display())?;
                match owner {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str(": end that process or give each agent a directory of its own")
            }
            OpenError::Io { what, error } => {
                write!(f, "{what}: {error}")?;
                // One of the system, which does not say it yet.
                let is_denied =
                    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_some();
                f.write_str(if is_denied { OF_ANOTHER_USER } else { "" })
            }
        }
    }
}

impl std::error::Error for OpenError {}

impl Directory {
    /// Opens the directory `name` in the directory `parent`, makes it (mode 0700) where it is missing, and locks it.
    ///
    /// # Errors
    /// Another owner, a file or a link of that name, no permission.
    pub fn open(parent: &Path, name: &str) -> Result<Directory, OpenError> {
        let held = RwLock::new(Arc::new(Held::hold(parent, name)?));
        Ok(Directory { parent: parent.to_owned(), name: name.to_owned(), held, opened: now() })
    }

    /// Records in it that are not done, without opening its queue: what its files of acks tell, which after a crash of the
    /// machine may be more or less than there are. Blocks.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn records(&self) -> io::Result<u64> {
        records_left(self)
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<Arc<dyn File>> {
        let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.held().fd, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Arc::new(RealFile(fd.into())))
    }
}

impl Held {
    fn hold(parent: &Path, name: &str) -> Result<Held, OpenError> {
        let path = parent.join(name);
        let at = |what: &str, path: &Path| format!("{what} {}", path.display());
        let failed =
            |what: String| move |error: rustix::io::Errno| OpenError::Io { what, error: error.into() };
        let folder = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let above = rustix::fs::open(parent, folder, Mode::empty())
            .map_err(failed(at("cannot open the directory", parent)))?;
        match rustix::fs::mkdirat(&above, name, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(failed(at("cannot make the directory", &path))(error)),
        }
        // Also one that was there: who made it may have failed here.
        rustix::fs::fsync(&above).map_err(failed(at("cannot sync the directory", parent)))?;
        let fd =
            rustix::fs::openat(&above, name, folder | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| {
                let what = match error {
                    rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => "cannot open the directory",
                    _ => "it must be a directory and no link or file, such as another program's database:",
                };
                failed(at(what, &path))(error)
            })?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let owner = rustix::fs::openat(&fd, OWNER, flags, Mode::RUSR | Mode::WUSR)
            .map_err(failed(at("cannot lock", &path.join(OWNER))))?;
        let owner = std::fs::File::from(owner);
        match owner.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { path, owner: said_by(&owner) });
            }
            Err(TryLockError::Error(error)) => {
                return Err(OpenError::Io { what: at("cannot lock", &path.join(OWNER)), error });
            }
        }
        let above = rustix::fs::fstat(&above).map_err(failed(at("cannot look at the directory", parent)))?;
        say(&owner);
        Ok(Held { fd, owner, mode_above: above.st_mode & 0o777 })
    }
}

/// Makes a directory with these permissions, and those above it that are missing, each of them known to the disk. Blocks.
///
/// # Errors
/// As the system says.
pub fn make_directory(directory: &Path, mode: u32) -> io::Result<()> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(mode).create(directory)?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// The process id in the lock file.
fn said_by(owner: &std::fs::File) -> Option<u32> {
    let mut text = [0; 16];
    let length = owner.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

/// Writes the process id. It is only for people: on a full disk it is left out.
fn say(owner: &std::fs::File) {
    let text = format!("{}\n", std::process::id());
    drop(owner.set_len(0).and_then(|()| owner.write_all_at(text.as_bytes(), 0)));
}

impl Fs for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let (held, mut names) = (self.held(), Vec::new());
        for entry in rustix::fs::Dir::read_from(&held.fd)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = rustix::fs::statat(&held.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            if kind == FileType::RegularFile {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open_file(name, OFlags::CREATE | OFlags::EXCL)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open_file(name, OFlags::empty())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.held().fd, name, AtFlags::empty())?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let held = self.held();
        Ok(rustix::fs::renameat(&held.fd, from, &held.fd, to)?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.held().fd)?)
    }

    fn restore(&self) -> io::Result<()> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let own = held.owner.metadata()?;
        // One that was moved is held as before. Some file systems count no names.
        let is_own = |found: std::fs::Metadata| (found.dev(), found.ino()) == (own.dev(), own.ino());
        if own.nlink() > 0 || self.parent.join(&self.name).join(OWNER).symlink_metadata().is_ok_and(is_own) {
            return Ok(());
        }
        make_directory(&self.parent, held.mode_above)?;
        *held = Arc::new(Held::hold(&self.parent, &self.name).map_err(io::Error::other)?);
        Ok(())
    }

    fn place(&self) -> String {
        self.parent.join(&self.name).display().to_string()
    }

    fn now(&self) -> Duration {
        now() - self.opened
    }
}

#[expect(clippy::disallowed_methods, reason = "an adapter of the disk, which a model replaces")]
fn now() -> Instant {
    Instant::now()
}

struct RealFile(std::fs::File);

impl File for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn is_removed(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.nlink() == 0)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

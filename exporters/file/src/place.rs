//! Where a file lies, and the files beside it.
//!
//! The configuration may name symbolic links, telemetry may not lead to any. So the folders between the configured one and
//! a file of a group are opened one from the other, none of them through a link, and everything is done from the last of
//! them: whoever puts a link in the place of one meanwhile moves nothing. That is what `openat2` does in one call, which
//! some systems do not have and others do not allow.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// A folder, from which names are found. Linux does not ask for the right to list it.
#[cfg(target_os = "linux")]
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// A place for a file.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    /// The folder of a file that telemetry names. Without one the path is followed wherever it leads.
    folder: Option<OwnedFd>,
    /// Permissions of the folders of a file that the configuration names, where they are to be made.
    makes: Option<u32>,
}

impl Place {
    /// The place that the configuration names. Folders that are not there are made with those permissions, if any.
    pub(crate) fn configured(path: &Path, makes: Option<u32>) -> Place {
        Place { path: path.to_owned(), folder: None, makes }
    }

    /// The place that telemetry names, below `base`, where the agent runs if that is empty. Makes the folders in between.
    ///
    /// # Errors
    /// One of them is a symbolic link, is no folder, or cannot be made or opened.
    pub(crate) fn below(base: &Path, path: &Path, mode: u32) -> io::Result<Place> {
        let above = || io::Error::new(io::ErrorKind::InvalidInput, "a group cannot be in a folder above");
        let between = path.parent().and_then(|folder| folder.strip_prefix(base).ok()).ok_or_else(above)?;
        make_folder(&base.join("x"), mode)?;
        let named = if base.as_os_str().is_empty() { Path::new(".") } else { base };
        let mut folder = fs::openat(CWD, named, FOLDER, Mode::empty())?;
        for part in between.components() {
            let Component::Normal(part) = part else { return Err(above()) };
            let open = || fs::openat(&folder, part, FOLDER | OFlags::NOFOLLOW, Mode::empty());
            let opened = match open() {
                Err(Errno::NOENT) => match fs::mkdirat(&folder, part, Mode::from_raw_mode(mode)) {
                    Ok(()) | Err(Errno::EXIST) => open(),
                    Err(error) => Err(error),
                },
                opened => opened,
            };
            folder = opened.map_err(|error| match error {
                Errno::NOTDIR | Errno::LOOP => {
                    let part = part.display();
                    let words = format!("{part} is no folder, or a symbolic link, which is not followed");
                    io::Error::new(io::ErrorKind::NotADirectory, words)
                }
                other => other.into(),
            })?;
        }
        Ok(Place { path: path.to_owned(), folder: Some(folder), makes: None })
    }

    /// The path, for people and for its last part.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file, to append to it; makes it with those permissions where there is none.
    pub(crate) fn open(&self, permissions: u32) -> io::Result<File> {
        if let Some(mode) = self.makes {
            make_folder(&self.path, mode)?;
        }
        let (folder, path) = self.at(self.name());
        let mut flags = OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
        let (stat_flags, open_flags) = match self.folder {
            Some(_) => (AtFlags::SYMLINK_NOFOLLOW, OFlags::NOFOLLOW),
            None => (AtFlags::empty(), OFlags::empty()),
        };
        let is_fifo = fs::statat(folder, &path, stat_flags)
            .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Fifo);
        // Opened for writing alone, the start would wait for somebody who reads it.
        flags |= open_flags | if is_fifo { OFlags::RDWR } else { OFlags::WRONLY };
        Ok(fs::openat(folder, &path, flags, Mode::from_raw_mode(permissions))?.into())
    }

    /// Whether there is anything of that name beside the file.
    pub(crate) fn has(&self, name: &str) -> bool {
        let (folder, path) = self.at(name.into());
        fs::statat(folder, &path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Gives the file another name.
    pub(crate) fn rename(&self, name: &str) -> io::Result<()> {
        let ((folder, from), (_, to)) = (self.at(self.name()), self.at(name.into()));
        Ok(fs::renameat(folder, &from, folder, &to)?)
    }

    /// Removes the file of that name beside the file.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        let (folder, path) = self.at(name.into());
        Ok(fs::unlinkat(folder, &path, AtFlags::empty())?)
    }

    /// The names of the files beside the file, those that are text.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let (folder, path) = self.at(".".into());
        let folder = fs::openat(folder, &path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::new(folder)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            names.extend(name.into_string());
        }
        Ok(names)
    }

    fn name(&self) -> OsString {
        self.path.file_name().unwrap_or_default().to_owned()
    }

    /// How something beside the file, or the file, is found.
    fn at(&self, name: OsString) -> (BorrowedFd<'_>, PathBuf) {
        match &self.folder {
            Some(folder) => (folder.as_fd(), name.into()),
            None => (CWD, self.path.with_file_name(name)),
        }
    }
}

/// Makes the folder of a file and those above it.
fn make_folder(file: &Path, mode: u32) -> io::Result<()> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            DirBuilder::new().recursive(true).mode(mode).create(folder)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_that_takes_the_place_of_a_folder_moves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let [base, outside] = ["data", "outside"].map(|name| dir.path().join(name));
        fs::create_dir(&outside).expect("made");
        let place = Place::below(&base, &base.join("a/b/file"), 0o755).expect("made");
        fs::rename(base.join("a"), base.join("was")).expect("moved");
        fs::create_dir(outside.join("b")).expect("made");
        symlink(&outside, base.join("a")).expect("linked");
        place.open(0o644).expect("opened").write_all(b"x").expect("written");
        place.rename("other").expect("renamed");
        assert!(place.has("other") && !place.has("file"));
        assert_eq!(fs::read(base.join("was/b/other")).expect("readable"), b"x");
        assert_eq!(fs::read_dir(outside.join("b")).expect("readable").count(), 0);
        let refused = Place::below(&base, &base.join("a/b/file"), 0o755).expect_err("a link");
        assert!(refused.to_string().contains("a symbolic link, which is not followed"), "{refused}");
    }

    #[test]
    fn a_group_of_a_path_without_a_folder_lies_below_where_the_agent_runs() {
        // Tests run in the folder of their package.
        let place = Place::below(Path::new(""), Path::new("src/group.rs"), 0o755).expect("there");
        assert!(place.has("place.rs"));
        assert!(Place::below(Path::new("src"), Path::new("group.rs"), 0o755).is_err(), "not below it");
    }
}

//! The file operations that a queue needs, so that a modelled file system can take their place: every one of them may
//! fail, and what was not synced may be lost or torn when the machine crashes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// One directory. Names have no path in them.
pub trait Fs: Send + Sync {
    /// Names of the regular files in it; links are not among them.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file that must not exist.
    ///
    /// # Errors
    /// As the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading and writing; never follows a link.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Renames a file.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes creations, removals and renames durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync(&self) -> io::Result<()>;

    /// Makes the directory anew, and takes hold of it, where somebody removed it.
    ///
    /// # Errors
    /// As the system says.
    fn restore(&self) -> io::Result<()>;

    /// What people find it by, for the log: its path.
    fn place(&self) -> String;

    /// Time since some moment; only differences count.
    fn now(&self) -> Duration;
}

/// An open file.
pub trait File: Send + Sync {
    /// Its size in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn size(&self) -> io::Result<u64>;

    /// Whether no name leads to it any more.
    ///
    /// # Errors
    /// As the system says.
    fn is_removed(&self) -> io::Result<bool>;

    /// Reads at an offset; fewer bytes than asked for are possible, none means the end.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at an offset; fewer bytes than given are possible.
    ///
    /// # Errors
    /// As the system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts or extends it.
    ///
    /// # Errors
    /// As the system says.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Makes its content durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync(&self) -> io::Result<()>;
}

/// Writes everything.
pub(crate) fn write_all(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends; returns how much was read.
pub(crate) fn read_full(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Removes a file that may not be there.
pub(crate) fn remove(fs: &dyn Fs, name: &str) -> io::Result<()> {
    match fs.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// What an operator does about a file or a directory that may not be opened.
pub(crate) const OF_ANOTHER_USER: &str = "; it belongs to another user, such as root after one start with sudo: give it to the user of \
     the agent (chown), or start the agent as the user that it belongs to";

/// Tries something three times, for errors that pass.
pub(crate) fn thrice<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    attempt().or_else(|_| attempt()).or_else(|_| attempt())
}

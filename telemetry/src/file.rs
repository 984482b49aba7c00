//! A file that text goes to, which somebody may move away to begin another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::outlet::OUTPUT_FAILED;

/// How often the agent was asked to look at all files.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// Has each output that is a file look, before its next text, whether it still is the file at its path, and open that one
/// otherwise: what rotates logs moves them away and sends SIGHUP. Never blocks.
pub fn look_again() {
    ASKED.fetch_add(1, Ordering::Relaxed);
}

/// The file at a path, to append to.
pub(crate) struct Appended {
    path: String,
    file: File,
    /// Of [`ASKED`], when it was opened or last looked at.
    asked: u64,
}

impl Appended {
    /// Makes it where it is not there. Blocks as long as the file system does.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn open(path: &str) -> io::Result<Appended> {
        let asked = ASKED.load(Ordering::Relaxed);
        Ok(Appended { path: path.to_owned(), file: append_to(path)?, asked })
    }

    fn renew(&mut self) {
        let asked = ASKED.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.asked, asked) == asked || self.is_at_its_path() {
            return;
        }
        match append_to(&self.path) {
            Ok(file) => self.file = file,
            Err(error) => tracing::warn!(
                target: OUTPUT_FAILED,
                output = self.path,
                %error,
                "Cannot open an output that was moved away; what it is given goes into the file that it has until the next \
                 reload"
            ),
        }
    }

    fn is_at_its_path(&self) -> bool {
        let [own, there] = [self.file.metadata(), fs::metadata(&self.path)]
            .map(|file| file.map(|file| (file.dev(), file.ino())));
        matches!((own, there), (Ok(own), Ok(there)) if own == there)
    }
}

impl Write for Appended {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    /// One text, which is in one file as a whole.
    fn write_all(&mut self, text: &[u8]) -> io::Result<()> {
        self.renew();
        self.file.write_all(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Opened for writing alone, a named pipe would wait for somebody who reads it.
fn append_to(path: &str) -> io::Result<File> {
    let is_pipe = fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    OpenOptions::new().create(true).append(true).read(is_pipe).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_is_followed_by_another_when_that_is_asked_for_and_can_be_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let [inner, moved] = ["logs", "moved"].map(|name| folder.path().join(name));
        let path = inner.join("log");
        fs::create_dir(&inner).expect("made");
        let mut file = Appended::open(&path.display().to_string()).expect("opened");
        let read = |path| fs::read_to_string(path).expect("readable");
        file.write_all(b"a\n").expect("written");
        fs::rename(&path, &moved).expect("moved");
        file.write_all(b"b\n").expect("written");
        assert_eq!((read(&moved), path.exists()), ("a\nb\n".to_owned(), false));
        look_again();
        file.write_all(b"c\n").expect("written");
        assert_eq!((read(&moved), read(&path)), ("a\nb\n".to_owned(), "c\n".to_owned()));
        fs::rename(&path, &moved).expect("moved");
        fs::remove_dir(&inner).expect("removed");
        look_again();
        file.write_all(b"d\n").expect("written");
        assert_eq!(read(&moved), "c\nd\n");
    }
}

//! A tree that looks like `/proc`, for what a real one cannot show on demand.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::ProcFs;

/// Removed when dropped.
pub(crate) struct FakeProc {
    root: PathBuf,
}

impl FakeProc {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("weir-socket-diag-{}-{number}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Self { root }
    }

    pub(crate) fn proc(&self) -> ProcFs {
        ProcFs::new(&self.root)
    }

    pub(crate) fn root(&self) -> &PathBuf {
        &self.root
    }

    /// A running process without descriptors; an existing one is overwritten.
    pub(crate) fn process(&self, pid: u32, command: &str, start_ticks: u64) {
        fs::create_dir_all(self.root.join(format!("{pid}/fd"))).unwrap();
        self.file(&format!("{pid}/stat"), &Self::stat(pid, command, 'S', start_ticks));
        self.file(&format!("{pid}/status"), "Name:\tx\nVmRSS:\t    2048 kB\n");
    }

    pub(crate) fn stat(pid: u32, command: &str, state: char, start_ticks: u64) -> String {
        let between = "1 ".repeat(18);
        format!("{pid} ({command}) {state} {between}{start_ticks} 1000 20 0\n")
    }

    pub(crate) fn executable(&self, pid: u32, path: &str) {
        symlink(path, self.root.join(format!("{pid}/exe"))).unwrap();
    }

    pub(crate) fn descriptor(&self, pid: u32, number: u32, target: &str) {
        symlink(target, self.root.join(format!("{pid}/fd/{number}"))).unwrap();
    }

    pub(crate) fn remove_descriptor(&self, pid: u32, number: u32) {
        fs::remove_file(self.root.join(format!("{pid}/fd/{number}"))).unwrap();
    }

    pub(crate) fn file(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn remove(&self, directory: &str) {
        fs::remove_dir_all(self.root.join(directory)).unwrap();
    }
}

impl Drop for FakeProc {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.root).unwrap();
    }
}

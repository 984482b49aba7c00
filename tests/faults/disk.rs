//! A small disk that can be filled, seen only by those that are told of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A tmpfs of 8 MiB in a mount namespace of its own, which a sleeping process keeps. It goes with that process, so that
/// nothing is left mounted whatever becomes of the test.
pub(crate) struct SmallDisk {
    keeper: Child,
    dir: TempDir,
}

impl SmallDisk {
    /// None where this process may not mount anything.
    pub(crate) fn new() -> Option<SmallDisk> {
        let dir = TempDir::new().expect("a temporary folder");
        let script = r#"mount -t tmpfs -o size=8m,mode=0755 tmpfs "$1" && echo mounted && exec sleep 900"#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = command.spawn().ok()?;
        let mut said = String::new();
        let stdout = keeper.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut said).expect("read");
        let disk = SmallDisk { keeper, dir };
        (said == "mounted\n").then_some(disk)
    }

    /// The process that sees it.
    pub(crate) fn pid(&self) -> u32 {
        self.keeper.id()
    }

    /// Its path for those that see it.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// The file that takes what is left, from outside.
    fn filler(&self) -> PathBuf {
        let inside = self.dir.path().join("filler");
        PathBuf::from(format!("/proc/{}/root{}", self.pid(), inside.display()))
    }

    /// Takes all the room that is left; the bytes that this was.
    pub(crate) fn fill(&self) -> usize {
        let mut file = File::create(self.filler()).expect("a file fits");
        let mut filled = 0;
        for size in [65536, 512, 1] {
            while file.write_all(&vec![1; size]).is_ok() {
                filled += size;
            }
        }
        filled
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // One that has ended cannot be killed; that is as good.
        drop(self.keeper.kill());
        drop(self.keeper.wait());
    }
}

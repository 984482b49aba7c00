//! Disks for faults, seen only by those that are told of them: a small one that can be filled, and one that loses power.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A mount namespace of its own, which a sleeping process keeps. What is mounted in it goes with that process, so that
/// nothing is left mounted whatever becomes of the test.
struct Mounts {
    keeper: Child,
    dir: TempDir,
}

impl Mounts {
    /// With what a script mounts at or below the folder `$1`; none where this process may not do that.
    fn new(script: &str) -> Option<Mounts> {
        let dir = TempDir::new().expect("a temporary folder");
        let script = format!("set -e\n{script}\necho mounted\nexec sleep 900");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]).arg(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = command.spawn().ok()?;
        let mut said = String::new();
        let stdout = keeper.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut said).expect("read");
        let mounts = Mounts { keeper, dir };
        (said == "mounted\n").then_some(mounts)
    }

    fn pid(&self) -> u32 {
        self.keeper.id()
    }

    /// Runs a script among these mounts, with their folder as `$1` and an argument of its own as `$2`.
    fn run(&self, script: &str, argument: &str) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.pid())).args(["sh", "-e", "-c", script, "sh"]);
        command.arg(self.dir.path()).arg(argument).stdin(Stdio::null());
        let out = command.output().expect("nsenter starts");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        // One that has ended cannot be killed; that is as good.
        drop(self.keeper.kill());
        drop(self.keeper.wait());
    }
}

/// A tmpfs of 8 MiB.
pub(crate) struct SmallDisk(Mounts);

impl SmallDisk {
    /// None where this process may not mount anything.
    pub(crate) fn new() -> Option<SmallDisk> {
        Mounts::new(r#"mount -t tmpfs -o size=8m,mode=0755 tmpfs "$1""#).map(SmallDisk)
    }

    /// The process that sees it.
    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Its path for those that see it.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.dir.path().to_owned()
    }

    /// The file that takes what is left, from outside.
    fn filler(&self) -> PathBuf {
        let inside = self.path().join("filler");
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

/// A disk that forgets what it was not given when its power fails: an ext4 on a loop device, whose file is the disk. What
/// the file system holds in memory is not in that file. The file lies on another file system, for one purpose: while that
/// one is frozen, nothing more reaches the disk, so that a copy of it is the disk of one instant.
pub(crate) struct ForgetfulDisk {
    mounts: Mounts,
    path: PathBuf,
}

impl ForgetfulDisk {
    /// None where this process may not mount anything, or there are no loop devices.
    pub(crate) fn new() -> Option<ForgetfulDisk> {
        let mounts = Mounts::new(
            r#"mount -t tmpfs -o size=1g,mode=0755 tmpfs "$1" && cd "$1" && mkdir below disk
            truncate -s 600M below.img && mkfs.ext4 -q -F below.img && mount -o loop below.img below
            truncate -s 256M below/disk.img && mkfs.ext4 -q -F below/disk.img && mount -o loop below/disk.img disk"#,
        )?;
        let path = mounts.dir.path().join("disk");
        Some(ForgetfulDisk { mounts, path })
    }

    /// The process that sees it.
    pub(crate) fn pid(&self) -> u32 {
        self.mounts.pid()
    }

    /// Its path for those that see it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The power fails, and a process of the machine with it: from one instant on nothing reaches the disk, so that no
    /// sync comes back, and a copy of it is taken. The process is killed before it could see that it goes on.
    pub(crate) fn lose_power(&self, process: u32) {
        self.mounts.run(
            r#"cd "$1" && fsfreeze --freeze below && trap 'fsfreeze --unfreeze below' EXIT
            kill -s KILL "$2" && cp below/disk.img instant.img"#,
            &process.to_string(),
        );
    }

    /// The power is back: what the disk had at that instant is mounted. Those that had files open must have ended.
    pub(crate) fn come_back(&self) {
        self.mounts.run(
            r#"cd "$1" && umount disk && rm below/disk.img
            mv instant.img below/disk.img && mount -o loop below/disk.img disk"#,
            "",
        );
    }
}

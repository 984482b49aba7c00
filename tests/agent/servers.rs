//! Real servers for the tests: started on free loopback ports, asked over HTTP, stopped by pid.
//!
//! A shell, the warden, holds the list of pids and outlives the tests: when its input ends it stops them and removes their
//! folder. Its input ends when a [`Fleet`] is dropped, and when this process ends in whatever way, so that servers kept in
//! a `static`, which is never dropped, are stopped too.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::free_port;

/// What the warden runs; its one argument is the folder.
const WARDEN: &str = r#"
trap '' INT TERM HUP
pids=
while read -r pid; do pids="$pids $pid"; done
for signal in TERM KILL; do
  for pid in $pids; do kill -s $signal "$pid" 2>/dev/null; done
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    alive=
    for pid in $pids; do kill -0 "$pid" 2>/dev/null && alive=1; done
    [ -n "$alive" ] || break 2
    sleep 0.1
  done
done
rm -rf -- "$1"
"#;

/// Processes that live and end together, and their folder.
pub(crate) struct Fleet {
    dir: PathBuf,
    warden: Child,
    ships: Vec<(String, Child)>,
}

impl Fleet {
    /// Nothing running yet.
    pub(crate) fn new() -> Fleet {
        let dir = tempfile::Builder::new().prefix("weir-agent-").tempdir().unwrap().keep();
        let mut warden = Command::new("sh");
        warden.args(["-c", WARDEN, "warden"]).arg(&dir);
        let warden =
            warden.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Fleet { dir, warden, ships: Vec::new() }
    }

    /// Folder of its own, removed at the end.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Starts a program; what it prints goes to `NAME.log`. Returns its pid.
    pub(crate) fn start(&mut self, name: &str, command: &mut Command) -> u32 {
        let log = File::create(self.dir.join(format!("{name}.log"))).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
        let pid = child.id();
        writeln!(self.warden.stdin.as_mut().unwrap(), "{pid}").unwrap();
        self.ships.push((name.to_owned(), child));
        pid
    }

    /// What a program printed so far.
    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Asks `done` ten times a second until it gives a value. Fails after `limit` seconds and when a program ended,
    /// both with the logs.
    pub(crate) fn wait<T>(&mut self, what: &str, limit: u32, mut done: impl FnMut() -> Option<T>) -> T {
        for _ in 0..limit * 10 {
            if let Some(value) = done() {
                return value;
            }
            for (name, child) in &mut self.ships {
                if let Some(status) = child.try_wait().unwrap() {
                    let log = fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default();
                    panic!("{name} ended with {status} before {what}:\n{log}");
                }
            }
            pause();
        }
        let logs: Vec<_> =
            self.ships.iter().map(|(name, _)| format!("--- {name}\n{}", self.log(name))).collect();
        panic!("not within {limit} s: {what}\n{}", logs.join("\n"));
    }

    /// Waits for 200 from a page.
    pub(crate) fn wait_page(&mut self, port: u16, path: &str) {
        let ready = || get(port, path).filter(|a| a.status == 200).map(drop);
        self.wait(&format!("200 from http://127.0.0.1:{port}{path}"), 60, ready);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.warden.stdin.take());
        // The warden cannot see that they ended until they are waited for.
        for (_, child) in &mut self.ships {
            child.wait().ok();
        }
        self.warden.wait().ok();
    }
}

/// Between two questions.
pub(crate) fn pause() {
    thread::sleep(Duration::from_millis(100));
}

/// Ports on which nothing listens.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    [(); N].map(|()| free_port())
}

/// Root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Folders of the binaries of real servers; what is missing is built first, which takes minutes.
pub(crate) fn install<const N: usize>(names: [&str; N]) -> [PathBuf; N] {
    let printed = run(Command::new(root().join("tests/backends/install.sh")).args(names));
    let folders: Vec<PathBuf> = printed.lines().map(PathBuf::from).collect();
    folders.try_into().unwrap_or_else(|_| panic!("install.sh printed {printed:?}"))
}

/// Builds a package of the Go module in `dir` to `out`.
pub(crate) fn go_build(dir: &str, package: &str, out: &Path) {
    let go = run(&mut Command::new(root().join("tests/backends/go.sh")));
    run(Command::new(go.trim()).current_dir(root().join(dir)).args(["build", "-o"]).arg(out).arg(package));
}

/// The agent under test with one configuration file.
pub(crate) fn weir(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("--config").arg(config);
    command
}

/// Runs a command to its end and returns its output; fails with all that it said when its code is not 0.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{errors}", output.status);
    text
}

/// An answer over HTTP.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; anything but 200 and JSON fails.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.text()))
    }
}

/// `GET`; nothing when there is no answer.
pub(crate) fn get(port: u16, path: &str) -> Option<Answer> {
    request(port, &format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n"), &[])
}

/// `POST`; nothing when there is no answer.
pub(crate) fn post(port: u16, path: &str, kind: &str, body: &[u8]) -> Option<Answer> {
    post_with(port, path, &format!("Content-Type: {kind}\r\n"), body)
}

/// `POST` with these headers, each ended by a line break; nothing when there is no answer.
pub(crate) fn post_with(port: u16, path: &str, headers: &str, body: &[u8]) -> Option<Answer> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    request(port, &head, body)
}

/// HTTP/1.0: the answer ends with the connection and is never chunked.
fn request(port: u16, head: &str, body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).ok()?;
    let end = all.windows(4).position(|w| w == b"\r\n\r\n")?;
    let status = String::from_utf8_lossy(&all[..end]).split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: all.split_off(end + 4) })
}

/// Text as a value in a URL's query.
pub(crate) fn escape(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// A flag and its value as one argument.
pub(crate) fn flag(name: &str, value: impl AsRef<OsStr>) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(format!("{name}="));
    argument.push(value);
    argument
}

#[test]
fn programs_end_and_their_folder_goes_with_the_fleet() {
    let mut fleet = Fleet::new();
    let pid = fleet.start("sleeper", Command::new("sleep").arg("1000"));
    let (dir, process) = (fleet.dir().to_owned(), PathBuf::from(format!("/proc/{pid}")));
    assert!(dir.exists() && process.exists());
    drop(fleet);
    assert!(!dir.exists() && !process.exists());
}

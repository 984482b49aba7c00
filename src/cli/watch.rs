//! Notices that files of the configuration have changed.
//!
//! # Design
//! Every [`INTERVAL`] the metadata of each file are asked for, through all links. That is all on purpose. It sees a write in
//! place, a file that was renamed over the old one (editors, configuration management) and a link that was turned
//! (Kubernetes turns one for a whole volume), on network and overlay file systems too; notifications of the kernel need a
//! watch on every directory in a chain of links there, or do not come. It costs one system call for each file.
//!
//! They are asked for on a thread beside, as a file system may hang.
//!
//! A change counts when it has looked the same twice in a row, so that a file which is being written is not taken by half. That
//! a file has gone is none: it is about to come again, or what refers to it is about to change. What was tried is not tried
//! again: a mistake is reported once.
//!
//! A configuration that was refused may have been read from other files than the one that runs. They are looked at as well,
//! those that could not be read included, because the mistake may be mended in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::pending;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_component::{Clock, Host};
use weir_config::Sources;

/// Between two looks. A change is taken up after two to three of them.
const INTERVAL: Duration = Duration::from_secs(1);

/// What tells two versions of a file apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

type Versions = BTreeMap<PathBuf, Option<Version>>;

/// The files of a configuration.
#[derive(Debug)]
pub(super) struct Watch {
    /// In use, or tried.
    known: Versions,
    /// At the last look.
    seen: Versions,
}

impl Watch {
    /// Of the files that a configuration was read from. What has changed since then counts as a change.
    pub(super) fn new(sources: &Sources) -> Watch {
        let known: Versions = sources.files().map(|(path, text)| (path.into(), in_use(path, text))).collect();
        Watch { seen: known.clone(), known }
    }

    /// Also of the files of one that was `tried` in vain, while the one from `sources` still runs.
    pub(super) fn also(&mut self, tried: Watch, sources: &Sources) {
        let running: BTreeSet<&Path> = sources.files().map(|(path, _)| Path::new(path)).collect();
        for (versions, tried) in [(&mut self.known, tried.known), (&mut self.seen, tried.seen)] {
            versions.retain(|path, _| running.contains(&**path));
            versions.extend(tried);
        }
    }

    /// Completes when the files have changed. Nothing is missed when it is dropped and called again.
    pub(super) async fn changed(&mut self, host: &Host, clock: &Clock) {
        if self.known.is_empty() {
            pending::<()>().await;
        }
        loop {
            let files: Vec<PathBuf> = self.known.keys().cloned().collect();
            if host.blocking(|| versions(files)).await.is_some_and(|now| self.look(now)) {
                return;
            }
            clock.sleep(INTERVAL).await;
        }
    }

    /// Whether there is a change that has come to rest.
    fn look(&mut self, now: Versions) -> bool {
        let rests = now == std::mem::replace(&mut self.seen, now.clone());
        let differs = |(path, version)| self.known.get(path) != Some(version);
        let changed = rests && now.iter().filter(|(_, version)| version.is_some()).any(differs);
        if changed {
            self.known = now;
        }
        changed
    }
}

/// The version of the file that holds this text, or that could not be read; none when it holds another text by now, which
/// then is a change. A pipe cannot be looked into again.
fn in_use(path: &str, text: Option<&str>) -> Option<Version> {
    let holds = |text: &str| fs::read(path).is_ok_and(|now| now == text.as_bytes());
    let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
    version(Path::new(path)).filter(|_| !is_file || text.is_none_or(holds))
}

fn versions(files: Vec<PathBuf>) -> Versions {
    files.into_iter().map(|path| (path.clone(), version(&path))).collect()
}

fn version(path: &Path) -> Option<Version> {
    let file = fs::metadata(path).ok()?;
    Some(Version {
        device: file.dev(),
        inode: file.ino(),
        size: file.len(),
        modified: (file.mtime(), file.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;
    use weir_config::SourceKind;

    use super::*;

    /// The one file `path`, which was read as `text`.
    fn of(path: &Path, text: &str) -> Sources {
        let mut sources = Sources::new();
        sources.add(SourceKind::File(path.display().to_string()), text, None);
        sources
    }

    /// A watch of it.
    fn watch(path: &Path, text: &str) -> Watch {
        Watch::new(&of(path, text))
    }

    impl Watch {
        fn looks(&mut self) -> bool {
            self.look(versions(self.known.keys().cloned().collect()))
        }
    }

    /// Whether one of the next looks finds a change, and the one behind it none.
    fn finds_one(watch: &mut Watch) -> bool {
        let found = (0..3).any(|_| watch.looks());
        found && !watch.looks()
    }

    #[test]
    fn a_write_in_place_a_rename_and_a_turned_link_are_each_one_change() {
        let folder = TempDir::new().expect("a folder");
        let (data, file) = (folder.path().join("..data"), folder.path().join("a.yaml"));
        for version in ["one", "two"] {
            fs::create_dir(folder.path().join(version)).expect("made");
            fs::write(folder.path().join(version).join("a.yaml"), "a: 1").expect("written");
        }
        symlink("one", &data).expect("linked");
        symlink("..data/a.yaml", &file).expect("linked");
        let mut watch = watch(&file, "a: 1");
        assert!(!watch.looks() && !watch.looks(), "nothing has changed");

        symlink("two", folder.path().join("new")).expect("linked");
        fs::rename(folder.path().join("new"), &data).expect("turned");
        assert!(finds_one(&mut watch), "a link that was turned");

        fs::write(&file, "a: 22").expect("written");
        assert!(finds_one(&mut watch), "a write in place");

        fs::write(folder.path().join("new"), "a: 33").expect("written");
        fs::rename(folder.path().join("new"), &file).expect("renamed");
        assert!(finds_one(&mut watch), "a rename");
    }

    #[test]
    fn a_file_that_is_being_written_or_missing_is_waited_for() {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("a.yaml");
        fs::write(&file, "a: 1").expect("written");
        let mut watch = watch(&file, "a: 1");
        fs::write(&file, "a").expect("written");
        assert!(!watch.looks(), "seen for the first time");
        fs::write(&file, "a: 22").expect("written");
        assert!(!watch.looks(), "it has changed again");
        fs::remove_file(&file).expect("removed");
        assert!(!watch.looks() && !watch.looks(), "it is not there");
        fs::write(&file, "a: 333").expect("written");
        assert!(finds_one(&mut watch));
    }

    #[test]
    fn what_refers_to_a_file_can_change_when_that_has_gone() {
        let folder = TempDir::new().expect("a folder");
        let [main, part] = ["main.yaml", "part.yaml"].map(|name| folder.path().join(name));
        fs::write(&main, "a: ${file:part.yaml}").expect("written");
        fs::write(&part, "1").expect("written");
        let mut sources = of(&main, "a: ${file:part.yaml}");
        sources.add(SourceKind::File(part.display().to_string()), "1", None);
        let mut both = Watch::new(&sources);
        fs::remove_file(&part).expect("removed");
        assert!(!both.looks() && !both.looks(), "it may come again");
        fs::write(&main, "a: 1").expect("written");
        assert!(finds_one(&mut both));
    }

    #[test]
    fn files_of_a_configuration_that_was_tried_in_vain_are_looked_at_until_another_is_tried() {
        let folder = TempDir::new().expect("a folder");
        let [main, wrong, missing] =
            ["main.yaml", "wrong.yaml", "missing.yaml"].map(|name| folder.path().join(name));
        fs::write(&main, "a: 1").expect("written");
        fs::write(&wrong, "b: 1").expect("written");
        let running = of(&main, "a: 1");
        let mut watched = Watch::new(&running);
        let mut tried = of(&wrong, "b: 1");
        tried.add_unread(&missing.display().to_string());
        watched.also(Watch::new(&tried), &running);
        assert!(!watched.looks() && !watched.looks(), "nothing has changed");
        fs::write(&missing, "c: 1").expect("written");
        assert!(finds_one(&mut watched), "one that was not there");
        fs::write(&wrong, "b: 22").expect("written");
        assert!(finds_one(&mut watched), "one with a mistake");
        fs::write(&main, "a: 22").expect("written");
        assert!(finds_one(&mut watched), "one that is in use");

        watched.also(watch(&main, "a: 22"), &running);
        fs::write(&wrong, "b: 333").expect("written");
        assert!(!watched.looks() && !watched.looks(), "nothing refers to it any more");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_tried_once() {
        let folder = TempDir::new().expect("a folder");
        let mut sources = Sources::new();
        sources.add_unread(&folder.path().display().to_string());
        let mut watch = Watch::new(&sources);
        assert!(!watch.looks() && !watch.looks());
    }

    #[test]
    fn what_changed_while_it_was_read_is_a_change() {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("a.yaml");
        fs::write(&file, "a: 2").expect("written");
        assert!(finds_one(&mut watch(&file, "a: 1")));
    }
}

//! Settings of TLS that follow the files they were made from.
//!
//! A handshake looks at the files when they were last looked at long enough ago, or when the agent was asked to reload
//! since, and reads them again when one of them is another. What cannot be used leaves the old settings in place: a certificate is often changed before its key.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How often files are looked at where the configuration does not say.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// How often the agent was asked to look at all files.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// Has the next handshake of everybody look at its files, however long their interval is.
pub fn look_again() {
    ASKED.fetch_add(1, Ordering::Relaxed);
}

/// Reads the files.
type Load<T> = Arc<dyn Fn() -> Result<T, String> + Send + Sync>;

/// The files behind settings of TLS. Cheap to clone.
pub struct Files<T> {
    paths: Vec<PathBuf>,
    /// The files as they were when they were read, or before.
    seen: Vec<Seen>,
    load: Load<T>,
    pub(crate) interval: Duration,
}

impl<T: 'static> Files<T> {
    /// Files that `load` reads, a change of which may go unnoticed for `interval`. To be made before they are read, so that a
    /// change meanwhile is one.
    pub fn new(
        paths: Vec<PathBuf>,
        load: impl Fn() -> Result<T, String> + Send + Sync + 'static,
        interval: Duration,
    ) -> Files<T> {
        let seen = look(&paths);
        Files { paths, seen, load: Arc::new(load), interval }
    }

    /// The same files, for what is made of their content.
    pub(super) fn made_into<U>(
        &self,
        make: impl Fn(T) -> Result<U, String> + Send + Sync + 'static,
    ) -> Files<U> {
        let load = Arc::clone(&self.load);
        Files {
            paths: self.paths.clone(),
            seen: self.seen.clone(),
            load: Arc::new(move || make(load()?)),
            interval: self.interval,
        }
    }
}

impl<T> Clone for Files<T> {
    fn clone(&self) -> Self {
        Files {
            paths: self.paths.clone(),
            seen: self.seen.clone(),
            load: Arc::clone(&self.load),
            interval: self.interval,
        }
    }
}

/// A value that is made anew when a file changes.
pub(super) struct Renewed<T> {
    files: Option<Files<T>>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    /// The files as they were when what was read of them could be used.
    seen: Vec<Seen>,
    /// Why they cannot be used as they are now. They are tried again: what was in the way, such as their mode, may show in
    /// nothing that is looked at.
    error: Option<String>,
    looked: Instant,
    /// Of [`ASKED`], when they were last looked at.
    asked: u64,
}

/// What tells that a file has changed: its number, size and time. A missing one has none.
type Seen = Option<(u64, u64, Option<SystemTime>)>;

impl<T: Send + Sync + 'static> Renewed<T> {
    /// Begins with `value`, which was just made of what was read from the files.
    pub(super) fn new(value: T, files: Option<Files<T>>) -> Renewed<T> {
        let seen = files.as_ref().map(|files| files.seen.clone()).unwrap_or_default();
        let asked = ASKED.load(Ordering::Relaxed);
        let state = State { value: Arc::new(value), seen, error: None, looked: now(), asked };
        Renewed { files, state: Mutex::new(state) }
    }

    /// The value of now.
    pub(super) async fn current(&self) -> Arc<T> {
        let Some(files) = self.due() else { return Arc::clone(&self.state().value) };
        let seen = self.state().seen.clone();
        #[expect(clippy::disallowed_methods, reason = "a network adapter, which simulation replaces")]
        let read = tokio::task::spawn_blocking(move || {
            let found = look(&files.paths);
            (found != seen).then(|| ((files.load)(), found))
        });
        let Ok(changed) = read.await else { return Arc::clone(&self.state().value) };
        let mut state = self.state();
        match changed {
            None => state.error = None,
            Some((Ok(value), found)) => {
                tracing::info!("certificates have changed and are used from now on");
                (state.value, state.seen, state.error) = (Arc::new(value), found, None);
            }
            Some((Err(error), _)) if state.error.as_ref() == Some(&error) => {}
            Some((Err(error), _)) => {
                tracing::warn!(%error, "certificates have changed and cannot be used, the old ones stay");
                state.error = Some(error);
            }
        }
        Arc::clone(&state.value)
    }

    /// The files, when it is time to look at them; from then on it is not, so that one handshake looks and not all.
    fn due(&self) -> Option<Files<T>> {
        let files = self.files.as_ref()?;
        let asked = ASKED.load(Ordering::Relaxed);
        let mut state = self.state();
        if asked == state.asked && now().duration_since(state.looked) < files.interval {
            return None;
        }
        (state.looked, state.asked) = (now(), asked);
        Some(files.clone())
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look(paths: &[PathBuf]) -> Vec<Seen> {
    let seen = |path: &PathBuf| {
        std::fs::metadata(path).ok().map(|file| (file.ino(), file.len(), file.modified().ok()))
    };
    paths.iter().map(seen).collect()
}

#[expect(clippy::disallowed_methods, reason = "a network adapter, which simulation replaces")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// A file that says `old`, and what follows it.
    fn file(folder: &Path, interval: Duration) -> (PathBuf, Files<String>) {
        let path = folder.join("cert");
        std::fs::write(&path, "old").expect("written");
        let again = path.clone();
        let load = move || std::fs::read_to_string(&again).map_err(|e| e.to_string());
        let files = Files::new(vec![path.clone()], load, interval);
        (path, files)
    }

    #[tokio::test]
    async fn a_reload_takes_up_files_before_their_interval_is_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, files) = file(folder.path(), Duration::from_secs(24 * 3600));
        let renewed = Renewed::new("old".to_owned(), Some(files));
        // Of another size, which tells it from the old one whatever the clock of the file system shows.
        std::fs::write(&path, "the new one").expect("written");
        assert_eq!(*renewed.current().await, "old");
        look_again();
        assert_eq!(*renewed.current().await, "the new one");
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_tried_again_though_the_files_look_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cert");
        std::fs::write(&path, "old").expect("written");
        let may_read = Arc::new(AtomicBool::new(false));
        let (again, may) = (path.clone(), Arc::clone(&may_read));
        let load = move || match may.load(Ordering::Relaxed) {
            true => std::fs::read_to_string(&again).map_err(|e| e.to_string()),
            false => Err("permission denied".to_owned()),
        };
        let files = Files::new(vec![path.clone()], load, Duration::ZERO);
        let renewed = Renewed::new("old".to_owned(), Some(files));
        std::fs::write(&path, "the new one").expect("written");
        assert_eq!(*renewed.current().await, "old");
        may_read.store(true, Ordering::Relaxed);
        assert_eq!(*renewed.current().await, "the new one");
    }

    #[tokio::test]
    async fn a_file_that_changes_before_its_value_is_made_is_taken_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, files) = file(folder.path(), Duration::ZERO);
        let read = (files.load)().expect("read");
        std::fs::write(&path, "the new one").expect("written");
        let renewed = Renewed::new(read, Some(files));
        assert_eq!(*renewed.current().await, "the new one");
    }
}

//! A secret that stands in the configuration or in a file, which is read again while the agent runs.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use weir_component::{ExtensionContext, Failure, Host};

/// How long a changed file may go unnoticed.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a file of lines is left alone whose last line has no end: it may be half written.
const REST: Duration = Duration::from_secs(1);
/// Largest file. Longer ones are not what they are taken for.
const MAX_FILE: u64 = 1 << 20;

/// A secret. Cheap to clone; clones share the value. It has no `Debug`, so that it cannot be printed.
#[derive(Clone)]
pub struct Credential(Arc<Inner>);

struct Inner {
    file: Option<PathBuf>,
    read: fn(&Path) -> Result<String, String>,
    value: Mutex<Arc<str>>,
    /// What was wrong with the file when it was last read, so that it is said once.
    error: Mutex<Option<String>>,
}

impl Credential {
    /// The value of `file`, unless that is empty, else `value`.
    pub fn new(value: &str, file: &str) -> Credential {
        let of_file = |file: &Path| read(file).map(|text| text.trim().to_owned());
        Credential::read_by(of_file, value, file)
    }

    /// The lines of `file`, none without one. What may be half written is read again once it has not changed for a second.
    pub fn lines(file: &str) -> Credential {
        Credential::read_by(read_lines, "", file)
    }

    fn read_by(read: fn(&Path) -> Result<String, String>, value: &str, file: &str) -> Credential {
        let file = Some(PathBuf::from(file)).filter(|file| !file.as_os_str().is_empty());
        let value = if file.is_some() { "" } else { value };
        Credential(Arc::new(Inner { file, read, value: Mutex::new(value.into()), error: Mutex::default() }))
    }

    /// The value, without white space around it when it comes from a file, unless it is lines. The same allocation until it
    /// changes.
    pub fn value(&self) -> Arc<str> {
        Arc::clone(&lock(&self.0.value))
    }

    /// Reads the file, where there is one.
    ///
    /// # Errors
    /// Names a file that cannot be read or is empty; the value stays as it was.
    pub async fn read(&self, host: &Host) -> Result<(), Failure> {
        let Some(file) = self.0.file.clone() else { return Ok(()) };
        let read = self.0.read;
        let text =
            host.blocking(move || read(&file)).await.unwrap_or_else(|| Err("reading panicked".to_owned()));
        let text = text.map_err(Failure::permanent)?;
        let mut value = lock(&self.0.value);
        if **value != *text {
            *value = text.into();
        }
        Ok(())
    }

    async fn read_again(&self, host: &Host) {
        let error = self.read(host).await.err().map(|failure| failure.message().to_owned());
        let mut known = lock(&self.0.error);
        if *known != error {
            match &error {
                Some(error) => tracing::warn!(%error, "a credential cannot be read again, the old one stays"),
                None => tracing::info!("a credential can be read again"),
            }
            *known = error;
        }
    }
}

/// Reads the files again and again until the extension is to stop.
pub async fn keep_fresh(credentials: &[Credential], cx: &ExtensionContext) {
    let mut stop = pin!(cx.stop.requested());
    if credentials.iter().all(|credential| credential.0.file.is_none()) {
        return stop.await;
    }
    while let Either::Right(_) = select(stop.as_mut(), cx.clock.sleep(INTERVAL)).await {
        for credential in credentials {
            credential.read_again(&cx.host).await;
        }
    }
}

fn read(file: &Path) -> Result<String, String> {
    let size = std::fs::metadata(file).map_err(|e| wrong(file, &e))?.len();
    if size > MAX_FILE {
        return Err(wrong(file, &"larger than 1 MiB"));
    }
    let text = std::fs::read_to_string(file).map_err(|e| wrong(file, &e))?;
    if text.trim().is_empty() { Err(wrong(file, &"is empty")) } else { Ok(text) }
}

/// May wait for a second, in a thread for blocking work.
fn read_lines(file: &Path) -> Result<String, String> {
    let look = || -> Result<_, String> {
        let text = read(file)?;
        // Of a file from the future, as other clocks make it, nothing follows.
        let changed = std::fs::metadata(file).and_then(|metadata| metadata.modified());
        let age = changed.map_err(|e| wrong(file, &e))?.elapsed().unwrap_or(REST);
        Ok((left_of_rest(&text, age), text))
    };
    let (left, text) = look()?;
    if left.is_zero() {
        return Ok(text);
    }
    std::thread::sleep(left);
    match look()? {
        (left, text) if left.is_zero() => Ok(text),
        _ => Err(wrong(file, &"its last line has no end and changes, so it is being written")),
    }
}

/// How much longer a text that was written so long ago is left alone.
fn left_of_rest(text: &str, age: Duration) -> Duration {
    if text.ends_with('\n') { Duration::ZERO } else { REST.saturating_sub(age) }
}

fn wrong(file: &Path, why: &dyn Display) -> String {
    format!("credentials file {:?}: {why}", weir_config::shown_path(&file.display().to_string()))
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_may_be_half_written_are_left_alone_for_a_second() {
        let millis = Duration::from_millis;
        for (text, age, left) in [
            ("a:one\n", 0, 0),
            ("a:on", 0, 1000),
            ("a:one\nb:on", 300, 700),
            ("a:one", 1000, 0),
            ("a:one", 60_000, 0),
        ] {
            assert_eq!(left_of_rest(text, millis(age)), millis(left), "{text:?}");
        }
    }
}

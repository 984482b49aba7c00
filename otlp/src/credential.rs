//! A secret that stands in the configuration or in a file, which is read again while the agent runs.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use weir_component::{ExtensionContext, Failure, Host};

/// How long a changed file may go unnoticed.
const INTERVAL: Duration = Duration::from_secs(1);
/// Largest file. Longer ones are not what they are taken for.
const MAX_FILE: u64 = 1 << 20;

/// A secret. Cheap to clone; clones share the value. It has no `Debug`, so that it cannot be printed.
#[derive(Clone)]
pub struct Credential(Arc<Inner>);

struct Inner {
    file: Option<PathBuf>,
    value: Mutex<Arc<str>>,
    /// What was wrong with the file when it was last read, so that it is said once.
    error: Mutex<Option<String>>,
}

impl Credential {
    /// The value of `file`, unless that is empty, else `value`.
    pub fn new(value: &str, file: &str) -> Credential {
        let file = Some(PathBuf::from(file)).filter(|file| !file.as_os_str().is_empty());
        let value = if file.is_some() { "" } else { value };
        Credential(Arc::new(Inner { file, value: Mutex::new(value.into()), error: Mutex::default() }))
    }

    /// The value, without white space around it when it comes from a file. The same allocation until it changes.
    pub fn value(&self) -> Arc<str> {
        Arc::clone(&lock(&self.0.value))
    }

    /// Reads the file, where there is one.
    ///
    /// # Errors
    /// Names a file that cannot be read or is empty; the value stays as it was.
    pub async fn read(&self, host: &Host) -> Result<(), Failure> {
        let Some(file) = self.0.file.clone() else { return Ok(()) };
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
    let wrong = |why: &str| format!("credentials file {:?}: {why}", file.display().to_string());
    let size = std::fs::metadata(file).map_err(|e| wrong(&e.to_string()))?.len();
    if size > MAX_FILE {
        return Err(wrong("larger than 1 MiB"));
    }
    let text = std::fs::read_to_string(file).map_err(|e| wrong(&e.to_string()))?;
    match text.trim() {
        "" => Err(wrong("is empty")),
        text => Ok(text.to_owned()),
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What goes on beside the queues.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::{Either, select};
use weir_component::{Health, Stop};
use weir_disk_queue::{Directory, UNSAMPLED};

use crate::storage::FileStorage;

/// How long what is done may be unsynced.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// How the name of every queue begins.
const OF_EXPORTERS: &str = "exporter_";

impl FileStorage {
    /// Names the queues in the directory that nobody has opened by the time at which the agent is ready.
    pub(crate) async fn name_forsaken(&self, stop: &Stop) {
        let ready = Box::pin(self.host.health_after(Health::NotReady));
        if let Either::Right(_) = select(ready, Box::pin(stop.requested())).await {
            return;
        }
        let (directory, opened) = (self.directory.clone(), self.opened.paths());
        let left = self.host.blocking(move || forsaken(directory, &opened)).await;
        for (queue, records) in left.unwrap_or_default() {
            tracing::warn!(
                target: UNSAMPLED,
                queue = %queue.display(),
                records,
                "Records are left in a queue on disk that no exporter has open. They are sent when an exporter of that type and name, \
                 exporter_<type>_<name>_<signal>, has a storage with this directory; remove the queue if nobody needs them"
            );
        }
    }

    /// Syncs what is done a second after the first of it, for as long as the storage runs, and at its end.
    pub(crate) async fn sync_done(&self, stop: &Stop) {
        let tending = self.opened.tend();
        loop {
            let first = async {
                tending.told().await;
                self.clock.sleep(SYNC_AFTER).await;
            };
            let stopped =
                matches!(select(Box::pin(first), Box::pin(stop.requested())).await, Either::Right(_));
            tending.sync().await;
            if stopped {
                return;
            }
        }
    }
}

/// Queues with records that nobody has open, here or in another process. Blocks.
fn forsaken(directory: PathBuf, opened: &[PathBuf]) -> Vec<(PathBuf, u64)> {
    let Ok(entries) = directory.read_dir() else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut left: Vec<_> = names
        .filter(|name| name.starts_with(OF_EXPORTERS))
        .map(|name| (directory.join(&name), name))
        .filter(|(path, _)| path.is_dir() && !opened.contains(path))
        .filter_map(|(path, name)| Some((path, Directory::open(&directory, &name).ok()?.records().ok()?)))
        .filter(|(_, records)| *records > 0)
        .collect();
    left.sort();
    left
}

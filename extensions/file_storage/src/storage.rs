//! Opens queues.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use weir_component::{Clock, DurableQueue, ExtensionContext, Failure, Host, Instant, Storage, async_trait};
use weir_disk_queue::{Directory, OpenError, Options, Queue};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::opened::{Opened, Turn};
use crate::queue::{Handle, Shared};

/// How often a directory that somebody else has is tried again, until `timeout` has passed.
const AGAIN: Duration = Duration::from_millis(50);

/// A directory with queues.
pub(crate) struct FileStorage {
    id: String,
    pub(crate) directory: PathBuf,
    timeout: Duration,
    options: Options,
    pub(crate) clock: Clock,
    pub(crate) host: Host,
    pub(crate) opened: Arc<Opened>,
}

impl FileStorage {
    pub(crate) fn new(config: &Config, directory: PathBuf, cx: &ExtensionContext) -> FileStorage {
        let seed = cx.clock.random().to_bits() ^ cx.clock.unix_nanos();
        FileStorage {
            id: cx.id.clone(),
            directory,
            timeout: config.timeout.as_std(),
            options: Options {
                max_bytes: u64::try_from(config.max_size).unwrap_or(0),
                fsync: config.fsync,
                seed,
                ..Options::default()
            },
            clock: cx.clock.clone(),
            host: cx.host.clone(),
            opened: cx.host.shared(),
        }
    }

    /// What is measured of a queue, in the telemetry that this storage has: that of the agent may be another by a reload since the
    /// queue was opened.
    fn metrics(&self, name: &str) -> Metrics {
        Metrics::new(&self.id, name, &self.host)
    }

    /// Opens the queue, and waits until then for a former owner. The turn goes with the work, which goes on when nobody waits
    /// for it any more.
    async fn open(&self, name: &str, mut turn: Turn, deadline: Instant) -> Result<(Queue, Turn), Failure> {
        loop {
            let (directory, file, options) = (self.directory.clone(), safe(name), self.options.clone());
            let opened = self.host.blocking(move || (open(&directory, &file, options), turn)).await;
            match opened {
                Some((Ok(queue), turn)) => return Ok((queue, turn)),
                Some((Err(OpenError::InUse { .. }), back)) if self.clock.now() < deadline => {
                    turn = back;
                    self.clock.sleep(AGAIN).await;
                }
                Some((Err(error), _)) => {
                    return Err(Failure::permanent(format!("{}: queue {name}: {error}", self.id)));
                }
                None => {
                    return Err(Failure::permanent(format!("{}: queue {name}: opening panicked", self.id)));
                }
            }
        }
    }
}

#[async_trait]
impl Storage for FileStorage {
    async fn open_queue(&self, name: &str) -> Result<Arc<dyn DurableQueue>, Failure> {
        let path = self.directory.join(safe(name));
        let deadline = self.clock.now() + self.timeout;
        let turn = self.opened.turn(&path).await;
        if let Some(shared) = self.opened.find(&path) {
            if !shared.is_opened_with(&self.options) {
                return Err(Failure::permanent(format!(
                    "{}: the queue in {} is open with another fsync or max_size: these change with the next start",
                    self.id,
                    path.display()
                )));
            }
            return Ok(Arc::new(Handle::new(shared, self.metrics(name))));
        }
        let (queue, _turn) = self.open(name, turn, deadline).await?;
        let backlog = queue.backlog();
        tracing::info!(
            otelcol.component.id = %self.id,
            otelcol.component.kind = "extension",
            queue = name,
            records = backlog.records,
            lost_records = queue.counters().lost,
            "Opened a queue on disk"
        );
        let opened = Arc::clone(&self.opened);
        let shared = Shared::new(queue, &path, self.host.clone(), self.clock.clone(), opened);
        let shared = Arc::new(shared);
        self.opened.add(&path, &shared);
        shared.sync_soon();
        Ok(Arc::new(Handle::new(shared, self.metrics(name))))
    }

    async fn find_queue(&self, name: &str) -> Result<Option<Arc<dyn DurableQueue>>, Failure> {
        let path = self.directory.join(safe(name));
        match self.host.blocking(move || path.is_dir()).await {
            Some(true) => self.open_queue(name).await.map(Some),
            _ => Ok(None),
        }
    }
}

fn open(directory: &Path, file: &str, options: Options) -> Result<Queue, OpenError> {
    let folder = Directory::open(directory, file).map_err(|error| match error {
        OpenError::Io { error, .. } if directory.join(file).is_file() => OpenError::Io {
            what: format!(
                "{} is a file, as the queue of a Collector is, which is not read: let the Collector deliver what is in it and \
                 remove it, or set another `directory`",
                directory.join(file).display()
            ),
            error,
        },
        other => other,
    })?;
    Queue::open(Arc::new(folder), options).map_err(|error| OpenError::Io {
        what: format!("cannot open {}", directory.join(file).display()),
        error,
    })
}

/// A name as the Collector's extension writes it: what could have a meaning in a path is a tilde and a number.
fn safe(name: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let spelled = |c: char| if safe(c) { c.to_string() } else { format!("~{:04X}", u32::from(c)) };
    name.chars().map(spelled).collect()
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn nothing_of_a_name_can_lead_out_of_the_directory() {
        assert_eq!(safe("exporter_otlp_grpc__traces"), "exporter_otlp_grpc__traces");
        assert_eq!(safe("exporter_otlp_../x~y_logs"), "exporter_otlp_..~002Fx~007Ey_logs");
    }
}

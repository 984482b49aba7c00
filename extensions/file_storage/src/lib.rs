//! Keeps the queues of exporters on disk, each in a directory of its own.

mod config;
mod metrics;
mod opened;
mod queue;
mod storage;
mod tend;

use std::sync::Arc;

use futures_util::future::join;
use weir_component::{
    Build, BuildError, Capabilities, Extension, ExtensionContext, ExtensionFactory, Failure, Health,
    Stability, async_trait,
};
use weir_config::Options;

use config::Config;
use storage::FileStorage;

/// Makes `file_storage` extensions.
pub const FACTORY: ExtensionFactory = ExtensionFactory {
    kind: "file_storage",
    aliases: &[],
    stability: Stability::Beta,
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    offers: &[weir_config::Offer::Storage],
    create,
};

fn create(build: &Build<'_>) -> Result<Box<dyn Extension>, BuildError> {
    Ok(Box::new(FileStorageExtension { config: build.checked()?, storage: None, at_start: false }))
}

struct FileStorageExtension {
    config: Config,
    storage: Option<Arc<FileStorage>>,
    /// Whether it starts with the agent, and not by a reload, which says itself what it leaves behind.
    at_start: bool,
}

#[async_trait]
impl Extension for FileStorageExtension {
    async fn start(&mut self, cx: &ExtensionContext) -> Result<(), Failure> {
        let config = self.config.clone();
        let look = move || config.directory_is_there().and_then(|path| config.bound_fits().map(|()| path));
        let directory = cx.host.blocking(look).await;
        let directory = directory
            .unwrap_or_else(|| Err("the look at the directory panicked".to_owned()))
            .map_err(Failure::permanent)?;
        if !self.config.fsync {
            tracing::warn!(
                otelcol.component.id = %cx.id,
                otelcol.component.kind = "extension",
                "fsync is off: a power loss or a crash of the kernel loses what was acknowledged"
            );
        }
        for option in self.config.without_effect() {
            tracing::info!(
                otelcol.component.id = %cx.id,
                otelcol.component.kind = "extension",
                option,
                "This option has no effect: space comes back by whole segments, and damage is passed over"
            );
        }
        self.at_start = cx.host.health() == Health::NotReady;
        self.storage = Some(Arc::new(FileStorage::new(&self.config, directory, cx)));
        Ok(())
    }

    async fn run(self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure> {
        if let Some(storage) = &self.storage {
            let name_forsaken = async {
                if self.at_start {
                    storage.name_forsaken(&cx.stop).await;
                }
            };
            join(name_forsaken, storage.sync_done(&cx.stop)).await;
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        match &self.storage {
            Some(storage) => Capabilities::default().with_storage(Arc::<FileStorage>::clone(storage)),
            None => Capabilities::default(),
        }
    }
}

#[cfg(test)]
mod tests;

//! Writes telemetry to files.
//!
//! A payload is one record, written at once and whole: what is acknowledged is in the file, as far as the operating
//! system has it. Exporters of all signals with one id share one file.

mod backups;
mod config;
mod format;
mod group;
mod output;
mod outputs;
mod place;
mod store;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weir_component::{
    Accepted, Build, BuildError, Clock, Context, DeliverySettings, Exporter, ExporterFactory, ExporterParts,
    Failure, Host, Maturity, Stability, async_trait,
};
use weir_pdata::{Payload, Signal};

use config::Config;
use format::Format;
use group::Groups;
use store::{Store, Stores};

/// Groups whose failure is told with its words; of others how many they are.
const MAX_NAMED: usize = 10;

/// Makes `file` exporters.
pub const FACTORY: ExporterFactory = ExporterFactory {
    kind: "file",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Maturity::but(Stability::Alpha, &[(Signal::Profiles, Stability::Development)]),
    metadata: include_str!("../metadata.yaml"),
    options: weir_config::Options::of::<Config>(),
    create,
};

fn create(build: &Build<'_>, _: Signal) -> Result<ExporterParts, BuildError> {
    let config: Config = build.checked()?;
    let exporter = Arc::new(File {
        id: build.id.to_owned(),
        config,
        clock: build.clock.clone(),
        started: Mutex::new(None),
    });
    let delivery = DeliverySettings { queue: None, retry: None, timeout: Duration::ZERO };
    Ok(ExporterParts { exporter, delivery })
}

struct File {
    id: String,
    config: Config,
    clock: Clock,
    /// What is there from the start to the end.
    started: Mutex<Option<(Host, Arc<Store>)>>,
}

#[async_trait]
impl Exporter for File {
    async fn start(&self, host: &Host) -> Result<(), Failure> {
        let (stores, id, config) = (host.shared::<Stores>(), self.id.clone(), self.config.clone());
        let opened = host.blocking(move || stores.open(&id, &config)).await;
        let store = opened.unwrap_or_else(|| Err("the file could not be opened".to_owned()));
        let store = store.map_err(Failure::permanent)?;
        *lock(&self.started) = Some((host.clone(), store));
        Ok(())
    }

    async fn export(&self, payload: &Payload, _: &Context) -> Result<Accepted, Failure> {
        let started = lock(&self.started).clone();
        let Some((host, store)) = started else {
            return Err(Failure::retry("the exporter is not started"));
        };
        let (payload, format, now) = (payload.clone(), Format::new(&self.config), self.clock.unix_nanos());
        let groups = self.config.group_by.enabled.then(|| self.config.group_by.resource_attribute.clone());
        // Whoever leaves while it is written leaves the turn there.
        let turn = store.turn(payload.encoded_len()).await;
        let work = move || {
            let _turn = turn;
            match groups {
                None => write(&store, None, &payload, format, now).map_err(|unwritten| unwritten.failure),
                Some(attribute) => write_groups(&store, &attribute, &payload, format, now),
            }
        };
        let written = host.blocking(work).await;
        written.unwrap_or_else(|| Err(Failure::permanent("the payload could not be written")))?;
        Ok(Accepted::default())
    }

    async fn stop(&self) {
        lock(&self.started).take();
    }
}

fn write(
    store: &Store,
    group: Option<&str>,
    payload: &Payload,
    format: Format,
    now: u64,
) -> Result<(), Unwritten> {
    let record = format.record(payload.signal(), payload).map_err(|error| Unwritten::for_good(&error))?;
    store.write(group, &record, now).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Unwritten::for_good(&error.to_string()),
        kind => Unwritten {
            failure: Failure::retry(format!("cannot write to the file: {error}")),
            lacks_room: matches!(
                kind,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            ),
        },
    })
}

/// Why something was not written.
struct Unwritten {
    failure: Failure,
    /// The disk is full, or the file as large as the user may make one.
    lacks_room: bool,
}

impl Unwritten {
    fn for_good(why: &str) -> Unwritten {
        Unwritten { failure: Failure::permanent(why), lacks_room: false }
    }
}

/// Writes each group to its file, one after the other. What fails is not to be sent again: other groups have theirs. Unless there
/// was no room for any of them.
fn write_groups(
    store: &Store,
    attribute: &str,
    payload: &Payload,
    format: Format,
    now: u64,
) -> Result<(), Failure> {
    let groups = Groups::of(payload, attribute).map_err(Failure::permanent)?;
    if groups.without > 0 {
        tracing::debug!(
            resources = groups.without,
            attribute,
            "Resources without the attribute of group_by are dropped"
        );
    }
    let (mut failures, mut failed, mut written, mut lacks_room) = (Vec::new(), 0, false, false);
    if groups.too_long > 0 {
        failures.push(format!("{attribute} is longer than any path in {} of the resources", groups.too_long));
    }
    for (name, payload) in groups.payloads() {
        match write(store, Some(name), &payload, format, now) {
            Ok(()) => written = true,
            Err(unwritten) => {
                failed += 1;
                lacks_room |= unwritten.lacks_room;
                if failed <= MAX_NAMED {
                    failures.push(unwritten.failure.to_string());
                }
            }
        }
    }
    if failed > MAX_NAMED {
        failures.push(format!("{} more groups failed", failed - MAX_NAMED));
    }
    match failures.join("; ") {
        none if none.is_empty() => Ok(()),
        said if lacks_room && !written => Err(Failure::retry(said)),
        said => Err(Failure::permanent(said)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

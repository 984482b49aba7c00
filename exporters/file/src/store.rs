//! What one exporter id writes to.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;
use crate::group::Pattern;
use crate::lock;
use crate::output::Output;
use crate::outputs::Outputs;
use crate::place::Place;

/// Payloads of one store that are encoded and written at once. Each has a thread of those that queues on disk need, too, for
/// as long as a file stands still; further ones wait without.
const AT_ONCE: u32 = 4;
/// A payload beyond that has all turns for itself: encoded, it can take five times as much beside it.
const LARGE: usize = 4 << 20;

/// One store for each id, shared by the exporters of all signals.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    stores: Mutex<BTreeMap<String, Weak<Store>>>,
    outputs: Arc<Outputs>,
}

/// Files that are written.
#[derive(Debug)]
pub(crate) struct Store {
    config: Config,
    turns: Arc<Semaphore>,
    outputs: Arc<Outputs>,
    files: Files,
}

#[derive(Debug)]
enum Files {
    One(Arc<Output>),
    Groups(Mutex<Groups>),
}

#[derive(Debug)]
struct Groups {
    pattern: Pattern,
    /// The one used last is last.
    open: VecDeque<(PathBuf, Arc<Output>)>,
}

impl Stores {
    /// The store of an id with that configuration; opens it when it is not open.
    ///
    /// # Errors
    /// The file cannot be opened: which, why, and the cure.
    pub(crate) fn open(&self, id: &str, config: &Config) -> Result<Arc<Store>, String> {
        let mut stores = lock(&self.stores);
        if let Some(store) = stores.get(id).and_then(Weak::upgrade).filter(|store| store.config == *config) {
            return Ok(store);
        }
        let store = Arc::new(Store::open(config, &self.outputs)?);
        stores.insert(id.to_owned(), Arc::downgrade(&store));
        Ok(store)
    }
}

impl Store {
    fn open(config: &Config, outputs: &Arc<Outputs>) -> Result<Store, String> {
        let mode = config.directory_mode()?;
        let files = if config.group_by.enabled {
            let pattern = Pattern::new(&config.path);
            Files::Groups(Mutex::new(Groups { pattern, open: VecDeque::new() }))
        } else {
            let place = Place::configured(Path::new(&config.path), config.create_directory.then_some(mode));
            let opened = outputs.open(place, config.keeps(), config.rotation.is_on());
            Files::One(opened.map_err(|error| {
                let cure = match error.kind() {
                    io::ErrorKind::NotFound => "make its folder, or set create_directory: true",
                    _ => "give a path that can be written",
                };
                format!("open {}: {error}; {cure}", config.path)
            })?)
        };
        let (turns, outputs) = (Arc::new(Semaphore::new(AT_ONCE as usize)), Arc::clone(outputs));
        Ok(Store { config: config.clone(), turns, outputs, files })
    }

    /// Waits for a turn for a payload of that size, which whoever writes keeps until the end.
    pub(crate) async fn turn(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let turns = if bytes > LARGE { AT_ONCE } else { 1 };
        Arc::clone(&self.turns).acquire_many_owned(turns).await.ok()
    }

    /// Adds a record to the file, or to that of a group.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, group: Option<&str>, record: &[u8], now: u64) -> io::Result<()> {
        let rotation = self.config.rotation.as_ref();
        let groups = match &self.files {
            Files::One(output) => return output.write(record, rotation, now),
            Files::Groups(groups) => groups,
        };
        let output = lock(groups).of(group.unwrap_or_default(), self)?;
        let written = output.write(record, rotation, now);
        if matches!(&written, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            // Its folder is gone, which opening it makes anew.
            lock(groups).open.retain(|(_, open)| !Arc::ptr_eq(open, &output));
        }
        written
    }
}

impl Groups {
    /// The file of a group, opened if it is not; the one that was not used for longest is closed for it.
    fn of(&mut self, group: &str, store: &Store) -> io::Result<Arc<Output>> {
        let path = self.pattern.file(group);
        let used =
            match self.open.iter().rposition(|(open, _)| *open == path).and_then(|at| self.open.remove(at)) {
                Some(open) => open,
                None => {
                    let config = &store.config;
                    let mode = config.directory_mode().unwrap_or(0o755);
                    let place = Place::below(self.pattern.folder(), &path, mode)?;
                    let output = store.outputs.open(place, config.keeps(), config.rotation.is_on())?;
                    if self.open.len() >= config.group_by.max_open_files as usize {
                        self.open.pop_front();
                    }
                    (path, output)
                }
            };
        let output = Arc::clone(&used.1);
        self.open.push_back(used);
        Ok(output)
    }
}

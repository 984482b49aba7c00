//! The open files of one exporter id.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::config::{Config, RotationConfig};
use crate::group::Pattern;
use crate::output::{Mode, Output};
use crate::place::{Place, make_folder};

/// How many files of groups are remembered as begun by this run. Further ones are never truncated.
const MAX_BEGUN: usize = 65_536;

/// One store for each id, shared by the exporters of all signals.
#[derive(Debug, Default)]
pub(crate) struct Stores(Mutex<BTreeMap<String, Weak<Store>>>);

/// Files that are written.
#[derive(Debug)]
pub(crate) struct Store {
    config: Config,
    files: Mutex<Files>,
}

#[derive(Debug)]
enum Files {
    One(Output),
    Groups(Groups),
}

#[derive(Debug)]
struct Groups {
    pattern: Pattern,
    /// The one used last is last.
    open: VecDeque<(PathBuf, Output)>,
    begun: BTreeSet<PathBuf>,
}

impl Stores {
    /// The store of an id with that configuration; opens it when it is not open.
    ///
    /// # Errors
    /// The file cannot be opened: which, why, and the cure.
    pub(crate) fn open(&self, id: &str, config: &Config) -> Result<Arc<Store>, String> {
        let mut stores = lock(&self.0);
        if let Some(store) = stores.get(id).and_then(Weak::upgrade).filter(|store| store.config == *config) {
            return Ok(store);
        }
        let store = Arc::new(Store::open(config)?);
        stores.insert(id.to_owned(), Arc::downgrade(&store));
        Ok(store)
    }
}

impl Store {
    fn open(config: &Config) -> Result<Store, String> {
        let mode = config.directory_mode()?;
        let files = if config.group_by.enabled {
            let pattern = Pattern::new(&config.path);
            Files::Groups(Groups { pattern, open: VecDeque::new(), begun: BTreeSet::new() })
        } else {
            let path = Path::new(&config.path);
            let made = if config.create_directory { make_folder(path, mode) } else { Ok(()) };
            let begin = if config.append || config.rotation.is_on() { Mode::Append } else { Mode::Truncate };
            let opened = made.and_then(|()| Output::open(Place::configured(path), begin, rotation(config)));
            Files::One(opened.map_err(|error| {
                let cure = match error.kind() {
                    io::ErrorKind::NotFound => "make its folder, or set create_directory: true",
                    _ => "give a path that can be written",
                };
                format!("open {}: {error}; {cure}", config.path)
            })?)
        };
        Ok(Store { config: config.clone(), files: Mutex::new(files) })
    }

    /// Adds a record to the file, or to that of a group.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, group: Option<&str>, record: &[u8], now: u64) -> io::Result<()> {
        match &mut *lock(&self.files) {
            Files::One(output) => output.write(record, now),
            Files::Groups(groups) => groups.of(group.unwrap_or_default(), &self.config)?.write(record, now),
        }
    }
}

impl Groups {
    /// The file of a group, opened if it is not; the one that was not used for longest is closed for it.
    fn of(&mut self, group: &str, config: &Config) -> io::Result<&mut Output> {
        let path = self.pattern.file(group);
        let used =
            match self.open.iter().rposition(|(open, _)| *open == path).and_then(|at| self.open.remove(at)) {
                Some(open) => open,
                None => {
                    let mode = config.directory_mode().unwrap_or(0o755);
                    let place = Place::below(self.pattern.folder(), &path, mode)?;
                    let known = self.begun.contains(&path) || self.begun.len() >= MAX_BEGUN;
                    let stays = config.append || config.rotation.is_on() || known;
                    let mode = if stays { Mode::Append } else { Mode::Truncate };
                    let output = Output::open(place, mode, rotation(config))?;
                    if !known {
                        self.begun.insert(path.clone());
                    }
                    if self.open.len() >= config.group_by.max_open_files as usize {
                        self.open.pop_front();
                    }
                    (path, output)
                }
            };
        self.open.push_back(used);
        match self.open.back_mut() {
            Some((_, output)) => Ok(output),
            None => Err(io::Error::other("no file is open")),
        }
    }
}

fn rotation(config: &Config) -> Option<RotationConfig> {
    config.rotation.as_ref().cloned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

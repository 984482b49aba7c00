use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use weir_disk_queue::{Directory, File, Fs};
use weir_testkit::Simulation;

use super::*;

/// The directory of a queue, of which some calls panic.
struct Faulty {
    directory: Directory,
    /// So many times opening a file does.
    panics: Arc<AtomicUsize>,
}

impl Fs for Faulty {
    fn list(&self) -> io::Result<Vec<String>> {
        self.directory.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.directory.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let left = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "a bug");
        self.directory.open(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.directory.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.directory.rename(from, to)
    }

    fn sync(&self) -> io::Result<()> {
        self.directory.sync()
    }

    fn restore(&self) -> io::Result<()> {
        self.directory.restore()
    }

    fn place(&self) -> String {
        self.directory.place()
    }

    fn now(&self) -> Duration {
        self.directory.now()
    }
}

#[test]
fn a_read_that_panics_is_tried_again_after_a_pause() {
    const PANICS: usize = 3;
    let directory = tempfile::tempdir().expect("a folder");
    let panics = Arc::new(AtomicUsize::new(0));
    let folder = Directory::open(directory.path(), "q").expect("opened");
    let fs = Arc::new(Faulty { directory: folder, panics: Arc::clone(&panics) });
    let simulation = Simulation::new(1);
    simulation.contain_panics();
    let host = weir_testkit::host(&simulation);
    let clock = simulation.clock();
    let now = clock.now();
    // Nothing is kept in memory for the reader.
    let queue = Queue::open(fs, Options { read_ahead: 0, ..Options::default() }).expect("opened");
    let metrics = Metrics::new("file_storage", "q", &host);
    let shared = Shared::new(queue, directory.path(), host, clock.clone(), Arc::default());
    let handle = Handle::new(Arc::new(shared), metrics);
    let taken = simulation.run(async move {
        let record = Record { parts: vec![Bytes::from_static(b"a")], items: 1 };
        handle.append(record, Capacity { size: 1, sizer: Sizer::Requests }).await.expect("durable");
        panics.store(PANICS, Ordering::SeqCst);
        handle.take().await.expect("a record")
    });
    assert_eq!(taken.expect("it ends").bytes, "a");
    assert_eq!(simulation.panics(), PANICS);
    assert_eq!(clock.now() - now, PAUSE * 3);
}

use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use tracing::level_filters::LevelFilter;
use weir_disk_queue::{Directory, File, Fs};
use weir_testkit::{Simulation, logged};

use super::*;

/// The directory of a queue, of which some calls panic, with a clock of its own.
struct Faulty {
    directory: Directory,
    /// So many times opening a file does.
    panics: Arc<AtomicUsize>,
    /// How often somebody looked at the clock, and what passes with each look.
    looks: AtomicUsize,
    pace: Duration,
}

impl Faulty {
    fn new(parent: &Path, pace: Duration) -> Faulty {
        let directory = Directory::open(parent, "q").expect("opened");
        Faulty { directory, panics: Arc::default(), looks: AtomicUsize::new(0), pace }
    }
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
        let looks = self.looks.fetch_add(1, Ordering::SeqCst);
        self.pace * u32::try_from(looks).unwrap_or(u32::MAX)
    }
}

#[test]
fn a_read_that_panics_is_tried_again_after_a_pause() {
    const PANICS: usize = 3;
    let directory = tempfile::tempdir().expect("a folder");
    let fs = Faulty::new(directory.path(), Duration::ZERO);
    let panics = Arc::clone(&fs.panics);
    let fs = Arc::new(fs);
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

#[test]
fn who_waits_for_a_large_queue_to_be_opened_hears_now_and_then_how_far_that_is() {
    let directory = tempfile::tempdir().expect("a folder");
    let open = |pace| {
        let fs = Arc::new(Faulty::new(directory.path(), pace));
        Queue::open(fs, Options { segment_bytes: 1000, ..Options::default() }).expect("opened")
    };
    let queue = open(Duration::ZERO);
    for _ in 0..20 {
        queue.submit(vec![Bytes::from(vec![7; 976])], 1, |_| true, |_| {});
        queue.commit();
    }
    drop(queue);
    let told = |pace| logged(LevelFilter::INFO, || drop(open(pace)));
    assert_eq!(told(Duration::ZERO), [""; 0]);
    let told = told(Duration::from_secs(1));
    assert!((3..=5).contains(&told.len()), "{told:?}");
    assert!(told[0].contains("read_bytes=5000;left_bytes=15000;"), "{told:?}");
}

//! Where text goes out: standard error, standard output, files.
//!
//! # Design
//! Whoever reads them may stand still: a terminal that is paused, a log driver that blocks, a file system that hangs.
//! Nothing that moves telemetry may wait for that, so each output has a queue and a thread that writes it, in order.
//!
//! That thread also opens a file, for which [`PATIENCE`] is waited, so that a mistake shows at the start. A named pipe opens whether
//! or not somebody reads it. A file that was moved away is followed by another when that is asked for ([`look_again`]).
//!
//! A queue holds [`ROOM`] bytes and one text more. What finds it full is counted instead, until half of it has been
//! written; then the log says how much is missing. What says that something was lost ([`Worth::Loss`]) has as much room again.
//! An output that fails is told of once, until it works again.
//!
//! At the end of the process what is queued is waited for, [`PATIENCE`] long.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weir_config::telemetry::OutputPath;

use crate::UNSAMPLED;
use crate::file::Appended;
#[cfg(doc)]
use crate::look_again;

/// Bytes that wait for an output at most.
const ROOM: usize = 1 << 20;

/// How long an output may take nothing before nobody waits for it any more, and how long an end waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Target of lines about outputs that cannot be written, which are for `error_output_paths` alone.
pub(crate) const OUTPUT_FAILED: &str = "weir::output";

/// What is lost with a text that is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// One line of many.
    Usual,
    /// The only word about something that was lost.
    Loss,
}

/// One output. Closed when it is dropped; what is queued is written still.
pub struct Outlet(Arc<Shared>);

struct Shared {
    name: String,
    patience: Duration,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    texts: VecDeque<String>,
    /// Of the queued ones and of the one that is being written.
    bytes: usize,
    /// How many have been written, or could not be.
    taken: u64,
    /// How many found no room since there was some.
    missing: u64,
    /// It has taken nothing for too long at the end.
    given_up: bool,
    closed: bool,
}

impl Outlet {
    /// # Errors
    /// The file cannot be opened: which and why. Or the system refuses a thread.
    pub(crate) fn open(path: &str) -> io::Result<Arc<Outlet>> {
        match OutputPath::parse(path).map_err(io::Error::other)? {
            OutputPath::Stderr => stderr(),
            OutputPath::Stdout => stdout(),
            OutputPath::File(file) => Outlet::file(&file)
                .map_err(|e| io::Error::new(e.kind(), format!("open log file {file}: {e}"))),
        }
    }

    /// A file, which is made where it is not there and appended to. Blocks, for a second at most: what takes longer to open is
    /// a file that takes nothing for a while.
    ///
    /// # Errors
    /// It cannot be opened, or the system refuses a thread.
    pub fn file(path: &str) -> io::Result<Arc<Outlet>> {
        let file = path.to_owned();
        Outlet::opening(PATIENCE, path, move || Appended::open(&file))
    }

    pub(crate) fn new(name: &str, to: impl Write + Send + 'static) -> io::Result<Arc<Outlet>> {
        Outlet::with_patience(PATIENCE, name, to)
    }

    fn with_patience(
        patience: Duration,
        name: &str,
        to: impl Write + Send + 'static,
    ) -> io::Result<Arc<Outlet>> {
        Outlet::run(patience, name, move |shared| shared.work(to))
    }

    fn opening<W: Write>(
        patience: Duration,
        name: &str,
        open: impl FnOnce() -> io::Result<W> + Send + 'static,
    ) -> io::Result<Arc<Outlet>> {
        let (tell, told) = sync_channel(1);
        let outlet = Outlet::run(patience, name, move |shared| match open() {
            Ok(to) => {
                drop(tell.send(Ok(())));
                shared.work(to);
            }
            Err(error) => {
                let unopened = Unopened(error.kind(), error.to_string());
                // Whoever does not wait any more learns it with the first text.
                drop(tell.send(Err(error)));
                shared.work(unopened);
            }
        })?;
        match told.recv_timeout(patience) {
            Ok(opened) => opened.map(|()| outlet),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(outlet),
        }
    }

    fn run(
        patience: Duration,
        name: &str,
        work: impl FnOnce(&Shared) + Send + 'static,
    ) -> io::Result<Arc<Outlet>> {
        let (queue, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { name: name.to_owned(), patience, queue, changed });
        let worker = Arc::clone(&shared);
        std::thread::Builder::new().name("weir-output".to_owned()).spawn(move || work(&worker))?;
        Ok(Arc::new(Outlet(shared)))
    }

    /// Queues a text. Never waits.
    pub fn write(&self, text: String, worth: Worth) {
        self.put(self.0.lock(), text, worth);
    }

    /// The same, but waits for room as long as the output takes something. Blocks.
    pub fn write_patiently(&self, text: String) {
        let mut queue = self.0.lock();
        while queue.missing == 0 && queue.bytes >= ROOM {
            let taken = queue.taken;
            let waited =
                self.0.changed.wait_timeout_while(queue, self.0.patience, |queue| queue.taken == taken);
            let (next, result) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = next;
            if result.timed_out() {
                break;
            }
        }
        self.put(queue, text, Worth::Usual);
    }

    fn put(&self, mut queue: MutexGuard<'_, Queue>, text: String, worth: Worth) {
        let room = match worth {
            Worth::Usual => queue.missing == 0 && queue.bytes < ROOM,
            Worth::Loss => queue.bytes < 2 * ROOM,
        };
        if room {
            queue.bytes += cost(&text);
            queue.texts.push_back(text);
        } else {
            queue.missing += 1;
        }
        drop(queue);
        self.0.changed.notify_all();
    }

    /// Waits until all is written, or a second is over, which is never waited for again. Whether all is written. Blocks.
    pub fn flush(&self) -> bool {
        let mut queue = self.0.lock();
        if !queue.given_up {
            let waits = |queue: &mut Queue| queue.bytes > 0;
            let waited = self.0.changed.wait_timeout_while(queue, self.0.patience, waits);
            let (waited, result) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = waited;
            queue.given_up = result.timed_out();
        }
        queue.bytes == 0
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what comes until the outlet is closed.
    fn work(&self, mut to: impl Write) {
        let mut failing = false;
        while let Some(text) = self.next() {
            let written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
            if let (Err(error), false) = (&written, failing) {
                tracing::warn!(
                    target: OUTPUT_FAILED,
                    output = self.name,
                    %error,
                    "Cannot write to an output; what it is given is lost until it can be written again"
                );
            }
            failing = written.is_err();
            self.taken(cost(&text));
        }
    }

    fn next(&self) -> Option<String> {
        let waits = |queue: &mut Queue| queue.texts.is_empty() && !queue.closed;
        let waited = self.changed.wait_while(self.lock(), waits);
        waited.unwrap_or_else(PoisonError::into_inner).texts.pop_front()
    }

    fn taken(&self, bytes: usize) {
        let missing = {
            let mut queue = self.lock();
            let room = queue.bytes - bytes <= ROOM / 2;
            if room { std::mem::take(&mut queue.missing) } else { 0 }
        };
        if missing > 0 {
            tracing::warn!(
                target: UNSAMPLED,
                output = self.name,
                missing,
                "An output took nothing for a while; so many lines or texts for it were not written"
            );
        }
        let mut queue = self.lock();
        queue.bytes -= bytes;
        queue.taken += 1;
        drop(queue);
        self.changed.notify_all();
    }
}

/// A file that could not be opened.
struct Unopened(io::ErrorKind, String);

impl Write for Unopened {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::new(self.0, self.1.clone()))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a text counts for; an empty one, too, takes memory.
fn cost(text: &str) -> usize {
    text.len() + size_of::<String>()
}

/// The outlets of the process's streams, once they are used. They stay open.
static STDERR: Mutex<Option<Arc<Outlet>>> = Mutex::new(None);
static STDOUT: Mutex<Option<Arc<Outlet>>> = Mutex::new(None);

/// Standard error.
///
/// # Errors
/// The system refuses a thread.
pub fn stderr() -> io::Result<Arc<Outlet>> {
    standard(&STDERR, || Outlet::new("stderr", io::stderr()))
}

/// Standard output.
///
/// # Errors
/// The system refuses a thread.
pub fn stdout() -> io::Result<Arc<Outlet>> {
    standard(&STDOUT, || Outlet::new("stdout", io::stdout()))
}

fn standard(
    known: &Mutex<Option<Arc<Outlet>>>,
    open: impl FnOnce() -> io::Result<Arc<Outlet>>,
) -> io::Result<Arc<Outlet>> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(outlet) = &*known {
        return Ok(Arc::clone(outlet));
    }
    let outlet = open()?;
    *known = Some(Arc::clone(&outlet));
    Ok(outlet)
}

fn opened(known: &Mutex<Option<Arc<Outlet>>>) -> Option<Arc<Outlet>> {
    known.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Prints to standard error: behind the log's lines once there are any, and directly before. A closed stream leaves
/// nobody to tell.
pub fn eprint(text: &str) {
    match opened(&STDERR) {
        Some(outlet) => outlet.write(text.to_owned(), Worth::Loss),
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// When it is dropped, also by a panic, what is queued for the process's streams is written, unless they take nothing for a
/// second.
#[derive(Debug)]
pub struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        for outlet in [&STDERR, &STDOUT].into_iter().filter_map(opened) {
            outlet.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use std::process::Command;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, SyncSender};

    use tracing::{Event, Subscriber};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    impl Outlet {
        /// Waits until all is written.
        pub(crate) fn settle(&self) {
            drop(self.0.changed.wait_while(self.0.lock(), |queue| queue.bytes > 0));
        }
    }

    /// A reader that takes one text whenever it is asked to.
    struct Reader {
        asks: SyncSender<()>,
        texts: Receiver<String>,
    }

    struct Pipe {
        asked: Receiver<()>,
        texts: SyncSender<String>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.asked.recv().map_err(io::Error::other)?;
            let text = String::from_utf8(bytes.to_vec()).map_err(io::Error::other)?;
            self.texts.send(text).map_err(io::Error::other)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Reader {
        fn take(&self) -> String {
            self.asks.send(()).expect("the thread waits");
            self.texts.recv().expect("a text")
        }
    }

    fn outlet(patience: Duration) -> (Arc<Outlet>, Reader) {
        let ((asks, asked), (texts, taken)) = (sync_channel(0), sync_channel(1));
        let outlet = Outlet::with_patience(patience, "test", Pipe { asked, texts }).expect("a thread");
        (outlet, Reader { asks, texts: taken })
    }

    /// Of half the room.
    fn large(name: char) -> String {
        name.to_string().repeat(ROOM / 2)
    }

    #[test]
    fn nobody_waits_for_an_output_that_takes_nothing() {
        let (outlet, reader) = outlet(LONG);
        for name in 'a'..='h' {
            outlet.write(large(name), Worth::Usual);
        }
        assert_eq!(outlet.0.lock().missing, 6, "two fill the room");
        outlet.write("lost".to_owned(), Worth::Loss);
        outlet.write("usual".to_owned(), Worth::Usual);
        assert_eq!(outlet.0.lock().missing, 7, "what says that something was lost has room still");
        assert_eq!([reader.take(), reader.take()], [large('a'), large('b')]);
        assert_eq!(reader.take(), "lost");
        outlet.settle();
        assert_eq!(outlet.0.lock().missing, 0, "the log says so");
        outlet.write("again".to_owned(), Worth::Usual);
        assert_eq!(reader.take(), "again");
    }

    #[test]
    fn an_end_does_not_wait_for_an_output_that_takes_nothing() {
        let (outlet, reader) = outlet(Duration::ZERO);
        outlet.write("a".to_owned(), Worth::Usual);
        outlet.flush();
        assert!(outlet.0.lock().given_up);
        assert_eq!(reader.take(), "a");
    }

    #[test]
    fn a_patient_text_does_not_wait_for_an_output_that_takes_nothing() {
        let (outlet, reader) = outlet(Duration::ZERO);
        ('a'..='d').for_each(|name| outlet.write_patiently(large(name)));
        assert_eq!(outlet.0.lock().missing, 2);
        drop(reader);
    }

    #[test]
    fn a_patient_text_waits_for_one_that_is_being_written() {
        let (outlet, reader) = outlet(LONG);
        for name in 'a'..='b' {
            outlet.write(large(name), Worth::Usual);
        }
        let writer = Arc::clone(&outlet);
        let patient = std::thread::spawn(move || writer.write_patiently("c".to_owned()));
        assert_eq!([reader.take(), reader.take(), reader.take()], [large('a'), large('b'), "c".to_owned()]);
        patient.join().expect("it ended");
    }

    /// Has no room for most texts.
    struct Full;

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes == b"fits" { Ok(bytes.len()) } else { Err(io::ErrorKind::StorageFull.into()) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Counts lines about outputs that fail.
    struct Failures(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Failures {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(usize::from(event.metadata().target() == OUTPUT_FAILED), Ordering::Relaxed);
        }
    }

    #[test]
    fn an_output_that_fails_is_named_once_until_it_works_again() {
        // Without one that listens everywhere, another test's thread could decide that nobody listens to these lines.
        drop(tracing::subscriber::set_global_default(tracing_subscriber::registry()));
        let count = Arc::<AtomicUsize>::default();
        let failures = tracing_subscriber::registry().with(Failures(Arc::clone(&count)));
        let texts: VecDeque<String> = ["a", "b", "fits", "c", "d"].map(str::to_owned).into();
        let bytes = texts.iter().map(|text| cost(text)).sum();
        let queue = Mutex::new(Queue { texts, bytes, closed: true, ..Queue::default() });
        let shared = Shared { name: "test".to_owned(), patience: LONG, queue, changed: Condvar::new() };
        tracing::subscriber::with_default(failures, || shared.work(Full));
        assert_eq!((count.load(Ordering::Relaxed), shared.lock().taken), (2, 5));
    }

    #[test]
    fn a_named_pipe_that_nobody_reads_yet_opens_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
        let (tell, told) = sync_channel(1);
        let opens = path.display().to_string();
        std::thread::spawn(move || tell.send(Appended::open(&opens)));
        let pipe = told.recv_timeout(Duration::from_secs(60)).expect("it opens").expect("a pipe");
        let outlet = Outlet::new("test", pipe).expect("a thread");
        outlet.write("a\n".to_owned(), Worth::Usual);
        let mut line = String::new();
        BufReader::new(File::open(path).expect("opened")).read_line(&mut line).expect("readable");
        assert_eq!(line, "a\n");
    }

    #[test]
    fn nobody_waits_for_a_file_that_does_not_open() {
        let (open, opens) = sync_channel(1);
        let (asks, asked) = sync_channel(0);
        let (texts, taken) = sync_channel(1);
        let outlet =
            Outlet::opening(Duration::ZERO, "test", move || opens.recv().map_err(io::Error::other)?);
        let outlet = outlet.expect("what it says is not known yet");
        outlet.write("a".to_owned(), Worth::Usual);
        assert!(!outlet.flush());
        open.send(Ok(Pipe { asked, texts })).expect("it opens now");
        assert_eq!(Reader { asks, texts: taken }.take(), "a");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_or_takes_nothing_when_that_comes_too_late() {
        let refuses = || Err::<File, _>(io::Error::from(io::ErrorKind::PermissionDenied));
        let error = Outlet::opening(LONG, "test", refuses).err().expect("refused");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let (open, opens) = sync_channel::<io::Result<File>>(1);
        let late = Outlet::opening(Duration::ZERO, "test", move || opens.recv().map_err(io::Error::other)?);
        let late = late.expect("what it says is not known yet");
        late.write("a".to_owned(), Worth::Usual);
        open.send(refuses()).expect("it says so");
        late.settle();
        assert_eq!(late.0.lock().taken, 1);
    }

    #[test]
    fn what_is_queued_is_written_when_an_outlet_is_dropped() {
        let (outlet, reader) = outlet(LONG);
        outlet.write("a".to_owned(), Worth::Usual);
        outlet.write("b".to_owned(), Worth::Usual);
        drop(outlet);
        assert_eq!([reader.take(), reader.take()], ["a", "b"]);
        assert!(reader.texts.recv().is_err(), "the thread has ended");
    }
}

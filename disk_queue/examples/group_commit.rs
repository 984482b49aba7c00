//! What durability costs: syncs per record and how long a sender waits, by the number of senders. Takes the directory to
//! measure in: `cargo run --release -p weir-disk-queue --example group_commit -- /var/tmp`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_disk_queue::{Directory, Options, Queue, Submitted};

/// Records of each sender.
const RECORDS: usize = 300;

/// A request of 100 spans.
const BYTES: usize = 41_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let mut lines =
        vec!["| senders | fsync | syncs per record | p50 ms | p99 ms | records per s |".to_owned()];
    for (senders, fsync) in [(1, true), (8, true), (32, true), (128, true), (1, false), (32, false)] {
        lines.push(measure(tempfile::tempdir_in(&parent)?.path(), senders, fsync)?);
    }
    std::io::Write::write_all(&mut std::io::stdout(), (lines.join("\n") + "\n").as_bytes())?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

fn measure(
    parent: &std::path::Path,
    senders: usize,
    fsync: bool,
) -> Result<String, Box<dyn std::error::Error>> {
    let directory = Arc::new(Directory::open(parent, "queue")?);
    let queue = Arc::new(Queue::open(directory, Options { fsync, ..Options::default() })?);
    // Who commits is none of the senders, as in the agent.
    let (call, called) = sync_channel(1);
    let committer = Arc::clone(&queue);
    let committing = thread::spawn(move || called.iter().for_each(|()| committer.commit()));
    let begun = now();
    let sender = || (Arc::clone(&queue), call.clone());
    let threads: Vec<_> =
        (0..senders).map(|_| sender()).map(|(q, call)| thread::spawn(move || send(&q, &call))).collect();
    let mut waits: Vec<Duration> = threads.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect();
    let took = begun.elapsed().as_secs_f64();
    drop(call);
    drop(committing.join());
    waits.sort_unstable();
    let millis = |share: usize| waits[waits.len() * share / 100].as_secs_f64() * 1e3;
    let records = waits.len() as f64;
    Ok(format!(
        "| {senders} | {fsync} | {:.3} | {:.2} | {:.2} | {:.0} |",
        queue.counters().fsyncs as f64 / records,
        millis(50),
        millis(99),
        records / took
    ))
}

/// Sends one record after the other and waits for each; how long each took.
fn send(queue: &Queue, call: &SyncSender<()>) -> Vec<Duration> {
    let body = Bytes::from(vec![7; BYTES]);
    let one = || {
        let begun = now();
        let (tell, told) = sync_channel(1);
        let submitted =
            queue.submit(vec![body.clone()], 100, |_| true, move |outcome| drop(tell.send(outcome)));
        if submitted == Submitted::Commit {
            // The committer is there as long as senders are.
            call.send(()).unwrap_or_default();
        }
        drop(told.recv());
        begun.elapsed()
    };
    (0..RECORDS).map(|_| one()).collect()
}

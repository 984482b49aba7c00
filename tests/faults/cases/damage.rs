//! 8: files of a queue that were damaged while nobody looked.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::durable::{Durable, RECORDS};
use super::{Case, Outcome};
use crate::agent::{Kind, wait_until};

pub(crate) const CASES: [Case; 1] = [Case {
    number: 8,
    name: "file of the queue truncated to half; 4 KiB at its head random; 64 bits flipped; 4 KiB zeroed",
    settings: "fsync: true, each after kill -9 with 10,000 records waiting",
    bar: "starts, loses only what is damaged, counts it exactly, nothing corrupt",
    run: damaged,
}];

const PAGE: usize = 4096;

/// A kind of damage, and how many requests of `all` it may cost.
struct Damage {
    name: &'static str,
    change: fn(&mut Vec<u8>),
    most: fn(usize) -> usize,
}

/// A request is larger than a page, so that a page is part of two at most.
const DAMAGES: [Damage; 4] = [
    Damage { name: "truncated", change: |b| b.truncate(b.len() / 2), most: |all| all / 2 + 2 },
    Damage { name: "head", change: |b| b[..PAGE].copy_from_slice(&noise()), most: |_| 2 },
    Damage { name: "flips", change: |b| flip(b), most: |_| 64 },
    Damage { name: "zeroed", change: |b| zero(b), most: |_| 2 },
];

fn noise() -> [u8; PAGE] {
    let mut state = 1_u32;
    [(); PAGE].map(|()| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

/// Flips bits that are spread over the whole file.
fn flip(bytes: &mut [u8]) {
    let step = bytes.len() / 64;
    (0..64).for_each(|n| bytes[n * step + n * 37 % step] ^= 1 << (n % 8));
}

fn zero(bytes: &mut [u8]) {
    let middle = bytes.len() / 2 / PAGE * PAGE;
    bytes[middle..middle + PAGE].fill(0);
}

fn damaged(kind: Kind) -> Outcome {
    let mut outcome = Outcome { fired: true, ..Outcome::default() };
    for damage in &DAMAGES {
        let mut one = Outcome::default();
        damaged_by(kind, damage, &mut one);
        outcome.fired &= one.fired;
        outcome.seen.push(format!("{}: {}", damage.name, one.seen.join(", ")));
        outcome.broken.extend(one.broken.into_iter().map(|what| format!("{}: {what}", damage.name)));
    }
    outcome
}

fn damaged_by(kind: Kind, damage: &Damage, outcome: &mut Outcome) {
    let mut durable = Durable::new(kind, false);
    let enough = durable.fill(10_000);
    outcome.fired = enough && durable.bench.agent.kill();
    let file = largest(durable.path());
    let mut bytes = fs::read(&file).expect("read");
    (damage.change)(&mut bytes);
    fs::write(&file, bytes).expect("written");
    durable.bench.backend.come_up();
    if !durable.bench.start_again(outcome) {
        let lost = durable.bench.oracle.missing();
        outcome.see(format!("does not start, {lost} out of reach"));
        return;
    }
    // Everything has come but what is said to be lost.
    wait_until(Duration::from_secs(60), || {
        (durable.bench.oracle.missing() == said_lost(&durable.bench.agent.log()) * RECORDS).then_some(())
    });
    let said = said_lost(&durable.bench.agent.log());
    let all = durable.bench.oracle.acknowledged() / RECORDS;
    outcome.see(format!("{said} requests said to be lost"));
    durable.bench.check_alive(outcome);
    let lost = durable.bench.oracle.sums().lost;
    // Damage to what nobody reads is none.
    outcome.fired &= lost > 0;
    outcome.judge_said(&durable.bench.oracle, said * RECORDS);
    let most = (damage.most)(all);
    outcome.require(lost <= most * RECORDS, format!("{lost} records lost, {} damaged", most * RECORDS));
}

/// Requests that an agent says it has lost.
fn said_lost(log: &str) -> usize {
    let lines = log.lines().filter(|l| l.contains("are damaged and lost"));
    let count = |line: &str| {
        let rest = line.split("\"lost_records\": ").nth(1)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
    };
    lines.filter_map(count).sum()
}

/// The largest file below a directory: where the records are.
fn largest(directory: &Path) -> PathBuf {
    let (mut files, mut folders) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("listed").flatten() {
            let kind = entry.file_type().expect("known");
            if kind.is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files.into_iter().max_by_key(|f| fs::metadata(f).map_or(0, |m| m.len())).expect("a file")
}

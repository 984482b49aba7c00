//! Lives of a queue that an input tells, with damage of any kind to its files; a target of `fuzz/` brings this file in too.

use crate::model::{Crash, Dice};
use crate::world::World;

/// Lets a queue live as `script` says, two bytes for each step, and checks what it promises: it always opens, gives no record
/// that was not sent or was changed, counts what damage of segments cost, loses nothing by damaged acks, and takes fresh
/// records. A life has damage of one kind, which the first byte tells: acks tell what a damaged segment had.
pub(crate) fn live(script: &[u8]) {
    let Some((kind, script)) = script.split_first() else { return };
    let kind = if kind % 2 == 0 { ".segment" } else { ".acks" };
    let (mut world, mut damaged) = (World::new(7), false);
    for step in script.chunks_exact(2).take(100) {
        let (what, how) = (step[0], usize::from(step[1]));
        match what % 12 {
            0..4 => world.send(1 + how as u64 % 5),
            4 | 5 => drop(world.take()),
            6 => world.finish(how),
            7 => world.save(),
            // A power loss may take the acks that tell what a segment had.
            8 if kind == ".acks" => world.crash(Crash::Power),
            8 | 9 => world.crash(Crash::Kill),
            _ => {
                // What was committed is known once it is saved, and nobody changes files under a queue that is open.
                world.save();
                world.close();
                damaged |= damage(&world, kind, what, how);
                world.crash(Crash::Kill);
                assert!(world.queue.is_some(), "it always opens");
            }
        }
    }
    world.check(7, damaged);
}

/// Changes one file of that kind; false when the change costs no record.
fn damage(world: &World, kind: &str, what: u8, how: usize) -> bool {
    let mut dice = Dice(u64::from(what) << 8 | how as u64);
    let files: Vec<_> = world.disk.names().into_iter().filter(|name| name.ends_with(kind)).collect();
    let Some(name) = files.get(how % files.len().max(1)).cloned() else { return false };
    let what = (what / 12) % 7;
    if what == 6 && kind == ".segment" {
        world.disk.unlink(|other| other == name);
        return true;
    }
    world.disk.damage(
        |_| Some(name.clone()),
        |bytes| {
            let length = bytes.len() as u64;
            let at = dice.below(length) as usize;
            match what {
                0 if length > 0 => bytes[at] ^= 1 << (how % 8),
                1 => bytes.truncate(at),
                2 => bytes[at..].fill(how as u8),
                3 => bytes.extend(std::iter::repeat_n(how as u8, 1 + how)),
                4 => drop(bytes.splice(at..at, [how as u8; 8])),
                // A part of it again, as it was: what a disk does that mixes up its sectors. Not without end.
                _ if length < 64 << 10 => bytes.extend_from_within(at..),
                _ => {}
            }
        },
    );
    kind == ".segment"
}

#[cfg(test)]
mod tests {
    use super::live;
    use crate::corpus::corpus;

    #[test]
    fn queues_that_the_corpus_damages_lose_nothing_without_a_count() {
        corpus("disk_queue").iter().for_each(|script| live(script));
    }
}

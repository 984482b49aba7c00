//! Which messages are printed.

use std::sync::{Mutex, PoisonError};

use weir_component::Instant;

/// Buckets that messages fall into by hash; as many as in the Collector, whose equal and colliding messages are one.
const BUCKETS: u32 = 4096;
const SECOND: u64 = 1_000_000_000;

/// Per second lets through the first so many of equal messages, and then every so-many-th.
pub(crate) struct Sampler {
    initial: u64,
    thereafter: u64,
    buckets: Mutex<Vec<Bucket>>,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// When its second ends, ns on the engine's clock.
    ends: u64,
    seen: u64,
}

impl Sampler {
    /// Negative numbers mean no limit for the first, and nothing further for the second.
    pub(crate) fn new(initial: i64, thereafter: i64) -> Sampler {
        let initial = u64::try_from(initial).unwrap_or(u64::MAX);
        let thereafter = u64::try_from(thereafter).unwrap_or(0);
        Sampler { initial, thereafter, buckets: Mutex::default() }
    }

    /// Counts a message and says whether to print it.
    pub(crate) fn admits(&self, message: &str, now: Instant) -> bool {
        if self.thereafter == 1 {
            return true;
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.is_empty() {
            buckets.resize(BUCKETS as usize, Bucket::default());
        }
        let bucket = &mut buckets[(fnv1a(message) % BUCKETS) as usize];
        let now = now.as_nanos();
        if bucket.seen == 0 || now >= bucket.ends {
            *bucket = Bucket { ends: now.saturating_add(SECOND), seen: 0 };
        }
        bucket.seen += 1;
        match bucket.seen.checked_sub(self.initial) {
            None | Some(0) => true,
            Some(further) => self.thereafter != 0 && further % self.thereafter == 0,
        }
    }
}

/// FNV-1a, 32 bits.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(sampler: &Sampler, message: &str, count: u64, at: u64) -> Vec<u64> {
        (1..=count).filter(|_| sampler.admits(message, Instant::from_nanos(at))).collect()
    }

    #[test]
    fn the_first_of_a_second_and_every_nth_further_one_pass() {
        assert_eq!(admitted(&Sampler::new(2, 3), "Logs", 9, 5), [1, 2, 5, 8]);
        assert_eq!(admitted(&Sampler::new(0, 4), "Logs", 9, 5), [4, 8]);
        assert_eq!(admitted(&Sampler::new(2, 0), "Logs", 9, 5), [1, 2]);
        assert_eq!(admitted(&Sampler::new(2, 1), "Logs", 4, 5), [1, 2, 3, 4]);
        assert_eq!(admitted(&Sampler::new(-1, 0), "Logs", 4, 5), [1, 2, 3, 4]);
    }

    #[test]
    fn other_messages_and_the_next_second_count_anew() {
        let sampler = Sampler::new(1, 0);
        assert_eq!(admitted(&sampler, "Logs", 3, 7), [1]);
        assert_eq!(admitted(&sampler, "ResourceLog #0", 3, 7), [1]);
        assert_eq!(admitted(&sampler, "Logs", 3, 6 + SECOND), [0; 0]);
        assert_eq!(admitted(&sampler, "Logs", 3, 7 + SECOND), [1]);
    }
}

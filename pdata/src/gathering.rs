//! A payload that grows by many requests.
//!
//! Merging moves chunks ([`Payload::append`]), so each request of one item stays a buffer of its own with all that belongs to
//! one, until it is sent. Here small requests can be copied one behind the other into blocks instead, once: 8,192 of one span
//! then take little more memory than their bytes, and go out as they lie there.
//!
//! Profiles wait as they came and are merged when they go, each part on its own. So each is copied once, however many there are,
//! and what a cut leaves over has the dictionary of its own request and not those of all that went before.

use std::mem;

use bytes::Bytes;

use crate::{Limit, Payload, Signal, profiles};

/// Requests from this size on are kept as they were received: copying them would cost more than they cost each.
const SMALL: usize = 8 << 10;

/// Size of a block.
const BLOCK: usize = 64 << 10;

/// What makes the bytes of a full block, and may tie to them what accounts for them. It must not change them.
type Keep = Box<dyn Fn(Vec<u8>) -> Bytes + Send>;

/// A payload to which requests are added.
pub struct Gathering {
    /// Of profiles, with requests that are not merged.
    payload: Payload,
    block: Vec<u8>,
    /// Items of the block.
    items: usize,
    /// Without it nothing is copied into blocks.
    keep: Option<Keep>,
}

impl From<Payload> for Gathering {
    /// To be followed by others, all of which are kept as they were received.
    fn from(payload: Payload) -> Gathering {
        Gathering { payload, block: Vec::new(), items: 0, keep: None }
    }
}

impl Gathering {
    /// Nothing yet of that signal; small requests will lie in blocks. `keep` is given every block with its capacity once nothing
    /// is added to it any more.
    pub fn in_blocks(signal: Signal, keep: impl Fn(Vec<u8>) -> Bytes + Send + 'static) -> Gathering {
        Gathering { keep: Some(Box::new(keep)), ..Gathering::from(Payload::empty(signal)) }
    }

    /// Its signal.
    pub fn signal(&self) -> Signal {
        self.payload.signal()
    }

    /// Number of spans, data points, log records or samples.
    pub fn items(&self) -> usize {
        self.payload.items() + self.items
    }

    /// Encoded size in bytes; profiles that are merged may take a little more or less.
    pub fn encoded_len(&self) -> usize {
        self.payload.encoded_len() + self.block.len()
    }

    /// Whether there is no item in it.
    pub fn is_empty(&self) -> bool {
        self.items() == 0
    }

    /// Bytes of memory of the block to which something may be added still.
    pub fn open_block(&self) -> usize {
        self.block.capacity()
    }

    /// Adds the items of `other` behind its own.
    ///
    /// # Errors
    /// `other` itself when it is of another signal.
    pub fn add(&mut self, other: Payload) -> Result<(), Payload> {
        let signal = self.payload.signal();
        // Profiles cannot be put one behind the other: they share a dictionary.
        let lies_in_blocks = self.keep.is_some() && signal != Signal::Profiles;
        if !lies_in_blocks || other.signal() != signal || other.encoded_len() >= SMALL {
            self.close_block();
            return self.payload.gather(other);
        }
        if self.block.len() + other.encoded_len() > BLOCK {
            self.close_block();
        }
        other.requests().for_each(|request| self.block.extend_from_slice(request));
        self.items += other.items();
        Ok(())
    }

    /// Takes everything out, in parts as [`Payload::split`] makes them. Profiles that take more than a limit of bytes only once
    /// they are merged are in one part more.
    pub fn take(&mut self, limit: Limit) -> Vec<Payload> {
        self.close_block();
        let empty = Payload::empty(self.payload.signal());
        let parts = mem::replace(&mut self.payload, empty).split(limit);
        if self.signal() != Signal::Profiles {
            return parts;
        }
        parts.into_iter().flat_map(|part| profiles::merge_within(limit, part)).collect()
    }

    fn close_block(&mut self) {
        let Some(keep) = self.keep.as_ref().filter(|_| !self.block.is_empty()) else { return };
        let length = self.block.len();
        let bytes = keep(mem::take(&mut self.block));
        debug_assert_eq!(bytes.len(), length, "the block was changed");
        let block = Payload::trusted(self.payload.signal(), bytes, mem::take(&mut self.items));
        // Of the same signal.
        drop(self.payload.gather(block));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn gathering(signal: Signal) -> Gathering {
        Gathering::in_blocks(signal, Bytes::from)
    }

    #[test]
    fn small_requests_lie_in_blocks_and_large_ones_stay_what_they_are() {
        let mut gathered = gathering(Signal::Logs);
        let (small, large) = (Payload::from(testing::logs(1)), Payload::from(testing::logs(300)));
        assert!(small.encoded_len() < SMALL && large.encoded_len() >= SMALL);
        let until_large = 2 * (BLOCK / small.encoded_len()) + 1;
        for _ in 0..until_large {
            gathered.add(small.clone()).expect("same signal");
        }
        gathered.add(large.clone()).expect("same signal");
        gathered.add(small.clone()).expect("same signal");
        assert!(gathered.open_block() >= small.encoded_len());
        let items = gathered.items();
        let payload = gathered.take(Limit::Items(usize::MAX)).remove(0);
        assert_eq!((payload.items(), gathered.items(), gathered.open_block()), (items, 0, 0));
        let chunks: Vec<&Bytes> = payload.requests().collect();
        assert_eq!(chunks.len(), 5, "two blocks, what was left of them, the large one, the last small one");
        assert!(chunks.iter().all(|chunk| chunk.len() <= BLOCK.max(large.encoded_len())));
        assert_eq!(chunks[3].as_ptr(), large.requests().next().expect("one").as_ptr(), "not copied");
    }

    #[test]
    fn what_is_of_another_signal_is_handed_back() {
        let mut logs = gathering(Signal::Logs);
        logs.add(Payload::from(testing::logs(1))).expect("same signal");
        assert_eq!(logs.add(Payload::from(testing::traces(2))).expect_err("refused").items(), 2);
        assert_eq!(logs.items(), 1);
    }

    #[test]
    fn profiles_are_copied_when_they_go_and_not_for_each_that_is_added() {
        let (mut gathered, one) = (gathering(Signal::Profiles), Payload::from(testing::profiles("a", 3)));
        for added in 1..=9 {
            gathered.add(one.clone()).expect("same signal");
            assert_eq!((gathered.items(), gathered.encoded_len()), (3 * added, added * one.encoded_len()));
        }
        let parts = gathered.take(Limit::Items(3));
        let at = |payload: &Payload| payload.requests().map(|request| request.as_ptr()).collect::<Vec<_>>();
        assert!(parts.iter().all(|part| at(part) == at(&one)), "as it was received");
        assert_eq!(parts.len(), 9);
        parts.into_iter().try_for_each(|part| gathered.add(part)).expect("same signal");
        let whole = gathered.take(Limit::Items(usize::MAX));
        assert_eq!(whole.iter().map(|part| part.requests().count()).collect::<Vec<_>>(), [1]);
        assert_eq!(testing::flatten(&whole[0]), vec![testing::flatten(&one); 9].concat());
    }

    #[test]
    fn what_a_cut_of_profiles_leaves_over_has_the_dictionary_of_its_own_request_alone() {
        let mut gathered = gathering(Signal::Profiles);
        let one = Payload::from(testing::profiles(&"name".repeat(1000), 6));
        let (mut sent, mut items) = (0, 0);
        for _ in 0..100 {
            gathered.add(one.clone()).expect("same signal");
            if gathered.items() < 10 {
                continue;
            }
            let mut parts = gathered.take(Limit::Items(10));
            if let Some(rest) = parts.pop_if(|last| last.items() < 10) {
                assert!(rest.encoded_len() <= one.encoded_len());
                gathered.add(rest).expect("same signal");
            }
            for part in parts {
                assert!(part.encoded_len() < 4 * one.encoded_len(), "of at most three requests");
                (sent, items) = (sent + 1, items + part.items());
            }
        }
        assert_eq!((sent, items + gathered.items()), (60, 600));
    }

    #[test]
    fn profiles_that_take_more_bytes_when_they_are_merged_stay_within_the_limit() {
        let requests: Vec<_> = (0..8).map(|_| Payload::from(testing::profiles("a", 60))).collect();
        let mut gathered = gathering(Signal::Profiles);
        requests.iter().cloned().try_for_each(|request| gathered.add(request)).expect("same signal");
        let limit = gathered.encoded_len();
        let parts = gathered.take(Limit::Bytes(limit));
        assert_eq!(parts.iter().map(Payload::items).collect::<Vec<_>>(), [7 * 60, 60]);
        assert!(parts.iter().all(|part| part.encoded_len() <= limit));
        let expected: Vec<_> = requests.iter().flat_map(testing::flatten).collect();
        assert_eq!(parts.iter().flat_map(testing::flatten).collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn everything_comes_out_in_order_and_within_the_limit_whatever_its_size(
            sizes in proptest::collection::vec(0usize..60, 1..8),
            max in 1usize..80,
            in_bytes in any::<bool>(),
            in_blocks in any::<bool>(),
            which in 0usize..4,
        ) {
            let signal = Signal::ALL[which];
            let plain = || Gathering::from(Payload::empty(signal));
            let mut gathered = if in_blocks { gathering(signal) } else { plain() };
            let mut expected = Vec::new();
            for (i, n) in sizes.iter().enumerate() {
                let payload = testing::payload(signal, &format!("r{i}"), *n);
                expected.extend(testing::flatten(&payload));
                gathered.add(payload).expect("same signal");
            }
            prop_assert_eq!(gathered.items(), expected.len());
            let limit =
                if in_bytes { Limit::Bytes(max * gathered.encoded_len() / 80) } else { Limit::Items(max) };
            let parts = gathered.take(limit);
            prop_assert_eq!((gathered.items(), gathered.open_block()), (0, 0));
            for part in &parts {
                match limit {
                    Limit::Items(max) => prop_assert!(part.items() <= max),
                    Limit::Bytes(bytes) => {
                        prop_assert!(part.encoded_len() <= bytes || part.items() <= 1 || sizes.contains(&0));
                    }
                }
                prop_assert_eq!(crate::validate::validate(signal, &part.to_bytes()), Ok(part.items()));
            }
            prop_assert_eq!(parts.iter().flat_map(testing::flatten).collect::<Vec<_>>(), expected);
        }
    }
}

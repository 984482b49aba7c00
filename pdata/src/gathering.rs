//! A payload that grows by many requests.
//!
//! Merging moves chunks ([`Payload::append`]), so each request of one item stays a buffer of its own with all that belongs to
//! one, until it is sent. Here small requests are copied one behind the other into blocks instead, once: 8,192 of one span
//! then take little more memory than their bytes, and go out as they lie there.

use bytes::Bytes;

use crate::{Payload, Signal};

/// Requests from this size on are kept as they were received: copying them would cost more than they cost each.
const SMALL: usize = 8 << 10;

/// Size of a block.
const BLOCK: usize = 64 << 10;

/// What makes the bytes of a full block, and may tie to them what accounts for them. It must not change them.
type Keep = Box<dyn Fn(Vec<u8>) -> Bytes + Send>;

/// A payload to which requests are added.
pub struct Gathering {
    payload: Payload,
    block: Vec<u8>,
    items: usize,
    keep: Keep,
}

impl Gathering {
    /// Nothing yet of that signal. `keep` is given every block with its capacity once nothing is added to it any more.
    pub fn new(signal: Signal, keep: impl Fn(Vec<u8>) -> Bytes + Send + 'static) -> Gathering {
        Gathering { payload: Payload::empty(signal), block: Vec::new(), items: 0, keep: Box::new(keep) }
    }

    /// Its signal.
    pub fn signal(&self) -> Signal {
        self.payload.signal()
    }

    /// Number of spans, data points, log records or samples.
    pub fn items(&self) -> usize {
        self.payload.items() + self.items
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
        if other.signal() != signal || signal == Signal::Profiles || other.encoded_len() >= SMALL {
            self.close_block();
            return self.payload.append(other);
        }
        if self.block.len() + other.encoded_len() > BLOCK {
            self.close_block();
        }
        other.requests().for_each(|request| self.block.extend_from_slice(request));
        self.items += other.items();
        Ok(())
    }

    /// Takes everything out.
    pub fn take(&mut self) -> Payload {
        self.close_block();
        let empty = Payload::empty(self.payload.signal());
        std::mem::replace(&mut self.payload, empty)
    }

    fn close_block(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let length = self.block.len();
        let bytes = (self.keep)(std::mem::take(&mut self.block));
        debug_assert_eq!(bytes.len(), length, "the block was changed");
        let block = Payload::trusted(self.payload.signal(), bytes, std::mem::take(&mut self.items));
        // Of the same signal.
        drop(self.payload.append(block));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Limit, testing};

    fn gathering(signal: Signal) -> Gathering {
        Gathering::new(signal, Bytes::from)
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
        let payload = gathered.take();
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

    proptest! {
        #[test]
        fn everything_comes_out_in_order_whatever_its_size(
            sizes in proptest::collection::vec(0usize..60, 1..8),
            max in 1usize..80,
            which in 0usize..4,
        ) {
            let signal = Signal::ALL[which];
            let (mut gathered, mut plain) = (gathering(signal), Payload::empty(signal));
            for (i, n) in sizes.iter().enumerate() {
                let payload = testing::payload(signal, &format!("r{i}"), *n);
                plain.append(payload.clone()).expect("same signal");
                gathered.add(payload).expect("same signal");
            }
            prop_assert_eq!(gathered.items(), plain.items());
            let taken = gathered.take();
            prop_assert_eq!((gathered.items(), gathered.open_block()), (0, 0));
            let mut seen = Vec::new();
            for part in taken.split(Limit::Items(max)) {
                prop_assert!(part.items() <= max);
                prop_assert_eq!(crate::validate::validate(signal, &part.to_bytes()), Ok(part.items()));
                seen.extend(testing::flatten(&part));
            }
            prop_assert_eq!(seen, testing::flatten(&plain));
        }
    }
}

//! Calls that need unsafe code, each behind a safe function. There is one: all other crates forbid unsafe code.

/// Gives memory that is free back to the kernel. It takes time by the amount (about 10 ms for 100 MiB), in which other
/// threads wait when they want memory.
///
/// glibc keeps what was freed in the arena of the thread that had asked for it, for as long as anything above it is in use:
/// after a burst a process can be many times as large as what it uses, and nothing but this call (`malloc_trim(3)`)
/// makes it smaller. With another C library it does nothing.
pub fn give_back_free_memory() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "the C library has no other way")]
    // SAFETY: it takes no pointer, is MT-Safe, and touches only memory that nobody has.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::give_back_free_memory;

    /// Held by each test: the call is for the whole process.
    static ALONE: Mutex<()> = Mutex::new(());

    /// Resident KiB (proc_pid_status(5)).
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("read");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    #[test]
    fn what_an_allocator_keeps_goes_back_although_something_above_it_is_in_use() {
        // AddressSanitizer (`make fuzz TESTS=1`, which sets its options) has an allocator of its own.
        if !cfg!(target_env = "gnu") || std::env::var_os("ASAN_OPTIONS").is_some() {
            return;
        }
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pieces: Vec<Vec<u8>> = (0..1000).map(|_| vec![1; 64 << 10]).collect();
        let last = pieces.pop().expect("a piece");
        drop(pieces);
        let kept = resident();
        assert!(kept > 60 << 10, "{kept} KiB are kept below what is in use");
        give_back_free_memory();
        let left = resident();
        assert!(left < 20 << 10, "{left} KiB of {kept} are left");
        drop(last);
    }

    #[test]
    fn memory_that_other_threads_use_meanwhile_stays_as_it_is() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let work = |seed: u8| {
            for round in 0..100_usize {
                let pieces: Vec<Vec<u8>> = (1..50).map(|n| vec![seed; n * (100 + round)]).collect();
                assert!(pieces.iter().all(|piece| *piece == vec![seed; piece.len()]));
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (1..=4).map(|seed| scope.spawn(move || work(seed))).collect();
            while workers.iter().any(|worker| !worker.is_finished()) {
                give_back_free_memory();
            }
        });
    }
}

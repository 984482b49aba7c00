//! Bounds of what the reader accepts.

/// Bounds of one profile; what exceeds one is refused, never cut silently, save stacks (see [`Limits::stack_depth`]).
///
/// With the defaults, reading holds at most the decompressed bytes, 8 bytes per message and 20 per string in them, the
/// distinct strings, frames, stacks and label sets, and tables to find them by: below 350 MiB for a hostile answer, of which
/// the profile is below 150 MiB; a few MiB for a real one.
///
/// Every string is read once, however often it is referred to, so that the time that reading takes goes with the decompressed
/// bytes; so it is with the census, with sites and with growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Decompressed bytes. Default 64 MiB, at most 4 GiB; a real goroutine profile has 10 to 500 KiB, a heap profile of
    /// a large service 5 MiB.
    pub bytes: usize,
    /// Entries of the string table. Default 2^20.
    pub strings: usize,
    /// Bytes of one string that is referred to. Default 64 KiB; names of Go's generic functions have some KiB.
    pub string: usize,
    /// Bytes of all distinct strings together. Default 32 MiB; a heap profile of a large service has 3.
    pub text: usize,
    /// Functions. Default 2^18.
    pub functions: usize,
    /// Locations, and likewise the source lines of all locations together. Default 2^18.
    pub locations: usize,
    /// Samples. Default 2^18.
    pub samples: usize,
    /// Labels of one sample. Default 64.
    pub labels: usize,
    /// Labels of all distinct label sets together. Default 2^20.
    pub all_labels: usize,
    /// Sample types. Default 16.
    pub sample_types: usize,
    /// Frames of one stack; the frames beyond, those nearest to the goroutine's start, are dropped and the stack marked
    /// with a last frame `...`. Default 1024, which is also the most that Go records (`GODEBUG=profstackdepth`).
    pub stack_depth: usize,
    /// Frames of all distinct stacks together. Default 2^22.
    pub frames: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            strings: 1 << 20,
            string: 64 << 10,
            text: 32 << 20,
            functions: 1 << 18,
            locations: 1 << 18,
            samples: 1 << 18,
            labels: 64,
            all_labels: 1 << 20,
            sample_types: 16,
            stack_depth: 1024,
            frames: 1 << 22,
        }
    }
}

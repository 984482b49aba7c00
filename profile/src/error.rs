//! Why a profile was refused.

/// Why an answer of a profiling endpoint could not be read. The answer is at fault, and another scrape may succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The answer has no bytes.
    #[error("the answer is empty: is the profile enabled at this path?")]
    Empty,
    /// The answer is something else than a profile in protobuf form.
    #[error("this is not a pprof profile: it starts with `{starts_with}`; {cure}")]
    NotPprof {
        /// The first characters of the answer, at most 32.
        starts_with: String,
        /// What to look at.
        cure: &'static str,
    },
    /// The answer is larger than [`Limits::bytes`](crate::Limits::bytes).
    #[error(
        "the profile has {announced} bytes after decompression, more than the limit of {limit}: raise the limit if the \
         service is that large (an answer cut short on its way can look the same)"
    )]
    TooLarge {
        /// Bytes the answer has, or says that it has.
        announced: u64,
        /// The limit, bytes.
        limit: usize,
    },
    /// The gzip envelope is broken.
    #[error("the gzip data of the profile cannot be read: {what}")]
    Gzip {
        /// What is wrong.
        what: &'static str,
    },
    /// The protobuf encoding or a reference in it is broken.
    #[error("malformed pprof at byte {offset} after decompression: {what}")]
    Malformed {
        /// Offset into the decompressed profile, bytes.
        offset: usize,
        /// What is wrong there.
        what: String,
    },
    /// The profile has more parts of one kind than [`Limits`](crate::Limits) allow.
    #[error("the profile has more than {limit} {what}")]
    TooMany {
        /// The parts, in plural.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl ProfileError {
    pub(crate) fn malformed(offset: usize, what: impl Into<String>) -> Self {
        Self::Malformed { offset, what: what.into() }
    }
}

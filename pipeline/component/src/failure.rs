//! Why a batch could not be taken or delivered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the sender of a batch should do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The same data may be accepted later; wait at least that long.
    Retry(Option<Duration>),
    /// Nobody settled it: a task ended, a queue was dropped. To a sender it means the same as `Retry`.
    Abandoned,
    /// The same data will never be accepted.
    Permanent,
}

/// The canonical gRPC status codes (google.rpc.Code), without `OK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of google.rpc.Code")]
#[repr(u8)]
pub enum Status {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Status {
    /// All codes in numerical order, from 1.
    pub const ALL: [Status; 16] = [
        Status::Cancelled,
        Status::Unknown,
        Status::InvalidArgument,
        Status::DeadlineExceeded,
        Status::NotFound,
        Status::AlreadyExists,
        Status::PermissionDenied,
        Status::ResourceExhausted,
        Status::FailedPrecondition,
        Status::Aborted,
        Status::OutOfRange,
        Status::Unimplemented,
        Status::Internal,
        Status::Unavailable,
        Status::DataLoss,
        Status::Unauthenticated,
    ];

    /// The code of that number; `Unknown` for numbers that gRPC does not define (and for 0, which is no failure).
    pub fn from_code(code: i64) -> Status {
        let index = usize::try_from(code).unwrap_or(0).checked_sub(1);
        index.and_then(|i| Status::ALL.get(i)).copied().unwrap_or(Status::Unknown)
    }

    /// Its name as Go prints it, such as `Unavailable`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Cancelled => "Canceled",
            Status::Unknown => "Unknown",
            Status::InvalidArgument => "InvalidArgument",
            Status::DeadlineExceeded => "DeadlineExceeded",
            Status::NotFound => "NotFound",
            Status::AlreadyExists => "AlreadyExists",
            Status::PermissionDenied => "PermissionDenied",
            Status::ResourceExhausted => "ResourceExhausted",
            Status::FailedPrecondition => "FailedPrecondition",
            Status::Aborted => "Aborted",
            Status::OutOfRange => "OutOfRange",
            Status::Unimplemented => "Unimplemented",
            Status::Internal => "Internal",
            Status::Unavailable => "Unavailable",
            Status::DataLoss => "DataLoss",
            Status::Unauthenticated => "Unauthenticated",
        }
    }

    /// Its number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// A failure: what to do, which gRPC status, who says so, and why. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Failure(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    status: Option<Status>,
    message: String,
    component: String,
}

impl Failure {
    /// May work later.
    pub fn retry(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Retry(None), None, message.into())
    }

    /// May work later, but not before `after`.
    pub fn retry_after(message: impl Into<String>, after: Duration) -> Failure {
        Failure::new(Kind::Retry(Some(after)), None, message.into())
    }

    /// Will never work.
    pub fn permanent(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Permanent, None, message.into())
    }

    /// A receipt was dropped without an outcome.
    pub fn abandoned(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Abandoned, None, message.into())
    }

    fn new(kind: Kind, status: Option<Status>, message: String) -> Failure {
        Failure(Arc::new(Inner { kind, status, message, component: String::new() }))
    }

    /// The same with the gRPC status that a peer gave or that a peer should be given.
    #[must_use]
    pub fn with_status(self, status: Status) -> Failure {
        self.with(|inner| inner.status = Some(status))
    }

    /// The same, reported by the component `id`.
    #[must_use]
    pub fn reported_by(self, id: &str) -> Failure {
        self.with(|inner| inner.component = id.to_owned())
    }

    /// The same with text in front of its message.
    #[must_use]
    pub fn context(self, prefix: &str) -> Failure {
        self.with(|inner| inner.message = format!("{prefix}: {}", inner.message))
    }

    fn with(self, change: impl FnOnce(&mut Inner)) -> Failure {
        let mut inner = Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            kind: shared.kind,
            status: shared.status,
            message: shared.message.clone(),
            component: shared.component.clone(),
        });
        change(&mut inner);
        Failure(Arc::new(inner))
    }

    /// What to do.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether the sender may try the same data again.
    pub fn is_retryable(&self) -> bool {
        self.0.kind != Kind::Permanent
    }

    /// How long to wait at least, when somebody said so.
    pub fn retry_delay(&self) -> Option<Duration> {
        if let Kind::Retry(after) = self.0.kind { after } else { None }
    }

    /// gRPC status, when one was set.
    pub fn status(&self) -> Option<Status> {
        self.0.status
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Who reported it; empty when nobody was named.
    pub fn component(&self) -> &str {
        &self.0.component
    }

    /// Of two failures of one batch the one its sender must hear. A retryable one wins over a permanent one: a retry
    /// lets the failed branch have the data, and once only the permanent failure is left, that is reported.
    #[must_use]
    pub fn worse(self, other: Failure) -> Failure {
        if other.is_retryable() && !self.is_retryable() { other } else { self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_undefined_ones_are_unknown() {
        for status in Status::ALL {
            assert_eq!(Status::from_code(i64::from(status.code())), status);
        }
        for code in [-1, 0, 17, i64::MAX] {
            assert_eq!(Status::from_code(code), Status::Unknown);
        }
    }

    #[test]
    fn a_retryable_failure_is_heard_before_a_permanent_one() {
        let (p, r) = (Failure::permanent("p"), Failure::retry("r"));
        assert_eq!(p.clone().worse(r.clone()).message(), "r");
        assert_eq!(r.worse(p).message(), "r");
    }
}

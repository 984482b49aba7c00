//! Why a profile could not be had, in sentences for a person.

use std::net::IpAddr;
use std::time::Duration;

use weir_profile::ProfileError;

use crate::endpoint::Endpoint;

/// Why a profile could not be had: what is wrong and the cure. Where it is wrong stands in front of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    /// The name has no address.
    #[error("{host} cannot be resolved ({why}): correct `endpoint`")]
    Resolve {
        /// The name.
        host: String,
        /// What the system said.
        why: String,
    },
    /// The address is one that is never asked.
    #[error(
        "{host} is at {address}, a link-local address, where clouds hand out credentials: such targets are never asked"
    )]
    Forbidden {
        /// The name as configured.
        host: String,
        /// Its address.
        address: IpAddr,
    },
    /// Nobody listens.
    #[error(
        "connection refused, nothing listens there: start the service and let it serve net/http/pprof, or correct \
         `endpoint`"
    )]
    Refused,
    /// Any other reason for which there is no connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The TLS handshake failed.
    #[error(
        "TLS handshake failed ({0}): correct `tls`, or write http:// when the service does not speak TLS"
    )]
    Tls(String),
    /// No whole answer in time.
    #[error(
        "no answer within {0:?}: look whether something else listens there or the service is stuck, or raise `timeout`"
    )]
    Timeout(Duration),
    /// The answer is longer than allowed.
    #[error(
        "the answer has more than {limit} bytes: correct `endpoint` and `path`, or raise `max_body_size` if the service \
         is that large"
    )]
    TooLarge {
        /// The limit, bytes.
        limit: usize,
    },
    /// The answers of all targets together are longer than allowed.
    #[error("all targets together sent more than {limit} bytes at once: asked again at the next interval")]
    Busy {
        /// The limit, bytes.
        limit: usize,
    },
    /// Another server is to be asked.
    #[error("redirects to {0}, another server, which is not asked: set that as `endpoint` if it is meant")]
    Elsewhere(Box<Endpoint>),
    /// It redirects, but not to a place that can be asked.
    #[error("redirects to nowhere or in circles: correct `path`")]
    Redirects,
    /// Status 404.
    #[error(
        "no such profile (404): let the service import net/http/pprof, correct `path`, or take it from `profiles`"
    )]
    Absent,
    /// Status 404 for the profile of leaked goroutines.
    #[error(
        "no such profile (404): it needs Go 1.27, or Go 1.26 built with GOEXPERIMENT=goroutineleakprofile; else take it from \
         `profiles`"
    )]
    NoLeakProfile,
    /// The authenticator failed.
    #[error("the request cannot be signed ({0}): correct the extension that `auth` names")]
    Unsigned(String),
    /// Status 401 or 403.
    #[error(
        "asks for credentials ({0}): write them as http://user:password@host:port, under `headers`, or as an extension under `auth`"
    )]
    Denied(u16),
    /// Any other status but success.
    #[error("answers with status {0} instead of a profile: look into the service's log, or correct `path`")]
    Status(u16),
    /// The connection broke.
    #[error("the connection broke before the answer was whole ({0})")]
    Broken(String),
    /// The answer is encoded in a way that cannot be read.
    #[error("the answer cannot be decoded ({0}): take the proxy in between out of the way")]
    Encoding(String),
    /// The answer is no profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Reading the answer failed by a mistake in the agent.
    #[error(
        "reading the profile failed inside the agent: please report it with the version of Go and of the agent"
    )]
    Bug,
}

impl FetchError {
    /// Whether the target as a whole does not answer, so that asking it for another profile would only wait again.
    pub(crate) fn is_of_target(&self) -> bool {
        matches!(
            self,
            Self::Resolve { .. }
                | Self::Forbidden { .. }
                | Self::Refused
                | Self::Connect(_)
                | Self::Tls(_)
                | Self::Timeout(_)
                | Self::Elsewhere(_)
                | Self::Broken(_)
        )
    }
}

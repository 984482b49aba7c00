//! Proving who sends: what authenticator extensions offer to servers and clients.

use async_trait::async_trait;
use http::HeaderMap;

use crate::{Context, Failure};

/// What an authenticator found out about a caller, by name, such as `username`. Components read it as `auth.NAME`
/// ([`Context::auth`]).
pub type AuthData = Vec<(String, Vec<String>)>;

/// Checks callers. A server asks it when the head of a request has come, before anything of the body is read.
#[async_trait]
pub trait ServerAuth: Send + Sync {
    /// Whether a request with these headers (names in lower case; for gRPC its metadata) may go on, and who sends it.
    ///
    /// It is called for every request at once, so that dear checks belong into [`Host::blocking`](crate::Host::blocking)
    /// and secrets are compared in constant time.
    ///
    /// # Errors
    /// The caller gets the message with `Unauthenticated` (16) or 401, so that it never repeats a credential.
    async fn authenticate(&self, headers: &HeaderMap) -> Result<AuthData, Failure>;
}

/// Signs requests. A client asks it for each request, right before it is sent.
#[async_trait]
pub trait ClientAuth: Send + Sync {
    /// Changes the headers of a request (for gRPC its metadata) that carries data of `context`. Values that are secrets
    /// are marked as sensitive.
    ///
    /// # Errors
    /// The request is not sent; the failure says whether to try again.
    async fn sign(&self, headers: &mut HeaderMap, context: &Context) -> Result<(), Failure>;

    /// Whether it signs with secrets, which gRPC clients do not send in clear text.
    fn needs_encryption(&self) -> bool {
        false
    }
}

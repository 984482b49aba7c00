//! What stands beside the pipelines.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{ClientAuth, Clock, Failure, Host, ServerAuth, Stop, Storage};

/// Something beside the pipelines: a health check, pages, an authenticator, a storage.
#[async_trait]
pub trait Extension: Send {
    /// Gets ready; called before any pipeline starts.
    ///
    /// # Errors
    /// The agent does not start.
    async fn start(&mut self, _cx: &ExtensionContext) -> Result<(), Failure> {
        Ok(())
    }

    /// Works until `cx.stop` is requested, which happens after the pipelines have ended; when a reload takes its place, and
    /// it offers nothing, at once.
    ///
    /// # Errors
    /// An error before the request to stop ends the agent.
    async fn run(self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure>;

    /// Ids of the extensions that have to start before it.
    fn needs(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it offers to others, asked once it has started; they find it by its id
    /// ([`Host::extension`](crate::Host::extension)).
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

/// What an extension offers to other components, each an optional trait object.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Capabilities {
    /// Checks the callers of servers.
    pub server_auth: Option<Arc<dyn ServerAuth>>,
    /// Signs the requests of clients.
    pub client_auth: Option<Arc<dyn ClientAuth>>,
    /// Keeps queues over a restart.
    pub storage: Option<Arc<dyn Storage>>,
}

impl Capabilities {
    /// Checks callers.
    #[must_use]
    pub fn with_server_auth(mut self, auth: Arc<dyn ServerAuth>) -> Capabilities {
        self.server_auth = Some(auth);
        self
    }

    /// Signs requests.
    #[must_use]
    pub fn with_client_auth(mut self, auth: Arc<dyn ClientAuth>) -> Capabilities {
        self.client_auth = Some(auth);
        self
    }

    /// Keeps queues.
    #[must_use]
    pub fn with_storage(mut self, storage: Arc<dyn Storage>) -> Capabilities {
        self.storage = Some(storage);
        self
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capabilities")
            .field("server_auth", &self.server_auth.is_some())
            .field("client_auth", &self.client_auth.is_some())
            .field("storage", &self.storage.is_some())
            .finish()
    }
}

/// What an [`Extension`] may use.
#[derive(Debug, Clone)]
pub struct ExtensionContext {
    /// Component id, such as `zpages`.
    pub id: String,
    /// When to stop.
    pub stop: Stop,
    /// Time.
    pub clock: Clock,
    /// The agent around it.
    pub host: Host,
}

//! What stands beside the pipelines.

use std::fmt;

use async_trait::async_trait;

use crate::{Clock, Failure, Host, Stop};

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

    /// Works until `cx.stop` is requested, which happens after the pipelines have ended.
    ///
    /// # Errors
    /// An error before the request to stop ends the agent.
    async fn run(self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure>;

    /// What it offers to others, asked once it has started; they find it by its id
    /// ([`Host::extension`](crate::Host::extension)).
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

/// What an extension offers to other components, each an optional trait object.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Capabilities {}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capabilities")
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

//! A batch on its way.

use std::net::SocketAddr;
use std::sync::Arc;

use opentelemetry::trace::SpanContext;
use weir_pdata::Payload;

use crate::{AuthData, Receipt};

/// One payload on its way, with the duty to say what became of it and what is known of its sender.
#[derive(Debug)]
pub struct Batch {
    /// The telemetry.
    pub payload: Payload,
    /// The duty.
    pub receipt: Receipt,
    /// The sender.
    pub context: Arc<Context>,
}

/// What is known of the sender of a batch. Shared by all parts of it. Two are equal when the sender is the same, whatever
/// work of the agent they belong to.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Request headers or gRPC metadata, keys in lower case; only with `include_metadata`.
    pub metadata: Vec<(String, Vec<String>)>,
    /// What the server's authenticator found out about the caller; empty without one.
    pub auth: AuthData,
    /// Address of the peer, when it came over a network.
    pub peer: Option<SocketAddr>,
    /// How it came: `grpc`, `http`, or empty.
    pub transport: &'static str,
    /// The work of the agent or of the sender that it belongs to; only while the agent traces itself.
    pub span: Option<SpanContext>,
}

impl PartialEq for Context {
    fn eq(&self, other: &Context) -> bool {
        let Context { metadata, auth, peer, transport, span: _ } = self;
        (metadata, auth, peer, transport) == (&other.metadata, &other.auth, &other.peer, &other.transport)
    }
}

impl Context {
    /// The same sender, for work that follows from `span`.
    #[must_use]
    pub fn within(&self, span: SpanContext) -> Context {
        Context { span: Some(span), ..self.clone() }
    }

    /// Values of a metadata key; the key is compared without regard to case.
    pub fn metadata(&self, key: &str) -> &[String] {
        self.metadata.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map_or(&[], |(_, values)| values)
    }

    /// Values of what the authenticator found out under that name.
    pub fn auth(&self, name: &str) -> &[String] {
        self.auth.iter().find(|(k, _)| k == name).map_or(&[], |(_, values)| values)
    }
}

impl Batch {
    /// A batch of the agent's own telemetry: nobody waits for its outcome.
    pub fn unattended(payload: impl Into<Payload>) -> Batch {
        Batch { payload: payload.into(), receipt: Receipt::unattended(), context: Arc::default() }
    }

    /// A second batch of the same data; both must be settled.
    #[must_use]
    pub fn fork(&self) -> Batch {
        Batch {
            payload: self.payload.clone(),
            receipt: self.receipt.fork(),
            context: Arc::clone(&self.context),
        }
    }
}

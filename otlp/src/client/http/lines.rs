//! The connections of a client.
//!
//! The pool keeps a connection of HTTP/2 for all requests, also when its peer has vanished: a request that is given up resets
//! its stream only. Two in a row replace the pool, which over HTTP/1.1 costs idle connections. Over HTTP/1.1 the connection of a
//! request that is given up is [`Cut`].

use std::sync::{Arc, Mutex, PoisonError};

use http::{Extensions, Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::client::legacy::{Builder, Client, Error};

use super::connector::Connector;
use super::cut::Cut;
use crate::client::pieces::Pieces;
use crate::client::unanswered::Unanswered;

/// All connections to a server.
pub(super) struct Lines {
    builder: Builder,
    connector: Connector,
    pool: Mutex<Arc<Pool>>,
}

struct Pool {
    client: Client<Connector, Pieces>,
    unanswered: Unanswered,
}

impl Lines {
    /// None yet; they are made as `builder` says.
    pub(super) fn new(builder: Builder, connector: Connector) -> Lines {
        let pool = Mutex::new(Pool::new(&builder, &connector));
        Lines { builder, connector, pool }
    }

    /// The head of the answer to a request, and the body as it comes.
    pub(super) async fn request(&self, mut request: Request<Pieces>) -> Result<Response<Incoming>, Error> {
        let line = capture_connection(&mut request);
        let mut attempt = Attempt { pool: self.pool(), line, is_over: false };
        let result = attempt.pool.client.request(request).await;
        attempt.is_over = true;
        if result.is_ok() {
            attempt.pool.unanswered.answered();
        }
        result
    }

    fn pool(&self) -> Arc<Pool> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.unanswered.is_gone() {
            tracing::debug!("requests were not answered, further ones go over new connections");
            *pool = Pool::new(&self.builder, &self.connector);
        }
        Arc::clone(&pool)
    }
}

impl Pool {
    fn new(builder: &Builder, connector: &Connector) -> Arc<Pool> {
        let client = builder.build(connector.clone());
        Arc::new(Pool { client, unanswered: Unanswered::default() })
    }
}

/// A request, which is given up when this is dropped before it is over.
struct Attempt {
    pool: Arc<Pool>,
    line: CaptureConnection,
    is_over: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.pool.unanswered.gave_up();
        let mut extras = Extensions::new();
        if let Some(connected) = self.line.connection_metadata().as_ref() {
            connected.get_extras(&mut extras);
        }
        if let Some(cut) = extras.get::<Cut>() {
            cut.cut();
        }
    }
}

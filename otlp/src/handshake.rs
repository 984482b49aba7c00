//! TLS handshakes of a port: how long they may take, and what the log says of those that fail.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use rustls::InvalidMessage;

use crate::addresses::Rarely;
use crate::io::Io;
use crate::tls::TlsAcceptor;

/// Where connections of a port are secured.
pub(crate) struct Handshakes {
    acceptor: TlsAcceptor,
    limit: Duration,
    /// The address of the port; none for a Unix socket.
    port: Option<SocketAddr>,
    failed: Mutex<Rarely>,
}

impl Handshakes {
    pub(crate) fn new(acceptor: TlsAcceptor, limit: Duration, port: Option<SocketAddr>) -> Handshakes {
        Handshakes { acceptor, limit, port, failed: Mutex::default() }
    }

    /// The secured connection; none when that has failed, which the log says once a minute, or when the peer only looked
    /// whether the port is open, as load balancers do.
    pub(crate) async fn secure(&self, io: Io, peer: Option<SocketAddr>) -> Option<Io> {
        let handshake = async {
            if io.is_left_in_silence().await {
                return Ok(None);
            }
            self.acceptor.accept(io).await.map(|stream| Some(Io::Tls(Box::new(stream.into()))))
        };
        match tokio::time::timeout(self.limit, handshake).await {
            Ok(Ok(secured)) => secured,
            Ok(Err(e)) => {
                self.report(peer, &reason(&e));
                None
            }
            Err(_) => {
                self.report(peer, &format_args!("it was not done within {:?}", self.limit));
                None
            }
        }
    }

    fn report(&self, peer: Option<SocketAddr>, why: &dyn fmt::Display) {
        let once_more = self.failed.lock().unwrap_or_else(PoisonError::into_inner).once_more();
        let Some(failed) = once_more else {
            tracing::debug!(error = %why, "a TLS handshake failed");
            return;
        };
        let name =
            |address: Option<SocketAddr>| address.map_or("a unix socket".to_owned(), |a| a.to_string());
        tracing::warn!(
            endpoint = name(self.port),
            address = name(peer),
            error = %why,
            failed,
            "a TLS handshake failed and the connection was closed; this is said once a minute, with how many did since"
        );
    }
}

/// In words that say what to do, for mistakes that are made.
fn reason(e: &io::Error) -> String {
    match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the peer does not speak TLS: it has to use https, and no `insecure: true`".to_owned()
        }
        Some(rustls::Error::NoCertificatesPresented) => {
            "the peer has shown no certificate, which `client_ca_file` demands".to_owned()
        }
        _ => e.to_string(),
    }
}

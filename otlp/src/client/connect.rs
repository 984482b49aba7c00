//! Connecting, with and without TLS.

use std::fmt;
use std::path::PathBuf;

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};

use crate::io::Io;
use crate::tls::TlsConnector;

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A name or address and a port. All addresses of a name are tried in order.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Target {
    /// From `host:port`, `[address]:port`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Target, String> {
        let (host, port) = text.rsplit_once(':').ok_or(format!("address {text}: missing port in address"))?;
        let port = port.parse().map_err(|_| format!("invalid port {port:?}"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // An empty host is this machine, as in Go.
        let host = if host.is_empty() { "localhost" } else { host };
        Ok(Target::Tcp(host.to_owned(), port))
    }

    /// The host, for TLS.
    pub(super) fn host(&self) -> &str {
        match self {
            Target::Tcp(host, _) => host,
            Target::Unix(_) => "localhost",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Target::Tcp(host, port) => write!(f, "{host}:{port}"),
            Target::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Connects; errors say what failed in Go's words, which users search for.
pub(super) async fn connect(target: &Target) -> Result<Io, String> {
    match target {
        Target::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port))
                .await
                .map_err(|e| dial_error("tcp", target, &e))?;
            // A request is written whole: waiting to fill a segment only delays it.
            stream.set_nodelay(true).map_err(|e| dial_error("tcp", target, &e))?;
            Ok(Io::Tcp(stream))
        }
        Target::Unix(path) => {
            UnixStream::connect(path).await.map(Io::Unix).map_err(|e| dial_error("unix", target, &e))
        }
    }
}

fn dial_error(network: &str, target: &Target, e: &std::io::Error) -> String {
    let what = match e.kind() {
        std::io::ErrorKind::ConnectionRefused => {
            "connect: connection refused (nothing listens there)".to_owned()
        }
        std::io::ErrorKind::NotFound => "connect: no such file or directory".to_owned(),
        _ => e.to_string(),
    };
    format!("dial {network} {target}: {what}")
}

/// The TLS handshake of a client that expects the peer to be `name`.
pub(super) async fn secure(io: Io, connector: &TlsConnector, name: &str) -> Result<Io, String> {
    let server = ServerName::try_from(name.to_owned()).map_err(|e| format!("tls: {name:?}: {e}"))?;
    let stream = connector.connect(server, io).await.map_err(|e| {
        let hint = if e.to_string().contains("InvalidContentType") {
            " (the peer does not speak TLS: set `tls: {insecure: true}` if that is intended)"
        } else {
            ""
        };
        format!("tls handshake with {name}: {e}{hint}")
    })?;
    Ok(Io::Tls(Box::new(stream.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_host_and_port() {
        let tcp = |host: &str, port| Ok(Target::Tcp(host.to_owned(), port));
        assert_eq!(Target::parse("collector:4317"), tcp("collector", 4317));
        assert_eq!(Target::parse("[::1]:4317"), tcp("::1", 4317));
        assert_eq!(Target::parse(":4317"), tcp("localhost", 4317));
        assert_eq!(Target::parse("[::1]:4317").map(|t| t.to_string()), Ok("[::1]:4317".to_owned()));
        assert_eq!(Target::parse("collector"), Err("address collector: missing port in address".to_owned()));
        assert_eq!(Target::parse("collector:http"), Err("invalid port \"http\"".to_owned()));
    }
}

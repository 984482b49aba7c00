//! Connecting, with and without TLS.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream, lookup_host};

use crate::clock::pause;
use crate::io::Io;
use crate::tls::TlsConnector;

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A name or address and a port. All addresses of a name are tried in order, the next one beside those that have not
    /// answered yet; the first that answers is taken.
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

    /// What there is to connect to: the addresses of a name as they are now.
    pub(super) async fn addresses(&self) -> io::Result<Vec<Target>> {
        let Target::Tcp(host, port) = self else { return Ok(vec![self.clone()]) };
        Ok(lookup_host((host.as_str(), *port)).await?.map(Target::of).collect())
    }

    fn of(address: SocketAddr) -> Target {
        let host = match address {
            SocketAddr::V6(six) if six.scope_id() != 0 => format!("{}%{}", six.ip(), six.scope_id()),
            _ => address.ip().to_string(),
        };
        Target::Tcp(host, address.port())
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

/// How long a connection may take to be made, with all that is said before it can be used.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Connects, with TLS where `tls` says how and to whom. Of several addresses the first one with which that is done is taken.
/// Errors say what failed in Go's words, which users search for.
pub(super) async fn connect(target: &Target, tls: Option<(&TlsConnector, &str)>) -> Result<Io, String> {
    let secured = async |io: Io| match tls {
        Some((connector, name)) => secure(io, connector, name).await,
        None => Ok(io),
    };
    match target {
        Target::Tcp(host, port) => {
            let failed = |e: io::Error| dial_error(target, &e);
            let addresses = lookup_host((host.as_str(), *port)).await.map_err(failed)?;
            let reach = async |address| {
                let stream = TcpStream::connect(address).await.map_err(failed)?;
                // A request is written whole: waiting to fill a segment only delays it.
                stream.set_nodelay(true).map_err(failed)?;
                secured(Io::Tcp(stream)).await
            };
            first(addresses.collect(), reach, failed(no_address())).await
        }
        Target::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|e| dial_error(target, &e))?;
            secured(Io::Unix(stream)).await
        }
    }
}

/// How long an address has to answer before the next one is tried beside it (RFC 8305, 5).
const NEXT: Duration = Duration::from_millis(250);

/// What `connect` makes of the first that answers: an address that swallows what is sent to it must not keep anybody from
/// the others.
///
/// # Errors
/// The last one, or `none` when there is no address.
pub(super) async fn first<A, T, E, F>(addresses: Vec<A>, connect: impl Fn(A) -> F, none: E) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let (mut addresses, mut failure) = (addresses.into_iter(), none);
    let mut attempts = FuturesUnordered::new();
    loop {
        attempts.extend(addresses.next().map(&connect));
        tokio::select! {
            biased;
            ended = attempts.next() => match ended {
                Some(Ok(made)) => return Ok(made),
                Some(Err(e)) => failure = e,
                None => return Err(failure),
            },
            () = pause(NEXT), if addresses.len() > 0 => {}
        }
    }
}

/// The failure of a name without addresses.
pub(super) fn no_address() -> io::Error {
    io::Error::other("no address")
}

pub(super) fn dial_error(target: &Target, e: &io::Error) -> String {
    let network = match target {
        Target::Tcp(..) => "tcp",
        Target::Unix(_) => "unix",
    };
    let what = match e.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused (nothing listens there)".to_owned(),
        io::ErrorKind::NotFound => "connect: no such file or directory".to_owned(),
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
    use std::future::{pending, ready};

    use tokio::time::timeout;

    use super::*;

    /// An attempt to connect to an address of which this is the result, if there is one.
    async fn attempt(result: Option<Result<u8, u8>>) -> Result<u8, u8> {
        match result {
            Some(result) => result,
            None => pending().await,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_silent_holds_the_others_up_for_a_moment_only() {
        let addresses = vec![None, Some(Err(1)), None, Some(Ok(2)), Some(Ok(3))];
        let made = timeout(NEXT * 2, first(addresses, attempt, 0)).await;
        assert_eq!(made.expect("two were waited for"), Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_is_still_waited_for_beside_the_next_ones() {
        let slow = |address: u32| async move {
            pause(NEXT * address).await;
            if address == 9 { Err("refused") } else { Ok(address) }
        };
        assert_eq!(first(vec![3, 9, 5], slow, "none").await, Ok(3));
    }

    #[tokio::test]
    async fn without_an_address_that_works_the_last_failure_counts() {
        assert_eq!(first(vec![Err::<(), _>(1), Err(2)], ready, 0).await, Err(2));
        assert_eq!(first(Vec::<Result<(), _>>::new(), ready, 0).await, Err(0));
    }

    #[tokio::test]
    async fn the_addresses_of_an_address_are_itself() {
        for text in ["127.0.0.1:4317", "[::1]:4317"] {
            let target = Target::parse(text).expect("a target");
            assert_eq!(target.addresses().await.expect("no question"), [target]);
        }
        let unix = Target::Unix(PathBuf::from("/run/otlp.sock"));
        assert_eq!(unix.addresses().await.expect("no question"), [unix]);
    }

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

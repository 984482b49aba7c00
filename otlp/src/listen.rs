//! Binding and accepting.

mod network;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as UnixStdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use weir_component::{Claim, Failure, Handover, Host, Stop};
use weir_config::net::check_host_port;

use crate::clock::pause;
use crate::descriptors::Use;
use crate::io::Io;
pub(crate) use network::Network;
use network::{address_of, plain, with_host};

/// A bound listener. A component that takes the place of another one in a reload gets the very same, so that the port is
/// never closed ([`Listener::owned_tcp`]); the two then accept side by side until the old one stops.
#[derive(Debug)]
pub struct Listener {
    kind: Arc<Kind>,
    /// Requested when the agent ends, where it has an owner in one.
    agent_ends: Option<Stop>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// How long accepting rests after an error that is not the peer's, such as too many open files: without a rest the
/// loop would spin until a descriptor is free.
const REST: Duration = Duration::from_millis(100);

impl Listener {
    /// Binds a TCP endpoint of the form `host:port`; an empty or unspecified host means all interfaces, port 0 any free
    /// one.
    ///
    /// # Errors
    /// A permanent failure that names the endpoint, what the system said, and the cure.
    pub async fn tcp(endpoint: &str) -> Result<Listener, Failure> {
        let addresses = found(Network::Tcp, endpoint).await?;
        Listener::bound(Network::Tcp, endpoint, &addresses).map(|(listener, _)| listener)
    }

    fn new(kind: Kind) -> Listener {
        Listener { kind: Arc::new(kind), agent_ends: None }
    }

    /// Of that agent.
    fn of(handover: &Handover, kind: Arc<Kind>) -> Listener {
        Listener { kind, agent_ends: Some(handover.over()) }
    }

    fn bound(
        network: Network,
        endpoint: &str,
        addresses: &[SocketAddr],
    ) -> Result<(Listener, SocketAddr), Failure> {
        match network.bind(addresses) {
            Ok((listener, address)) => Ok((Listener::new(Kind::Tcp(listener)), address)),
            Err(e) => Err(bind_failure(network.name(), &with_host(endpoint), &e)),
        }
    }

    /// Binds a Unix socket. A socket that nobody listens on is replaced; anything else that has the path is kept.
    ///
    /// # Errors
    /// As [`Listener::tcp`].
    pub async fn unix(path: &str) -> Result<Listener, Failure> {
        // Other files refuse to be connected too, and a symbolic link may lead anywhere: only the socket itself counts.
        if let Some(other) = other_than_socket(Path::new(path)) {
            return Err(Failure::permanent(format!(
                "listen unix {path}: bind: address already in use: {other} is there, which is kept; `endpoint` has to be \
                 the path of a socket that is to be made: set another, or remove what is there"
            )));
        }
        if UnixStream::connect(path).await.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
            // Nobody is behind it: a leftover of a process that was killed.
            remove_socket(Path::new(path));
        }
        match UnixListener::bind(path) {
            Ok(listener) => Ok(Listener::new(Kind::Unix(listener, PathBuf::from(path)))),
            Err(e) => Err(bind_failure("unix", path, &e)),
        }
    }

    /// [`Listener::tcp`] for the component `id`: takes over the listener of a component that a reload is about to end,
    /// whether it named its address in the same way or in another.
    ///
    /// # Errors
    /// As [`Listener::tcp`]; a component of this agent that has the endpoint is named.
    pub async fn owned_tcp(host: &Host, id: &str, endpoint: &str) -> Result<Listener, Failure> {
        Listener::owned(host.handover(), id, Network::Tcp, endpoint).await
    }

    /// [`Listener::owned_tcp`] for addresses of that network.
    ///
    /// # Errors
    /// As [`Listener::owned_tcp`]; an endpoint without an address of that network.
    pub(crate) async fn owned(
        handover: &Handover,
        id: &str,
        network: Network,
        endpoint: &str,
    ) -> Result<Listener, Failure> {
        let addresses = found(network, endpoint).await?;
        if endpoint.ends_with(":0") {
            // Any free port: never one that somebody has.
            return Listener::bound(network, endpoint, &addresses).map(|(listener, _)| listener);
        }
        let keys: Vec<String> = addresses.iter().map(|address| network.key(address)).collect();
        if let Some(listener) = Listener::claimed(handover, id, network.name(), endpoint, &keys)? {
            return Ok(listener);
        }
        let bound = Listener::bound(network, endpoint, &addresses);
        let (listener, address) =
            bound.map_err(|e| overlapping(handover.owners(), endpoint, &addresses).unwrap_or(e))?;
        handover.keep(id, &network.key(&address), &listener.kind);
        Ok(Listener::of(handover, listener.kind))
    }

    /// [`Listener::unix`] for the component `id`, as [`Listener::owned_tcp`].
    ///
    /// # Errors
    /// As [`Listener::owned_tcp`].
    pub async fn owned_unix(host: &Host, id: &str, path: &str) -> Result<Listener, Failure> {
        let key = format!("unix {path}");
        if let Some(listener) =
            Listener::claimed(host.handover(), id, "unix", path, std::slice::from_ref(&key))?
        {
            return Ok(listener);
        }
        let listener = Listener::unix(path).await?;
        host.handover().keep(id, &key, &listener.kind);
        Ok(Listener::of(host.handover(), listener.kind))
    }

    /// What a component that is about to end has under one of the keys; none when nobody in this agent has any.
    fn claimed(
        handover: &Handover,
        id: &str,
        network: &str,
        endpoint: &str,
        keys: &[String],
    ) -> Result<Option<Listener>, Failure> {
        let mut taken = None;
        for key in keys {
            match handover.claim(id, key) {
                Claim::Yours(kind) => return Ok(Some(Listener::of(handover, kind))),
                Claim::Taken(owner) => taken = Some(owner),
                Claim::Free => {}
            }
        }
        taken.map_or(Ok(None), |owner| {
            Err(Failure::permanent(format!(
                "listen {network} {endpoint}: bind: address already in use by \"{owner}\" of this agent; set another \
                 `endpoint` in one of them"
            )))
        })
    }

    /// The address it is bound to; `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &*self.kind {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix(..) => None,
        }
    }

    /// When the agent ends, where somebody else accepts on it too, and will until then.
    pub(crate) fn handed_over(&self) -> Option<Stop> {
        let agent_ends = self.agent_ends.as_ref().filter(|ends| !ends.is_requested());
        agent_ends.filter(|_| Arc::strong_count(&self.kind) > 1).cloned()
    }

    /// The next connection for that use, once it may have a descriptor. Errors of single connections are passed over,
    /// errors of the system slow it down. A future that is dropped may hold a connection.
    pub(crate) async fn accept(&self, for_use: Use) -> (Io, Option<SocketAddr>) {
        loop {
            match self.try_accept(for_use).await {
                Ok(accepted) => return accepted,
                Err(e) if is_of_the_peer(&e) => {}
                Err(e) => {
                    tracing::warn!(error = %e, "accepting connections failed, trying again");
                    pause(REST).await;
                }
            }
        }
    }

    async fn try_accept(&self, for_use: Use) -> io::Result<(Io, Option<SocketAddr>)> {
        match &*self.kind {
            Kind::Tcp(listener) => {
                let (mut stream, peer) = listener.accept().await?;
                if for_use.is_beyond(&stream) {
                    let below = free_below(stream.into_std()?, std::net::TcpStream::try_clone, for_use).await;
                    stream = TcpStream::from_std(below)?;
                }
                // Answers are small and complete: waiting to fill a segment only delays them.
                stream.set_nodelay(true)?;
                Ok((Io::Tcp(stream), Some(plain(peer))))
            }
            Kind::Unix(listener, _) => {
                let (mut stream, _) = listener.accept().await?;
                if for_use.is_beyond(&stream) {
                    let below = free_below(stream.into_std()?, UnixStdStream::try_clone, for_use).await;
                    stream = UnixStream::from_std(below)?;
                }
                Ok((Io::Unix(stream), None))
            }
        }
    }
}

impl Drop for Kind {
    fn drop(&mut self) {
        if let Kind::Unix(_, path) = self {
            remove_socket(path);
        }
    }
}

/// Removes a socket, and nothing else that has come to be in its place.
fn remove_socket(path: &Path) {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        drop(std::fs::remove_file(path));
    }
}

/// What has the path and is no socket.
fn other_than_socket(path: &Path) -> Option<&'static str> {
    let found = std::fs::symlink_metadata(path).ok()?.file_type();
    if found.is_socket() {
        None
    } else if found.is_symlink() {
        Some("a symbolic link")
    } else if found.is_dir() {
        Some("a directory")
    } else if found.is_file() {
        Some("a file")
    } else {
        Some("a device or a pipe")
    }
}

/// The addresses of an endpoint.
async fn found(network: Network, endpoint: &str) -> Result<Vec<SocketAddr>, Failure> {
    let addresses = network.addresses(endpoint).await;
    addresses.map_err(|e| bind_failure(network.name(), &with_host(endpoint), &e))
}

/// What is wrong when this agent itself listens on one of the ports, on other addresses of the machine: on all of them
/// instead of one, or the other way round.
fn overlapping(owners: Vec<(String, String)>, endpoint: &str, wanted: &[SocketAddr]) -> Option<Failure> {
    let (address, owner) = owners.into_iter().find_map(|(key, owner)| {
        let address = address_of(&key)?;
        let overlaps = |w: &&SocketAddr| {
            w.port() == address.port() && (w.ip().is_unspecified() || address.ip().is_unspecified())
        };
        wanted.iter().find(overlaps).map(|_| (address, owner))
    })?;
    Some(Failure::permanent(format!(
        "listen tcp {endpoint}: bind: address already in use by \"{owner}\" of this agent, which listens on {address} and \
         would until a reload has succeeded; set another port in `endpoint`, or restart the agent"
    )))
}

/// Errors of the connection that was about to be accepted; the listener is well.
fn is_of_the_peer(e: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    matches!(e.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput | NotConnected)
}

/// Waits until a connection that took one of the last descriptors can have a lower one.
async fn free_below<S: AsRawFd>(stream: S, copy: impl Fn(&S) -> io::Result<S>, for_use: Use) -> S {
    tracing::warn!(
        "the descriptors that connections may take are used up: new connections wait; raise the limit of open files \
         (RLIMIT_NOFILE)"
    );
    loop {
        pause(REST).await;
        // A copy has the lowest number that is free.
        if let Ok(copy) = copy(&stream)
            && !for_use.is_beyond(&copy)
        {
            return copy;
        }
    }
}

fn bind_failure(network: &str, endpoint: &str, e: &io::Error) -> Failure {
    let (what, cure) = match e.kind() {
        io::ErrorKind::AddrInUse => (
            "bind: address already in use".to_owned(),
            match network {
                "unix" => {
                    "another program listens there (`ss -lxp` names it): stop it or set another `endpoint`"
                }
                _ => "another program listens there (`ss -ltnp` names it): stop it or set another `endpoint`",
            },
        ),
        io::ErrorKind::AddrNotAvailable => (
            "bind: cannot assign requested address".to_owned(),
            "this machine has no such address: use `localhost`, one of its addresses, or 0.0.0.0",
        ),
        io::ErrorKind::Unsupported => (
            "no suitable address found".to_owned(),
            "`transport` allows addresses of one family alone: name one of those, or leave `transport` out",
        ),
        io::ErrorKind::PermissionDenied => (
            "bind: permission denied".to_owned(),
            "ports below 1024 and foreign directories need a privilege: choose another `endpoint`",
        ),
        _ => {
            let cure = "`endpoint` has to be `host:port` with a name or address of this machine";
            return match check_host_port(endpoint) {
                Err(what) if network != "unix" => {
                    Failure::permanent(format!("listen {network}: {what}; {cure}"))
                }
                _ => Failure::permanent(format!("listen {network} {endpoint}: {e}; {cure}")),
            };
        }
    };
    Failure::permanent(format!("listen {network} {endpoint}: {what}; {cure}"))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_cure() {
        let first = Listener::tcp("127.0.0.1:0").await.expect("bound");
        let taken = first.local_addr().expect("an address").to_string();
        let failure = Listener::tcp(&taken).await.expect_err("taken");
        let expected = format!("listen tcp {taken}: bind: address already in use; another program");
        assert!(failure.message().starts_with(&expected), "{failure}");
        assert!(!failure.is_retryable());
    }

    #[test]
    fn a_port_that_this_agent_has_on_all_addresses_or_on_one_is_refused_with_its_owner_and_the_cure() {
        let failure = |owned: &str, wanted: &str| {
            let owners =
                vec![("unix /run/x".to_owned(), "x".to_owned()), (format!("tcp {owned}"), "otlp".to_owned())];
            let failure = overlapping(owners, wanted, &[wanted.parse().expect("an address")]);
            failure.map(|failure| failure.message().to_owned())
        };
        let text = failure("0.0.0.0:4317", "127.0.0.1:4317").expect("they overlap");
        let expected = "listen tcp 127.0.0.1:4317: bind: address already in use by \"otlp\" of this agent, which listens on \
                        0.0.0.0:4317 and";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("set another port in `endpoint`, or restart the agent"), "{text}");
        assert!(failure("127.0.0.1:4317", "[::]:4317").is_some());
        assert_eq!(failure("127.0.0.1:4317", "127.0.0.2:4317"), None);
        assert_eq!(failure("0.0.0.0:4317", "127.0.0.1:4318"), None);
    }

    #[tokio::test]
    async fn all_addresses_take_both_families_and_show_peers_of_ipv4_as_such() {
        if std::net::TcpListener::bind("[::1]:0").is_err() {
            eprintln!("skipped: this machine has no IPv6");
            return;
        }
        for endpoint in [":0", "0.0.0.0:0", "[::]:0"] {
            let listener = Listener::tcp(endpoint).await.expect("bound");
            let address = listener.local_addr().expect("an address");
            assert!(address.ip().is_unspecified() && address.is_ipv6(), "{endpoint} {address}");
            for ip in ["127.0.0.1", "::1"] {
                let ip: IpAddr = ip.parse().expect("an address");
                let _client = TcpStream::connect((ip, address.port())).await.expect("connected");
                let (_, peer) = listener.accept(Use::Telemetry).await;
                assert_eq!(peer.expect("an address").ip(), ip, "{endpoint}");
            }
        }
    }

    #[tokio::test]
    async fn an_endpoint_of_the_other_family_is_refused_with_the_cure() {
        let refused = Listener::owned(&Handover::default(), "otlp", Network::Tcp6, "0.0.0.0:4317").await;
        let text = refused.expect_err("none of IPv6").to_string();
        let expected = "listen tcp6 0.0.0.0:4317: no suitable address found; `transport` allows";
        assert!(text.starts_with(expected), "{text}");
    }

    #[tokio::test]
    async fn a_reload_keeps_the_port_however_all_addresses_are_written_and_not_for_one_family() {
        let handover = Handover::default();
        let first = Listener::tcp("0.0.0.0:0").await.expect("bound");
        let port = first.local_addr().expect("an address").port();
        let at = |ip: &str| format!("{ip}:{port}");
        let bound = Network::Tcp.addresses(&at("0.0.0.0")).await.expect("an address");
        handover.keep("otlp", &Network::Tcp.key(&bound[0]), &first.kind);
        let taken = Listener::owned(&handover, "other", Network::Tcp, &at("[::]")).await.expect_err("taken");
        assert!(taken.message().contains("already in use by \"otlp\" of this agent"), "{taken}");
        for spelling in ["[::]", "", "0.0.0.0"] {
            handover.begin(&[("", "otlp".to_owned())].into());
            let next = Listener::owned(&handover, "otlp", Network::Tcp, &at(spelling)).await;
            assert!(Arc::ptr_eq(&next.expect("the same").kind, &first.kind), "{spelling:?}");
            handover.end(true);
        }
        handover.begin(&[("", "otlp".to_owned())].into());
        let refused = Listener::owned(&handover, "otlp", Network::Tcp4, &at("")).await.expect_err("another");
        assert!(refused.message().contains("until a reload has succeeded"), "{refused}");
        assert_ne!(Network::Tcp6.key(&bound[0]), Network::Tcp.key(&bound[0]));
    }

    #[tokio::test]
    async fn an_endpoint_without_a_port_is_refused() {
        let failure = Listener::tcp("localhost").await.expect_err("no port");
        let expected =
            "listen tcp: address localhost: missing port in address; `endpoint` has to be `host:port`";
        assert!(failure.message().starts_with(expected), "{failure}");
    }

    #[tokio::test]
    async fn a_leftover_unix_socket_is_replaced_and_a_living_one_is_not() {
        let directory = std::env::temp_dir().join(format!("weir-otlp-listen-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("directory");
        let path = directory.join("socket");
        let text = path.to_str().expect("text");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        let living = Listener::unix(text).await.expect("leftover is replaced");
        let failure = Listener::unix(text).await.expect_err("taken");
        let expected = format!(
            "listen unix {text}: bind: address already in use; another program listens there (`ss -lxp`"
        );
        assert!(failure.message().starts_with(&expected), "{failure}");
        drop(living);
        assert!(!path.exists());
        std::fs::remove_dir(&directory).expect("removed");
    }

    #[tokio::test]
    async fn what_is_no_socket_is_kept_wherever_an_endpoint_or_the_end_of_a_listener_finds_it() {
        let directory = std::env::temp_dir().join(format!("weir-otlp-kept-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("directory")).expect("directory");
        let at = |name: &str| directory.join(name);
        std::fs::write(at("file"), "of the user").expect("written");
        std::os::unix::fs::symlink(at("file"), at("link")).expect("linked");
        drop(std::os::unix::net::UnixListener::bind(at("leftover")).expect("bound"));
        std::os::unix::fs::symlink(at("leftover"), at("link to a socket")).expect("linked");
        let found = [
            ("file", "a file is there"),
            ("link", "a symbolic link is there"),
            ("link to a socket", "a symbolic link is there"),
            ("directory", "a directory is there"),
        ];
        for (name, what) in found {
            let failure = Listener::unix(at(name).to_str().expect("text")).await.expect_err("taken");
            let text = failure.message();
            assert!(text.contains("bind: address already in use") && text.contains(what), "{text}");
            assert!(text.contains("set another, or remove"), "{text}");
            assert!(std::fs::symlink_metadata(at(name)).is_ok(), "{name}");
        }
        let listener = Listener::unix(at("leftover").to_str().expect("text")).await.expect("bound");
        std::fs::rename(at("file"), at("leftover")).expect("in its place");
        drop(listener);
        assert_eq!(std::fs::read_to_string(at("leftover")).expect("kept"), "of the user");
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}

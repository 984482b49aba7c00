//! A bad network: a proxy on loopback that delays, throttles, swallows and breaks what goes through it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;

use crate::listening::{Listening, lock};
use crate::ports::free_port;

/// What becomes of the bytes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They are passed on.
    None,
    /// They are passed on after that time.
    Delay(Duration),
    /// So many are passed on each second.
    Throttle(usize),
    /// They are taken and never seen again.
    Blackhole,
    /// As before, and the client is told at once that no answer will come.
    HalfClose,
    /// The connection is reset (RST) while they are on their way.
    Reset,
}

/// A proxy in front of a port. Connections that a fault broke are gone; all others do as the current fault says.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    _listening: Listening,
}

struct Shared {
    to: u16,
    fault: Mutex<Fault>,
    /// Pieces that a fault met.
    met: AtomicUsize,
    /// Both ends of each connection.
    open: Mutex<HashMap<u64, [TcpStream; 2]>>,
}

impl Proxy {
    pub(crate) fn before(to: u16) -> Proxy {
        let port = free_port();
        let shared = Arc::new(Shared {
            to,
            fault: Mutex::new(Fault::None),
            met: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let (relaying, numbers) = (Arc::clone(&shared), AtomicU64::new(0));
        let listening = Listening::on(port, move |client| {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            drop(relay(number, client, &relaying));
            lock(&relaying.open).remove(&number);
        });
        Proxy { port, shared, _listening: listening }
    }

    /// From now on this happens. What the last fault left hanging is closed.
    pub(crate) fn set(&self, fault: Fault) {
        *lock(&self.shared.fault) = fault;
        self.shared.met.store(0, Ordering::Relaxed);
        let open = std::mem::take(&mut *lock(&self.shared.open));
        open.into_values().flatten().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    /// How often the fault has met something.
    pub(crate) fn met(&self) -> usize {
        self.shared.met.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Fault::None);
    }
}

/// Carries bytes both ways until one side is done or the fault has broken it.
fn relay(number: u64, mut client: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", shared.to))?;
    lock(&shared.open).insert(number, [client.try_clone()?, server.try_clone()?]);
    let (mut back, mut answers) = (client.try_clone()?, server.try_clone()?);
    let is_reset = Arc::new(AtomicBool::new(false));
    let without_end = Arc::clone(&is_reset);
    let answering = thread::spawn(move || {
        drop(std::io::copy(&mut answers, &mut back));
        if !without_end.load(Ordering::SeqCst) {
            drop(back.shutdown(Shutdown::Both));
        }
    });
    let mut piece = vec![0; 65536];
    loop {
        let length = client.read(&mut piece)?;
        if length == 0 {
            return server.shutdown(Shutdown::Both);
        }
        let fault = *lock(&shared.fault);
        if fault != Fault::None {
            shared.met.fetch_add(1, Ordering::Relaxed);
        }
        match fault {
            Fault::None => server.write_all(&piece[..length])?,
            Fault::Delay(time) => {
                thread::sleep(time);
                server.write_all(&piece[..length])?;
            }
            Fault::Throttle(rate) => {
                for part in piece[..length].chunks((rate / 10).max(1)) {
                    thread::sleep(Duration::from_millis(100));
                    server.write_all(part)?;
                }
            }
            Fault::Blackhole => {}
            Fault::HalfClose => client.shutdown(Shutdown::Write)?,
            Fault::Reset => {
                is_reset.store(true, Ordering::SeqCst);
                server.shutdown(Shutdown::Both)?;
                drop(answering.join());
                return reset(number, client, shared);
            }
        }
    }
}

/// Resets a connection. The last handle that closes does so, with no time to linger; a shutdown would send FIN first.
fn reset(number: u64, client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    lock(&shared.open).remove(&number);
    TcpSocket::from_std_stream(client).set_zero_linger()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpListener;

    use super::*;

    /// A client of a proxy with that fault, and who is behind it.
    fn connected(fault: Fault) -> (Proxy, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let proxy = Proxy::before(listener.local_addr().expect("bound").port());
        proxy.set(fault);
        let client = TcpStream::connect(("127.0.0.1", proxy.port)).expect("connects");
        let (server, _) = listener.accept().expect("connected");
        client.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        (proxy, client, server)
    }

    #[test]
    fn a_reset_is_one_and_no_end() {
        for _ in 0..20 {
            let (proxy, mut client, _server) = connected(Fault::Reset);
            client.write_all(b"a request").expect("written");
            let read = client.read(&mut [0; 10]).map_err(|error| error.kind());
            assert_eq!((read, proxy.met()), (Err(ErrorKind::ConnectionReset), 1));
        }
    }

    #[test]
    fn what_is_late_arrives() {
        let (proxy, mut client, mut server) = connected(Fault::Delay(Duration::from_millis(50)));
        client.write_all(b"a request").expect("written");
        let mut request = [0; 9];
        server.read_exact(&mut request).expect("read");
        assert_eq!((&request, proxy.met()), (b"a request", 1));
    }

    #[test]
    fn half_closed_ends_the_answers_and_not_the_connection() {
        let (_proxy, mut client, mut server) = connected(Fault::HalfClose);
        client.write_all(b"a request").expect("written");
        assert_eq!(client.read(&mut [0; 10]).expect("the end"), 0);
        client.write_all(b"more").expect("taken");
        server.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        let read = server.read(&mut [0; 10]).map_err(|error| error.kind());
        assert_eq!(read, Err(ErrorKind::WouldBlock), "neither bytes nor an end");
    }
}

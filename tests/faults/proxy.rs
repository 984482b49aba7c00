//! A bad network: a proxy on loopback that delays, throttles, swallows and breaks what goes through it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

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
    open: Mutex<Vec<TcpStream>>,
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
        let relaying = Arc::clone(&shared);
        let listening = Listening::on(port, move |client| drop(relay(client, &relaying)));
        Proxy { port, shared, _listening: listening }
    }

    /// From now on this happens. What the last fault left hanging is closed.
    pub(crate) fn set(&self, fault: Fault) {
        *lock(&self.shared.fault) = fault;
        self.shared.met.store(0, Ordering::Relaxed);
        lock(&self.shared.open).drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
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
fn relay(mut client: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", shared.to))?;
    lock(&shared.open).extend([client.try_clone()?, server.try_clone()?]);
    let (mut back, mut answers) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        drop(std::io::copy(&mut answers, &mut back));
        drop(back.shutdown(Shutdown::Both));
    });
    let mut piece = vec![0; 65536];
    loop {
        let fault = *lock(&shared.fault);
        // A socket that is closed with bytes unread is reset; so it only looks.
        let length =
            if fault == Fault::Reset { client.peek(&mut piece)? } else { client.read(&mut piece)? };
        if length == 0 {
            return server.shutdown(Shutdown::Both);
        }
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
                server.shutdown(Shutdown::Both)?;
                return client.shutdown(Shutdown::Both);
            }
        }
    }
}

//! A bad network: a proxy on loopback that delays, throttles, swallows and breaks what goes through it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

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
}

struct Shared {
    to: u16,
    fault: Mutex<Fault>,
    /// Pieces that a fault met.
    met: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
}

impl Proxy {
    pub(crate) fn before(to: u16) -> Proxy {
        let port = free_port();
        let shared = Arc::new(Shared {
            to,
            fault: Mutex::new(Fault::None),
            met: AtomicUsize::new(0),
            open: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        listener.set_nonblocking(true).expect("set");
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            while !accepting.ended.load(Ordering::Relaxed) {
                let Ok((client, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                client.set_nonblocking(false).expect("set");
                let shared = Arc::clone(&accepting);
                thread::spawn(move || drop(relay(client, &shared)));
            }
        });
        Proxy { port, shared }
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
        self.shared.ended.store(true, Ordering::Relaxed);
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

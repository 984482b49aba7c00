//! Ports on loopback for servers by hand.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A port that accepts connections; it is closed when dropped, the connections stay.
pub(crate) struct Listening(Arc<AtomicBool>);

impl Listening {
    /// Has each connection to the port served in a thread of its own.
    pub(crate) fn on(port: u16, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Listening {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        listener.set_nonblocking(true).expect("set");
        let ended = Arc::new(AtomicBool::new(false));
        let (until, serve) = (Arc::clone(&ended), Arc::new(serve));
        thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).expect("set");
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        Listening(ended)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

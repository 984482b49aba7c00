//! A byte stream to a peer, whatever carries it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A connection.
#[derive(Debug)]
pub(crate) enum Io {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<Io>>),
}

impl Io {
    /// Whether ALPN chose HTTP/2.
    pub(crate) fn negotiated_http2(&self) -> bool {
        match self {
            Io::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
            Io::Tcp(_) | Io::Unix(_) => false,
        }
    }

    /// What was sent and not taken is thrown away when the connection is closed: the system would keep offering it to a
    /// peer that does not read. A peer that does hears a reset. Only TCP needs that.
    pub(crate) fn forget_what_was_sent(&self) {
        match self {
            // Where it fails there is no connection any more.
            Io::Tcp(stream) => drop(stream.set_zero_linger()),
            Io::Tls(stream) => stream.get_ref().0.forget_what_was_sent(),
            Io::Unix(_) => {}
        }
    }

    /// Waits for the first byte of a peer, and says whether it left without any. Only TCP is looked at.
    pub(crate) async fn is_left_in_silence(&self) -> bool {
        match self {
            Io::Tcp(stream) => stream.peek(&mut [0]).await.ok().unwrap_or_default() == 0,
            Io::Unix(_) | Io::Tls(_) => false,
        }
    }
}

macro_rules! delegate {
    ($self:ident, $method:ident($($arg:expr),*)) => {
        match $self.get_mut() {
            Io::Tcp(io) => Pin::new(io).$method($($arg),*),
            Io::Unix(io) => Pin::new(io).$method($($arg),*),
            Io::Tls(io) => Pin::new(io).$method($($arg),*),
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Io::Tcp(io) => io.is_write_vectored(),
            Io::Unix(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown(cx))
    }
}

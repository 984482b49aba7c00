//! A server on loopback that answers as it is told.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a server answers.
pub(super) enum Page {
    /// This status, these header lines and this body.
    Full(u16, String, Vec<u8>),
    /// A body without end.
    Endless,
    /// The head of an answer of that many bytes, and then nothing.
    Announced(usize),
    /// Nothing, ever.
    Silence,
    /// The connection ends in the middle of the body.
    Cut(Vec<u8>),
}

/// A short answer.
pub(super) fn status(status: u16, headers: &str, body: &str) -> Page {
    Page::Full(status, headers.to_owned(), body.as_bytes().to_vec())
}

/// Answers GET requests on a free port by their path and headers until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    listener: TcpListener,
    pub(super) requests: AtomicUsize,
    pub(super) connections: AtomicUsize,
}

impl Server {
    pub(super) async fn bind() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("address");
        Server { address, listener, requests: AtomicUsize::new(0), connections: AtomicUsize::new(0) }
    }

    /// Serves for as long as it is polled; `page` gets the head of a request.
    pub(super) async fn serve(&self, page: impl Fn(&str) -> Page) {
        let mut open = FuturesUnordered::new();
        loop {
            let accepted = {
                let next = pin!(self.listener.accept());
                let serving = pin!(async {
                    while open.next().await.is_some() {}
                    std::future::pending::<()>().await;
                });
                match select(next, serving).await {
                    Either::Left((accepted, _)) => accepted.expect("accepted"),
                    Either::Right(_) => continue,
                }
            };
            self.connections.fetch_add(1, Ordering::Relaxed);
            open.push(self.answer(accepted.0, &page));
        }
    }

    async fn answer(&self, mut stream: TcpStream, page: &impl Fn(&str) -> Page) {
        let mut seen = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(n) => seen.extend_from_slice(&buffer[..n]),
            }
            let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(seen.drain(..end + 4).collect()).expect("text");
            self.requests.fetch_add(1, Ordering::Relaxed);
            if write(&mut stream, page(&head)).await.is_err() {
                return;
            }
        }
    }
}

async fn write(stream: &mut TcpStream, page: Page) -> std::io::Result<()> {
    match page {
        Page::Full(status, headers, body) => {
            let head = format!("HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await
        }
        Page::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            let chunk = [b"4000\r\n".as_slice(), &[0; 0x4000], b"\r\n"].concat();
            loop {
                stream.write_all(&chunk).await?;
            }
        }
        Page::Announced(length) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            std::future::pending().await
        }
        Page::Silence => std::future::pending().await,
        Page::Cut(body) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len() + 1);
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
            stream.shutdown().await?;
            Err(std::io::ErrorKind::Other.into())
        }
    }
}

/// The path of a request.
pub(super) fn path(head: &str) -> &str {
    head.split(' ').nth(1).expect("a path")
}

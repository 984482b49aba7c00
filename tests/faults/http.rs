//! The smallest HTTP/1.1 client that keeps its connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A connection to a loopback port, opened when it is needed.
pub(crate) struct Client {
    port: u16,
    /// What it calls the server.
    host: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(port: u16) -> Client {
        Client::named(port, format!("127.0.0.1:{port}"))
    }

    /// One that calls the server so.
    pub(crate) fn named(port: u16, host: String) -> Client {
        Client { port, host, stream: None }
    }

    /// Sends a request; its status code, or none when the connection failed.
    pub(crate) fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> Option<u16> {
        let status = self.exchange(path, headers, body);
        if status.is_none() {
            self.stream = None;
        }
        status.map(|(status, _)| status)
    }

    /// The same with the body of the answer.
    pub(crate) fn exchange(&mut self, path: &str, headers: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
            stream.set_write_timeout(Some(Duration::from_secs(30))).ok()?;
            self.stream = Some(BufReader::new(stream));
        }
        let stream = self.stream.as_mut()?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        // A server may answer and close before it has read everything.
        let written = stream.get_mut().write_all(&bytes);
        let (status, length, close) = response_head(stream)?;
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).ok()?;
        if close || written.is_err() {
            self.stream = None;
        }
        Some((status, answer))
    }
}

/// Gets a page, asking for it under that name of the host; status and body.
pub(crate) fn get(port: u16, path: &str, host: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Status, length of the body, and whether the connection ends.
fn response_head(stream: &mut impl BufRead) -> Option<(u16, usize, bool)> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let (mut length, mut close) = (0, false);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            return Some((status, length, close));
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        close |= line == "connection: close";
    }
}

//! HTTP/2 by hand (RFC 9113): what no library would send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The header block of an `Export` call.
pub(crate) fn export_headers() -> Vec<u8> {
    headers(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
        (":authority", "127.0.0.1"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

/// A header block in literals without indexing (RFC 7541, 6.2.2), each shorter than 127 bytes.
pub(crate) fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A connection after preface and settings.
pub(crate) fn connect(port: u16) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(PREFACE)?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    stream.write_all(&frame(SETTINGS, 1, 0, &[]))?;
    Ok(stream)
}

/// The head of a call.
pub(crate) fn call(number: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, number, &export_headers())
}

/// A call whose message never comes.
pub(crate) fn open_call(stream: &mut TcpStream, number: u32) -> std::io::Result<()> {
    stream.write_all(&call(number))
}

/// A whole call with a message that fits into the windows of a new connection; whether its stream was answered, and not reset.
pub(crate) fn export(stream: &mut TcpStream, number: u32, message: &[u8]) -> std::io::Result<bool> {
    let length = (message.len() as u32).to_be_bytes();
    let body = [&[0], &length[..], message].concat();
    open_call(stream, number)?;
    stream.write_all(&frame(DATA, END_STREAM, number, &body))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload)?;
        let of_call = head[5..] == number.to_be_bytes();
        if of_call && matches!(head[3], HEADERS | DATA) && head[4] & END_STREAM != 0 {
            return Ok(true);
        }
        if head[3] == GOAWAY || of_call && head[3] == RST_STREAM {
            return Ok(false);
        }
    }
}

/// What the peer has to say: the kinds of frames that are there now, and whether it has closed.
pub(crate) fn heard(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let (mut bytes, mut part) = (Vec::new(), [0; 16384]);
    let closed = loop {
        match stream.read(&mut part) {
            Ok(0) => break true,
            Ok(n) => bytes.extend(&part[..n]),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                break false;
            }
            Err(_) => break true,
        }
    };
    let (mut kinds, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + 9) {
        kinds.push(head[3]);
        at += 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    }
    (kinds, closed)
}

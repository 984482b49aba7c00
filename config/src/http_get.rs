//! A plain `GET` for the `http:` and `https:` providers: at start and at each reload, blocking, bounded in time and size.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::yaml::MAX_BYTES;

/// Longest time for the connection, and for each read.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest time for all of it, but for the name to be resolved, which the system bounds: 16 MiB at 280 KB/s.
const WHOLE: Duration = Duration::from_secs(60);
/// Largest head of an answer.
const MAX_HEAD: usize = 64 << 10;

/// The body of a URL that answers with 200. Redirects are not followed.
pub(crate) fn get(url: &str) -> Result<Vec<u8>, String> {
    get_within(WHOLE, url)
}

fn get_within(whole: Duration, url: &str) -> Result<Vec<u8>, String> {
    let failed =
        |reason: String| format!("unable to download the file via HTTP GET for uri {url:?}: {reason}");
    let target = Target::parse(url).ok_or_else(|| failed("not a URL".to_owned()))?;
    let answer = exchange(&target, whole).map_err(|error| failed(error.to_string()))?;
    let (status, body) = read_answer(&answer).map_err(|error| failed(error.to_string()))?;
    if status != 200 {
        return Err(format!("failed to load resource from uri {url:?}. status code: {status}"));
    }
    Ok(body)
}

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    tls: bool,
    host: &'a str,
    port: u16,
    /// Host and port as written, for the `Host` header.
    authority: &'a str,
    path: &'a str,
}

impl<'a> Target<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let (tls, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://")?),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let path_start = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_start);
        let clean = |text: &str| !text.chars().any(|letter| letter.is_ascii_control() || letter == ' ');
        if authority.is_empty() || authority.contains('@') || !clean(rest) {
            return None;
        }
        let default_port = if tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, default_port),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(Self { tls, host, port, authority, path })
    }
}

/// Sends the request and reads all that comes back.
fn exchange(target: &Target<'_>, whole: Duration) -> io::Result<Vec<u8>> {
    let stream = connect(target, Deadline::after(whole))?;
    if !target.tls {
        return talk(stream, target);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(target.host.to_owned()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    talk(StreamOwned::new(connection, stream), target)
}

fn connect(target: &Target<'_>, deadline: Deadline) -> io::Result<Timed> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (target.host, target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, deadline.patience()?) {
            Ok(stream) => return Ok(Timed { stream, deadline }),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// When everything has to be there.
#[derive(Clone, Copy)]
struct Deadline(Instant);

#[expect(clippy::disallowed_methods, reason = "a configuration is read outside of the pipelines")]
impl Deadline {
    fn after(whole: Duration) -> Deadline {
        Deadline(Instant::now() + whole)
    }

    /// How long the next step may take.
    fn patience(self) -> io::Result<Duration> {
        match self.0.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(late()),
            left => Ok(left.min(PATIENCE)),
        }
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the answer did not come in time")
}

/// A connection with a deadline, which many small reads do not move.
struct Timed {
    stream: TcpStream,
    deadline: Deadline,
}

impl Timed {
    fn in_time<T>(result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late(),
            _ => error,
        })
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.deadline.patience()?))?;
        Timed::in_time(self.stream.read(buffer))
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.deadline.patience()?))?;
        Timed::in_time(self.stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn talk<S: Read + Write>(mut stream: S, target: &Target<'_>) -> io::Result<Vec<u8>> {
    let path = match target.path {
        "" => "/".to_owned(),
        path if path.starts_with('?') => format!("/{path}"),
        path => path.to_owned(),
    };
    let host = target.authority;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: weir\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    // Twice the size covers the framing of chunks of a few bytes.
    let limit = u64::try_from(MAX_HEAD + 2 * MAX_BYTES).unwrap_or(u64::MAX);
    match stream.take(limit).read_to_end(&mut answer) {
        // Servers that close without TLS's close_notify; lengths are checked below.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(answer),
        Err(error) => Err(error),
        Ok(_) => Ok(answer),
    }
}

/// Status and body of an answer.
pub(crate) fn read_answer(answer: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let wrong = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let end = answer.windows(4).take(MAX_HEAD).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| wrong("malformed HTTP response"))?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| wrong("malformed HTTP response"))?;
    let mut body = &answer[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| wrong("malformed HTTP response"))?;
    let mut chunked = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("content-length") {
            let length: usize = value.parse().map_err(|_| wrong("malformed Content-Length"))?;
            body = body.get(..length).ok_or_else(|| wrong("unexpected EOF"))?;
        }
    }
    let body =
        if chunked { dechunk(body).ok_or_else(|| wrong("malformed chunked body"))? } else { body.to_vec() };
    if body.len() > MAX_BYTES {
        return Err(wrong("the document is over the limit of 16 MiB"));
    }
    Ok((status, body))
}

/// A body without the framing of its chunks; `None` when it is cut off.
fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = rest.windows(2).position(|window| window == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..line_end]).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[line_end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = |tls, host, port, authority, path| Some(Target { tls, host, port, authority, path });
        assert_eq!(Target::parse("http://a/b?c#d"), target(false, "a", 80, "a", "/b?c"));
        assert_eq!(Target::parse("https://a:8443"), target(true, "a", 8443, "a:8443", ""));
        assert_eq!(Target::parse("http://[::1]:80/x"), target(false, "::1", 80, "[::1]:80", "/x"));
        assert_eq!(Target::parse("http://[::1]/x"), target(false, "::1", 80, "[::1]", "/x"));
        for wrong in
            ["ftp://a", "http://", "http://u:p@a/", "http://a/ b", "http://a:x/", "http://a/\r\nX: y"]
        {
            assert_eq!(Target::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bodies_of_either_framing_are_read_and_cut_ones_refused() {
        let cases: &[(&str, Option<(u16, &str)>)] = &[
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na: 1", Some((200, "a: 1"))),
            ("HTTP/1.0 200 OK\r\n\r\na: 1", Some((200, "a: 1"))),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\na:\r\n2\r\n 1\r\n0\r\n\r\n",
                Some((200, "a: 1")),
            ),
            ("HTTP/1.1 404 Not Found\r\n\r\n", Some((404, ""))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na: 1", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\na:", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\na:", None),
            ("SSH-2.0\r\n\r\n", None),
            ("", None),
        ];
        for (answer, expected) in cases {
            let read = read_answer(answer.as_bytes()).ok();
            let expected = expected.map(|(status, body)| (status, body.as_bytes().to_vec()));
            assert_eq!(read, expected, "{answer:?}");
        }
    }

    #[test]
    fn a_document_is_fetched_from_a_server() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na: b\n").unwrap();
            String::from_utf8(request).unwrap()
        });
        assert_eq!(get(&format!("http://{address}/x.yaml")), Ok(b"a: b\n".to_vec()));
        let request = server.join().unwrap();
        assert!(request.starts_with(&format!("GET /x.yaml HTTP/1.1\r\nHost: {address}\r\n")), "{request}");
    }

    #[test]
    fn a_server_that_drips_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            // Byte by byte, until the client goes away.
            while stream.write_all(b"x").is_ok() {}
        });
        let error = get_within(Duration::from_millis(300), &url).unwrap_err();
        assert!(error.ends_with(": the answer did not come in time"), "{error}");
    }

    #[test]
    fn a_server_that_is_not_there_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        drop(listener);
        let error = get(&url).unwrap_err();
        assert!(
            error.starts_with(&format!("unable to download the file via HTTP GET for uri {url:?}: ")),
            "{error}"
        );
    }
}

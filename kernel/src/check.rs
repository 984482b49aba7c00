//! What must hold for any bytes of a netlink datagram and any text of `/proc`; for tests and for fuzzing.

use std::collections::VecDeque;
use std::io;

use crate::diag::{Family, Socket};
use crate::dump::{self, Transport};
use crate::netlink::{HEADER, attributes, messages, write_attribute, write_message};
use crate::process::{
    parse_descriptor_limit, parse_kilobytes, parse_port_range, parse_stat, parse_uptime_ns,
};
use crate::query::Query;
use crate::{DumpReport, cgroup};

/// Messages and attributes that are written again are read again, and a dump that gets these bytes as an answer ends.
pub fn datagram(bytes: &[u8]) {
    let mut again = Vec::new();
    let read: Vec<_> = messages(bytes).collect();
    assert!(read.len() <= bytes.len() / HEADER + 1, "more messages than there is room for");
    for message in read.iter().flatten() {
        write_message(&mut again, message.kind, message.flags, message.sequence, message.payload);
        let socket = Socket::parse(message.payload);
        let Some((head, rest)) = message.payload.split_at_checked(crate::diag::MESSAGE) else {
            assert!(socket.is_err(), "a short answer is read");
            continue;
        };
        let mut copy = head.to_vec();
        attributes(rest).for_each(|(kind, value)| write_attribute(&mut copy, kind, value));
        assert_eq!(Socket::parse(&copy).ok(), socket.ok(), "written again it is another socket");
    }
    let good: Vec<_> = read.into_iter().flatten().collect();
    assert!(messages(&again).flatten().eq(good.iter().copied()), "written again they are other messages");
    dumped(bytes);
}

/// Answers once with these bytes and then with nothing.
struct Answer<'a>(VecDeque<&'a [u8]>);

impl Transport for Answer<'_> {
    fn send(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self) -> io::Result<(&[u8], usize)> {
        let datagram = self.0.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        Ok((datagram, datagram.len()))
    }
}

fn dumped(bytes: &[u8]) {
    let sequence = messages(bytes).flatten().next().map_or(1, |message| message.sequence);
    let mut seen = 0u64;
    let mut each = |_: &Socket| seen += 1;
    let query = Query::all(Family::V4);
    let mut answer = Answer(VecDeque::from([bytes]));
    let report = dump::dump(&mut answer, &mut sequence.wrapping_sub(1), &query, &mut each);
    if let Ok(DumpReport { sockets, malformed, .. }) = report {
        assert_eq!(sockets, seen);
        assert!(sockets + malformed <= (bytes.len() / HEADER) as u64 + 1);
    }
}

/// A process of any name is read as it is, and no text of any file makes a reader fail.
pub fn text(text: &str) {
    let mut lines = text.lines();
    let (name, start) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default().len() as u64);
    let stat = format!("7 ({name}) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 {start} 20");
    let read = parse_stat(&stat);
    assert!(
        read.is_some_and(|read| read.command == name && read.ended && read.start_ticks == start),
        "{stat}"
    );
    let kilobytes = parse_kilobytes(text, "VmRSS:");
    assert!(kilobytes.is_none_or(|bytes| bytes % 1024 == 0));
    for line in text.lines() {
        std::hint::black_box((parse_stat(line), parse_port_range(line), parse_uptime_ns(line)));
        std::hint::black_box((parse_descriptor_limit(line), cgroup::parse_mount(line)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::corpus;

    #[test]
    fn datagrams_and_texts_of_the_corpus_are_read_again_as_they_were() {
        corpus("sock_diag").iter().for_each(|bytes| datagram(bytes));
        corpus("proc").iter().for_each(|bytes| text(&String::from_utf8_lossy(bytes)));
    }
}

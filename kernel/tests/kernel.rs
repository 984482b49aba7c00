//! Dumps of the running kernel against sockets that this process opened.
#![expect(clippy::unwrap_used, reason = "functions that tests share")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

use weir_kernel::{Dumper, End, Family, Query, Socket, SocketSource, States, TcpState};

struct Pair {
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
}

fn pair(listen: IpAddr, connect: IpAddr) -> Pair {
    let listener = TcpListener::bind((listen, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect((connect, port)).unwrap();
    let (server, _) = listener.accept().unwrap();
    Pair { listener, client, server }
}

fn dump(query: &Query) -> Vec<Socket> {
    let mut found = Vec::new();
    let report = Dumper::open().unwrap().dump(query, &mut |socket| found.push(*socket)).unwrap();
    assert_eq!((report.malformed, report.partial), (0, false));
    assert_eq!(report.sockets, found.len() as u64);
    found
}

/// The socket with this local port and peer port, found by a filter in the kernel.
fn find(family: Family, local: SocketAddr, peer: SocketAddr) -> Vec<Socket> {
    let end = |address: SocketAddr| End { ip: Some(address.ip()), port: Some(address.port()) };
    dump(&Query { local: end(local), peer: end(peer), ..Query::all(family) })
}

fn cookie(stream: &TcpStream) -> u64 {
    socket2::SockRef::from(stream).cookie().unwrap()
}

fn only(found: &[Socket]) -> Socket {
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

/// Blocks until the peer's end has arrived behind `unread` bytes, and reads nothing.
fn wait_for_end(stream: &TcpStream, unread: usize) {
    let mut beyond = [const { std::mem::MaybeUninit::uninit() }; 16];
    let flags = libc::MSG_PEEK | libc::MSG_WAITALL;
    let seen = socket2::SockRef::from(stream).recv_with_flags(&mut beyond, flags).unwrap();
    assert_eq!(seen, unread);
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[test]
fn both_ends_of_an_established_connection_are_found_with_their_cookies_and_byte_counts() {
    let mut pair = pair(LOOPBACK, LOOPBACK);
    pair.client.write_all(&[1; 1000]).unwrap();
    pair.server.read_exact(&mut [0; 600]).unwrap();
    let (local, peer) = (pair.client.local_addr().unwrap(), pair.client.peer_addr().unwrap());

    let client = only(&find(Family::V4, local, peer));
    assert_eq!((client.state, client.local, client.peer), (TcpState::Established, local, peer));
    assert_eq!(client.cookie, cookie(&pair.client));
    assert_eq!(client.info.unwrap().payload_sent(), Some(1000));

    let server = only(&find(Family::V4, peer, local));
    assert_eq!(server.cookie, cookie(&pair.server));
    assert_eq!((server.rqueue, server.info.unwrap().bytes_received), (400, Some(1000)));
    assert_ne!(client.inode, server.inode);
}

#[test]
fn a_connection_whose_peer_closed_is_in_close_wait_with_its_unread_bytes() {
    let mut pair = pair(LOOPBACK, LOOPBACK);
    pair.server.write_all(b"bye").unwrap();
    pair.server.shutdown(Shutdown::Write).unwrap();
    pair.client.read_exact(&mut [0; 1]).unwrap();
    wait_for_end(&pair.client, 2);
    let (local, peer) = (pair.client.local_addr().unwrap(), pair.client.peer_addr().unwrap());
    let query = Query {
        states: States::of(&[TcpState::CloseWait]),
        local: End { ip: None, port: Some(local.port()) },
        peer: End { ip: None, port: Some(peer.port()) },
        ..Query::all(Family::V4)
    };
    let client = only(&dump(&query));
    assert_eq!((client.state, client.cookie), (TcpState::CloseWait, cookie(&pair.client)));
    assert_eq!(client.rqueue, 3, "two unread bytes and the end");
    assert!(client.is_held());
}

#[test]
fn ipv6_loopback_is_found_in_the_ipv6_dump_only() {
    let pair = pair(LOOPBACK6, LOOPBACK6);
    let (local, peer) = (pair.client.local_addr().unwrap(), pair.client.peer_addr().unwrap());
    let client = only(&find(Family::V6, local, peer));
    assert_eq!((client.local, client.peer, client.mapped), (local, peer, false));
    assert_eq!(client.cookie, cookie(&pair.client));
    let port = End { ip: None, port: Some(local.port()) };
    let others = dump(&Query { local: port, ..Query::all(Family::V4) });
    assert!(others.iter().all(|socket| socket.cookie != client.cookie));
}

#[test]
fn ipv4_on_a_dual_stack_listener_is_an_ipv6_socket_with_ipv4_addresses() {
    let pair = pair(IpAddr::V6(Ipv6Addr::UNSPECIFIED), LOOPBACK);
    let (local, peer) = (pair.client.local_addr().unwrap(), pair.client.peer_addr().unwrap());
    let server = only(&find(Family::V6, peer, local));
    assert_eq!((server.mapped, server.local, server.peer), (true, peer, local));
    assert_eq!(server.cookie, cookie(&pair.server));
}

#[test]
fn a_filter_by_port_and_state_finds_the_listener_alone() {
    let pair = pair(LOOPBACK, LOOPBACK);
    let address = pair.listener.local_addr().unwrap();
    let query = Query {
        states: States::of(&[TcpState::Listen]),
        local: End { ip: Some(address.ip()), port: Some(address.port()) },
        info: false,
        ..Query::all(Family::V4)
    };
    let listener = only(&dump(&query));
    assert_eq!((listener.state, listener.local), (TcpState::Listen, address));
    assert!(listener.inode != 0 && listener.info.is_none());
}

#[test]
fn one_dumper_serves_many_dumps() {
    let pair = pair(LOOPBACK, LOOPBACK);
    let wanted = cookie(&pair.client);
    let mut dumper = Dumper::open().unwrap();
    for _ in 0..3 {
        let mut seen = 0;
        dumper
            .dump(&Query::all(Family::V4), &mut |socket| seen += u32::from(socket.cookie == wanted))
            .unwrap();
        assert!(seen >= 1);
    }
}

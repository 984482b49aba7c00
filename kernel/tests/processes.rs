//! `/proc` of the running system, against this process and one of another user.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use weir_kernel::{Dumper, OwnerError, ProcError, ProcFs, Selector, Watchlist, listener_owner};

const NOBODY: u32 = 65_534;
/// Set for a second run of one of these tests as another user; holds what that run is to look at.
const SUBJECT: &str = "WEIR_TEST_SUBJECT";

fn own_pid() -> u32 {
    std::process::id()
}

#[test]
fn the_sockets_of_this_process_are_found_among_its_descriptors() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let link = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
    let mut inodes = HashSet::new();
    ProcFs::default()
        .socket_inodes(own_pid(), &mut |inode| {
            inodes.insert(format!("socket:[{inode}]"));
        })
        .unwrap();
    assert!(inodes.contains(link.to_str().unwrap()));
}

#[test]
fn the_identity_of_this_process_is_complete() {
    let identity = ProcFs::default().identity(own_pid()).unwrap();
    let executable = std::env::current_exe().unwrap();
    assert_eq!(identity.executable_name, executable.file_name().unwrap().to_str().unwrap());
    assert!(identity.start_ticks > 0);
    assert_eq!(identity.network_namespace, ProcFs::default().network_namespace(None));
    assert!(identity.network_namespace.is_some());
    // Within the years in which this can run, not a boot time of 0.
    assert!(identity.creation_unix_ns.unwrap() > 1_600_000_000_000_000_000);
}

#[test]
fn the_metrics_of_this_process_are_complete_and_follow_its_descriptors() {
    let proc = ProcFs::default();
    let before = proc.metrics(own_pid()).unwrap();
    let held: Vec<_> = (0..500).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let after = proc.metrics(own_pid()).unwrap();
    drop(held);
    // Other tests of this process open and close a few meanwhile.
    let grown = after.descriptors.unwrap() - before.descriptors.unwrap();
    assert!((400..600).contains(&grown), "{grown}");
    assert!(before.resident_bytes.unwrap() > 500_000);
    assert!(before.memory_limit_bytes.unwrap() > before.resident_bytes.unwrap());
    assert!(before.ephemeral_ports.unwrap() > 1);
    assert!(before.descriptor_limit.is_none_or(|limit| limit >= before.descriptors.unwrap()));
}

#[test]
fn this_process_is_found_by_its_name_and_by_its_pid() {
    let executable = std::env::current_exe().unwrap();
    let name = executable.file_name().unwrap().to_str().unwrap().to_owned();
    let by_name = Selector { name: Some(name), ..Selector::default() };
    let by_pid = Selector { pid: Some(own_pid()), ..Selector::default() };
    for selector in [by_name, by_pid] {
        let mut list = Watchlist::new(vec![selector], 0);
        list.refresh(&ProcFs::default()).unwrap();
        assert!(list.watched().iter().any(|identity| identity.pid == own_pid()));
    }
}

#[test]
fn this_process_owns_its_listeners_on_each_kind_of_address() {
    let cases = [
        ("127.0.0.1:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.1"),
        ("[::]:0", "127.0.0.1"),
        ("[::1]:0", "::1"),
    ];
    for (listen, connect) in cases {
        let listener = TcpListener::bind(listen).unwrap();
        let endpoint = SocketAddr::new(connect.parse().unwrap(), listener.local_addr().unwrap().port());
        let mut dumper = Dumper::open().unwrap();
        let owner = listener_owner(&mut dumper, &ProcFs::default(), endpoint).unwrap().unwrap();
        assert_eq!((owner.process.pid, owner.listeners), (own_pid(), 1), "{listen}");
        assert_eq!(owner.process, ProcFs::default().identity(own_pid()).unwrap());
    }
}

#[test]
fn an_address_that_two_sockets_share_says_so() {
    let share = |address: SocketAddr| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(8).unwrap();
        TcpListener::from(socket)
    };
    let first = share("127.0.0.1:0".parse().unwrap());
    let _second = share(first.local_addr().unwrap());
    let owner = listener_owner(&mut Dumper::open().unwrap(), &ProcFs::default(), first.local_addr().unwrap());
    assert_eq!(owner.unwrap().unwrap().listeners, 2);
}

#[test]
fn an_address_on_which_nobody_listens_has_no_owner() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // A connection on the port is not a listener.
    let _client = TcpStream::connect(address).unwrap();
    let (_server, _) = listener.accept().unwrap();
    drop(listener);
    assert_eq!(listener_owner(&mut Dumper::open().unwrap(), &ProcFs::default(), address).unwrap(), None);
}

/// As root this starts itself again as nobody; another user has process 1 to look at.
#[test]
fn a_process_of_another_user_is_not_permitted_and_the_message_says_what_is_needed() {
    let proc = ProcFs::default();
    if let Ok(subject) = std::env::var(SUBJECT) {
        let (pid, endpoint) = subject.split_once(' ').unwrap();
        let error = proc.socket_inodes(pid.parse().unwrap(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, ProcError::NotPermitted { .. }), "{error}");
        assert!(error.to_string().contains("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"), "{error}");
        // Sockets are listed without any right; only their owner is kept back.
        let owner = listener_owner(&mut Dumper::open().unwrap(), &proc, endpoint.parse().unwrap());
        assert!(matches!(owner, Err(OwnerError::Proc(ProcError::NotPermitted { .. }))), "{owner:?}");
        let metrics = proc.metrics(pid.parse().unwrap()).unwrap();
        assert!(metrics.resident_bytes.is_some());
        return;
    }
    if proc.socket_inodes(1, &mut |_| {}).is_err() {
        assert!(matches!(proc.socket_inodes(1, &mut |_| {}), Err(ProcError::NotPermitted { pid: 1, .. })));
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = std::env::temp_dir().join(format!("weir-socket-diag-{}-nobody", own_pid()));
    std::fs::copy(std::env::current_exe().unwrap(), &place).unwrap();
    let output = Command::new(&place)
        .args(["--exact", "a_process_of_another_user_is_not_permitted_and_the_message_says_what_is_needed"])
        .env(SUBJECT, format!("{} {}", own_pid(), listener.local_addr().unwrap()))
        .current_dir("/")
        .gid(NOBODY)
        .uid(NOBODY)
        .output();
    std::fs::remove_file(&place).unwrap();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

//! What the kernel reports about a process: its memory, descriptors, threads and listening ports.

use std::fs;
use std::path::Path;

/// Resident memory in KiB (`VmRSS` in `/proc/PID/status`).
pub fn resident_kib(pid: u32) -> u64 {
    status_field(pid, "VmRSS:")
}

/// Threads (`Threads` in `/proc/PID/status`).
pub fn threads(pid: u32) -> u64 {
    status_field(pid, "Threads:")
}

/// Open file descriptors.
pub fn open_files(pid: u32) -> usize {
    let dir = format!("/proc/{pid}/fd");
    fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("cannot look into {dir}: {e}"))
        .count()
}

/// Whether a TCP socket listens on `port` in the network namespace of the process.
///
/// Asking the kernel leaves the server alone: a connection made to find out would be a client to it.
pub fn listens(pid: u32, port: u16) -> bool {
    ["tcp", "tcp6"]
        .iter()
        .any(|table| has_socket(pid, table, |at, state| at == port && state == LISTEN))
}

/// Whether any socket of this process's network namespace has `port` as its local port, be it only the remains of
/// a connection (`TIME_WAIT`): those keep a client from taking the port with `--cport`.
///
/// Binding a socket to find out would not do: a child that another thread starts in that moment has a copy of the
/// socket, and keeps the port taken for a while after it was closed here.
pub fn port_in_use(port: u16) -> bool {
    ["tcp", "tcp6", "udp", "udp6"]
        .iter()
        .any(|table| has_socket(std::process::id(), table, |at, _| at == port))
}

/// Whether a TCP connection on `port`, in the network namespace of this thread, was closed by the client and not yet by its
/// server.
pub fn waits_to_be_closed(port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let rows = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        any_socket(&rows, |at, state| at == port && state == CLOSE_WAIT)
    })
}

/// The datagrams that the connected UDP sockets of a test dropped, as receivers, in the network namespace of the process;
/// `None` without one. The server's are on `port`, the client's are connected to it.
pub fn datagram_drops(pid: u32, port: u16) -> Option<u64> {
    let rows = ["udp", "udp6"].map(|table| rows(pid, table));
    let rows = rows.iter().flat_map(|rows| rows.lines().skip(1));
    let drops = rows.filter_map(|row| {
        let fields: Vec<_> = row.split_whitespace().collect();
        let [_, local, remote, state, .., drops] = fields[..] else {
            return None;
        };
        let of_the_test = [local, remote].map(port_of).contains(&Some(port));
        (of_the_test && state == CONNECTED).then(|| drops.parse().ok())?
    });
    drops.reduce(|sum, more: u64| sum + more)
}

/// Whether a Unix socket listens on `file`, an absolute path.
///
/// The file alone says less: it is there as soon as the socket is bound, and connections are refused until it listens.
pub fn listens_on(file: &Path) -> bool {
    let rows = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    // Address, references, protocol, flags, type, state, inode, path.
    rows.lines().any(|row| {
        let mut fields = row.split_whitespace();
        fields.nth(3) == Some(ACCEPTS) && fields.nth(3).map(Path::new) == Some(file)
    })
}

/// The flag of a Unix socket that listens (include/linux/net.h: `__SO_ACCEPTCON`, 1 << 16).
const ACCEPTS: &str = "00010000";

/// State of a TCP socket (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// State of a TCP socket that the peer has closed.
const CLOSE_WAIT: &str = "08";

/// State of a UDP socket with a peer (include/net/tcp_states.h).
const CONNECTED: &str = "01";

/// `/proc/PID/net/TABLE`: a row is number, local address:port in hex, remote address:port, state, and more.
fn rows(pid: u32, table: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default()
}

/// The port of an address.
fn port_of(field: &str) -> Option<u16> {
    let hex = field.rsplit(':').next()?;
    u16::from_str_radix(hex, 16).ok()
}

fn has_socket(pid: u32, table: &str, wanted: impl Fn(u16, &str) -> bool) -> bool {
    any_socket(&rows(pid, table), wanted)
}

fn any_socket(rows: &str, wanted: impl Fn(u16, &str) -> bool) -> bool {
    rows.lines().skip(1).any(|row| {
        let mut fields = row.split_whitespace().skip(1);
        let port = fields.next().and_then(port_of);
        let state = fields.nth(1);
        port.zip(state)
            .is_some_and(|(port, state)| wanted(port, state))
    })
}

fn status_field(pid: u32, name: &str) -> u64 {
    let file = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("cannot read {file}: {e}"));
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{file} has no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use socket2::{Domain, SockAddr, Socket, Type};

    #[test]
    fn this_process_is_seen() {
        let pid = std::process::id();
        assert!(resident_kib(pid) > 100);
        assert!(threads(pid) >= 1);
        let before = open_files(pid);
        assert!(before >= 3);
    }

    #[test]
    fn a_socket_file_counts_once_its_socket_listens() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("socket");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(&file).unwrap()).unwrap();
        assert!(file.exists() && !listens_on(&file));
        socket.listen(1).unwrap();
        assert!(listens_on(&file));
        drop(socket);
        assert!(file.exists() && !listens_on(&file));
    }

    #[test]
    fn datagrams_that_a_full_socket_drops_are_seen() {
        let pid = std::process::id();
        let [here, there] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let [from, to] = [&here, &there].map(|socket| socket.local_addr().unwrap());
        assert_eq!(datagram_drops(pid, to.port()), None);
        there.connect(from).unwrap();
        assert_eq!(datagram_drops(pid, to.port()), Some(0));
        let full = || datagram_drops(pid, to.port()) > Some(0);
        let dropped = (0..10_000).any(|_| {
            here.send_to(&[0; 1000], to).unwrap();
            full()
        });
        assert!(dropped && datagram_drops(pid, from.port()) > Some(0));
    }

    #[test]
    fn a_listener_is_seen_while_it_listens() {
        let pid = std::process::id();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(pid, port) && port_in_use(port));
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let accepted = listener.accept().unwrap();
        assert!(!waits_to_be_closed(port));
        drop(client);
        assert!(waits_to_be_closed(port));
        drop(accepted);
        assert!(!waits_to_be_closed(port));
        drop(listener);
        assert!(!listens(pid, port));
    }
}

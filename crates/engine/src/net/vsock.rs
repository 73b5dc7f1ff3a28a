//! vsock streams: `AF_VSOCK` between a virtual machine and its host, and the Unix sockets by which VMMs offer it.
//!
//! Behind a VMM's socket file all guests' ports are reached by one line each way: `CONNECT <port>`, `OK <host port>`;
//! what follows is the stream. In the other direction the VMM connects to `<file>_<port>` and says nothing. Other VMMs
//! tie a socket file to each port, where nobody says anything.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Instant;

use iperf_model::{Buffers, CID_ANY, MAX_STREAMS, SocketName, StreamInfo, Transport, VsockAddress};
use iperf_zc::vsock;
use nix::errno::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::EngineError;
use crate::net::options::{left, set, set_window, write_all};
use crate::net::{StreamPlan, StreamSpec, Target};
use crate::stream::{Closing, Stream};

/// The longest answer of a VMM that is still one: `OK ` and a number.
const LONGEST_ANSWER: usize = 32;

/// `VMADDR_PORT_ANY`.
const PORT_ANY: u32 = u32::MAX;

/// `VMADDR_CID_LOCAL` and `VMADDR_CID_HOST`.
const LOCAL: u32 = 1;
const HOST: u32 = 2;

/// A connected vsock, of either kind.
#[derive(Debug)]
pub struct Connection {
    /// The socket, in blocking mode.
    pub socket: Socket,
    /// This end.
    pub local: SocketName,
    /// The peer's end.
    pub remote: SocketName,
}

/// Connects; it blocks until `deadline` at the most.
pub fn open(target: &Target, deadline: Instant) -> Result<Connection, EngineError> {
    match target {
        Target::Vsock(address) => {
            let socket = Socket::new(Domain::VSOCK, Type::STREAM, None);
            open_vsock(*address, socket, deadline)
        }
        Target::Hybrid { path, port } => open_hybrid(path, *port, deadline),
        Target::Unix { path, port } => open_unix(path, *port, deadline),
        Target::Inet(address) => Err(EngineError::Connect {
            address: address.to_string(),
            source: io::ErrorKind::Unsupported.into(),
        }),
    }
}

/// Opens the client's end of a stream and writes `greeting` as its first bytes.
pub(crate) fn connect(
    plan: &StreamPlan,
    target: &Target,
    greeting: &[u8],
    spec: StreamSpec,
    deadline: Instant,
) -> Result<Stream, EngineError> {
    let connection = match target {
        Target::Vsock(address) if plan.transport == Transport::VsockSeqpacket => {
            open_vsock(*address, message_socket(plan), deadline)?
        }
        _ => open(target, deadline)?,
    };
    let failed = |source| EngineError::Connect {
        address: connection.remote.to_string(),
        source,
    };
    write_all(&connection.socket, greeting, deadline).map_err(failed)?;
    adopt(connection, plan, spec)
}

/// Listens for message sockets on a port that the kernel chooses: on the same one a stream socket can't listen beside
/// it, for the kernel looks for ports and not for types.
pub fn listen_for_messages(cid: u32, plan: &StreamPlan) -> Result<(Socket, u32), EngineError> {
    let listen = || {
        let socket = message_socket(plan)?;
        socket.bind(&SockAddr::vsock(cid, PORT_ANY))?;
        socket.listen(i32::from(MAX_STREAMS))?;
        socket.set_nonblocking(true)?;
        let (_, port) = vsock_address(&socket.local_addr()?)?;
        Ok((socket, port))
    };
    listen().map_err(EngineError::system("listen for SOCK_SEQPACKET"))
}

/// A socket with room for two blocks. Those that are accepted from it have as much from their beginning, so that a
/// sender never learns of less: the kernel refuses messages that are longer than the peer's buffer.
fn message_socket(plan: &StreamPlan) -> io::Result<Socket> {
    let socket = Socket::new(Domain::VSOCK, Type::SEQPACKET, None)?;
    let room = 2 * u64::from(plan.block);
    if vsock::buffer_size(socket.as_fd())? < room {
        vsock::set_buffer_size(socket.as_fd(), room)?;
    }
    Ok(socket)
}

/// Makes a stream of a connection. Its greeting has been exchanged.
pub fn adopt(
    connection: Connection,
    plan: &StreamPlan,
    spec: StreamSpec,
) -> Result<Stream, EngineError> {
    let Connection {
        socket,
        local,
        remote,
    } = connection;
    socket
        .set_nonblocking(false)
        .map_err(EngineError::system("make the socket blocking"))?;
    let buffers = shape(&socket, plan)?;
    let info = StreamInfo {
        id: spec.id,
        socket: spec.number,
        local,
        remote,
        role: spec.role,
    };
    Ok(Stream {
        closing: Closing::InOrder,
        ..Stream::new(info, socket, buffers)
    })
}

/// Names the two ends of a vsock connection that was accepted.
pub fn accepted(socket: Socket) -> io::Result<Connection> {
    let (mut local, local_port) = vsock_address(&socket.local_addr()?)?;
    let (remote, remote_port) = vsock_address(&socket.peer_addr()?)?;
    // A socket that was connected without being bound has a port, but does not say its CID.
    if local == CID_ANY {
        local = match remote {
            LOCAL => LOCAL,
            _ => vsock::local_cid().unwrap_or(CID_ANY),
        };
    }
    let name = |cid: u32, port| SocketName {
        host: cid.to_string(),
        port,
    };
    Ok(Connection {
        socket,
        local: name(local, local_port),
        remote: name(remote, remote_port),
    })
}

/// Names the two ends of a connection that a VMM made for a guest. The VMM says neither who the guest is nor from which
/// port it comes.
pub fn forwarded(socket: Socket, path: &Path, port: u32) -> Connection {
    let local = SocketName {
        host: HOST.to_string(),
        port,
    };
    Connection {
        socket,
        local,
        remote: SocketName::hybrid(path, 0),
    }
}

fn open_vsock(
    address: VsockAddress,
    socket: io::Result<Socket>,
    deadline: Instant,
) -> Result<Connection, EngineError> {
    let failed = |source| EngineError::Connect {
        address: SocketName::from(address).to_string(),
        source: explain(address, source),
    };
    let socket = socket.map_err(failed)?;
    vsock::set_connect_timeout(socket.as_fd(), left(deadline)).map_err(failed)?;
    vsock::connect(socket.as_fd(), address.cid, address.port, address.sibling).map_err(failed)?;
    accepted(socket).map_err(failed)
}

/// What the kernel's answer means here.
fn explain(address: VsockAddress, error: io::Error) -> io::Error {
    let VsockAddress { cid, port, .. } = address;
    let hint = match (error.raw_os_error().map(Errno::from_raw), cid) {
        (Some(Errno::ENODEV | Errno::EADDRNOTAVAIL), LOCAL) => {
            "CID 1 needs the kernel module vsock_loopback".to_owned()
        }
        (Some(Errno::ENODEV | Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT), _) => {
            "this machine has no vsock to that CID: a guest needs vmw_vsock_virtio_transport, a host vhost_vsock"
                .to_owned()
        }
        (Some(Errno::ECONNRESET), LOCAL) => format!("nothing listens on port {port} of this machine"),
        (Some(Errno::ECONNRESET), HOST) => format!("nothing listens on port {port} of the host"),
        (Some(Errno::ECONNRESET), _) => format!("nothing listens on port {port} in guest {cid}"),
        (Some(Errno::ETIMEDOUT), HOST) => {
            format!("no answer from the host: does anything listen on port {port} there?")
        }
        (Some(Errno::ETIMEDOUT), _) => format!("no answer from CID {cid}: is there such a guest?"),
        _ => return error,
    };
    io::Error::new(error.kind(), hint)
}

/// Connects to a VMM's socket and asks for a port.
fn open_hybrid(path: &Path, port: u32, deadline: Instant) -> Result<Connection, EngineError> {
    let open = || {
        let socket = connect_unix(path, deadline)?;
        socket.set_write_timeout(Some(left(deadline)))?;
        (&mut &socket).write_all(format!("CONNECT {port}\n").as_bytes())?;
        let host_port = read_answer(&socket, port, deadline)?;
        socket.set_read_timeout(None)?;
        socket.set_write_timeout(None)?;
        Ok((socket, host_port))
    };
    let (socket, host_port) = open().map_err(|error| unreachable(path, port, error))?;
    Ok(through_unix(socket, host_port, path, port))
}

/// Connects to a socket that leads to one port only.
fn open_unix(path: &Path, port: u32, deadline: Instant) -> Result<Connection, EngineError> {
    let socket = connect_unix(path, deadline).map_err(|error| unreachable(path, port, error))?;
    // The VMM does not say which port of the host it uses.
    Ok(through_unix(socket, 0, path, port))
}

/// The longest path of a Unix socket: `sun_path` with its NUL (unix(7)).
const LONGEST_PATH: usize = 107;

/// The address of a Unix socket. The standard library's error would name neither the length nor the limit.
pub fn unix_address(path: &Path) -> io::Result<SockAddr> {
    let length = path.as_os_str().len();
    if length > LONGEST_PATH {
        let text = format!(
            "the path {} has {length} bytes, and that of a socket at most {LONGEST_PATH}",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    SockAddr::unix(path)
}

fn connect_unix(path: &Path, deadline: Instant) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Also the limit of connect, which waits while the VMM's backlog is full.
    socket.set_write_timeout(Some(left(deadline)))?;
    socket.connect(&unix_address(path)?)?;
    socket.set_write_timeout(None)?;
    Ok(socket)
}

fn through_unix(socket: Socket, host_port: u32, path: &Path, port: u32) -> Connection {
    let local = SocketName {
        host: HOST.to_string(),
        port: host_port,
    };
    Connection {
        socket,
        local,
        remote: SocketName::hybrid(path, port),
    }
}

/// What the kernel's answer means for a socket file.
fn unreachable(path: &Path, port: u32, error: io::Error) -> EngineError {
    let file = path.display();
    let hint = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => Some(format!("{file} does not exist: is the VMM running?")),
        Some(Errno::ECONNREFUSED) if !is_socket(path) => Some(format!("{file} is not a socket")),
        Some(Errno::ECONNREFUSED) => Some(format!("nobody listens on {file}: is the VMM running?")),
        Some(Errno::EPROTOTYPE) => Some(format!("{file} is not a stream socket")),
        Some(Errno::EAGAIN) => Some(format!("{file} takes no connections: is the VMM stuck?")),
        Some(Errno::ECONNRESET | Errno::EPIPE) => Some(format!("the VMM closed {file}")),
        _ => None,
    };
    EngineError::Connect {
        address: SocketName::hybrid(path, port).to_string(),
        source: match hint {
            Some(hint) => io::Error::new(error.kind(), hint),
            None => error,
        },
    }
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Reads the VMM's answer, and not a byte of the stream behind it.
fn read_answer(mut socket: &Socket, port: u32, deadline: Instant) -> io::Result<u32> {
    let mut answer = Vec::new();
    loop {
        let mut byte = [0];
        // Anew for each byte: an answer that trickles in takes no longer than any other.
        socket.set_read_timeout(Some(left(deadline)))?;
        match socket.read(&mut byte) {
            Ok(0) => {
                let text = format!(
                    "the VMM closed the connection: nothing listens on port {port} in the guest"
                );
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
            }
            Ok(_) if byte == *b"\n" => break,
            Ok(_) => answer.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("the VMM does not answer CONNECT {port}"),
                ));
            }
            Err(error) => return Err(error),
        }
        if answer.len() > LONGEST_ANSWER {
            break;
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let number = text
        .strip_prefix("OK ")
        .and_then(|number| number.trim_end().parse().ok());
    number.ok_or_else(|| {
        io::Error::other(format!(
            "the VMM answers {text:?} to CONNECT {port}, and not OK and a port"
        ))
    })
}

/// Sets the buffers of `-w`.
fn shape(socket: &Socket, plan: &StreamPlan) -> Result<Buffers, EngineError> {
    let fd = socket.as_fd();
    let Ok(before) = vsock::buffer_size(fd) else {
        set_window(socket, plan)?;
        // A Unix socket keeps what the system allows. There is a buffer of the VMM behind it anyway.
        return super::buffers(socket, plan.options.window).map_err(EngineError::system(
            "read the sizes of the socket's buffers",
        ));
    };
    let mut kept = before;
    if let Some(window) = plan.options.window {
        let least = match plan.transport {
            Transport::VsockSeqpacket => 2 * u64::from(plan.block),
            _ => 0,
        };
        set(
            "SO_VM_SOCKETS_BUFFER_SIZE",
            &window,
            vsock::set_buffer_size(fd, least.max(window.into())),
        )?;
        kept = vsock::buffer_size(fd).unwrap_or(before);
    }
    let kept = u32::try_from(kept).unwrap_or(u32::MAX);
    Ok(Buffers {
        requested: plan.options.window.unwrap_or(0),
        sndbuf: kept,
        rcvbuf: kept,
    })
}

fn vsock_address(address: &SockAddr) -> io::Result<(u32, u32)> {
    address
        .as_vsock_address()
        .ok_or_else(|| io::Error::other("not a vsock address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    /// What a client learns from a VMM that gives this answer.
    fn answered(answer: &'static [u8]) -> Result<Connection, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vm.vsock");
        let listener = UnixListener::bind(&path).unwrap();
        let vmm = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = [0; 13];
            stream.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"CONNECT 5201\n");
            stream.write_all(answer).unwrap();
            // A VMM that knows nobody on the port hangs up.
            (!answer.is_empty()).then_some(stream)
        });
        let target = Target::Hybrid { path, port: 5201 };
        let result = open(&target, Instant::now() + Duration::from_secs(20));
        drop(vmm.join().unwrap());
        result.map_err(|error| error.to_string())
    }

    #[test]
    fn ok_and_a_port_is_a_connection_and_what_follows_is_the_stream() {
        let connection = answered(b"OK 1073741824\nhello").unwrap();
        assert_eq!(
            (connection.local.host.as_str(), connection.local.port),
            ("2", 1_073_741_824)
        );
        let mut rest = String::new();
        (&mut &connection.socket).read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "hello");
    }

    #[test]
    fn other_answers_are_told() {
        for answer in [
            &b"NO\n"[..],
            b"OK many\n",
            b"SSH-2.0-OpenSSH_9.2 and more and more and more",
        ] {
            let error = answered(answer).unwrap_err();
            assert!(
                error.contains("to CONNECT 5201, and not OK and a port"),
                "{error}"
            );
        }
        let error = answered(b"").unwrap_err();
        assert!(
            error.contains("nothing listens on port 5201 in the guest"),
            "{error}"
        );
    }

    #[test]
    fn a_vmm_that_says_nothing_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vm.vsock");
        let _silent = UnixListener::bind(&path).unwrap();
        let target = Target::Hybrid { path, port: 1 };
        let error = open(&target, Instant::now() + Duration::from_millis(100)).unwrap_err();
        assert!(
            error.to_string().contains("does not answer CONNECT 1"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_no_socket_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let target = Target::Hybrid {
            path: file.path().to_owned(),
            port: 1,
        };
        let error = open(&target, Instant::now() + Duration::from_secs(20)).unwrap_err();
        assert!(error.to_string().ends_with("is not a socket"), "{error}");
    }
}

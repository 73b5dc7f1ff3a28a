//! vsock streams between a virtual machine and its host: over `AF_VSOCK`, or through a VMM (see [`crate::net::vmm`]).

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use iperf_model::{
    Buffers, CID_ANY, MAX_STREAMS, SocketName, StreamInfo, TestConfig, Transport, VsockAddress,
};
use iperf_zc::vsock;
use nix::errno::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::EngineError;
use crate::net::connection::{Connection, HOST};
use crate::net::options::{left, make_blocking, set, set_window, write_all};
use crate::net::plan::{StreamPlan, StreamSpec, Target};
use crate::net::vmm;
use crate::stream::{Closing, Stream};

/// `VMADDR_PORT_ANY`: the kernel chooses the port.
pub const PORT_ANY: u32 = u32::MAX;

/// `VMADDR_CID_LOCAL`.
const LOCAL: u32 = 1;

/// The buffer of a stream unless `-w` sets it, in bytes: with the kernel's 256 KiB a sender runs out of credit, and waits, four
/// times as often (docs/experiments.md). Many streams share [`SHARED_ROOM`], but none has less than the kernel gives it.
const ROOM: u64 = 1024 * 1024;
const SHARED_ROOM: u64 = 4 * ROOM;

/// Why CID 1 is not there.
const NEEDS_LOOPBACK: &str = "CID 1 needs the kernel module vsock_loopback";

/// Connects; it blocks until `deadline` at most.
pub fn open(target: &Target, deadline: Instant) -> Result<Connection, EngineError> {
    match target {
        Target::Vsock(address) => {
            let socket = Socket::new(Domain::VSOCK, Type::STREAM, None);
            open_vsock(*address, socket, deadline)
        }
        Target::Vmm(socket) => vmm::open(socket, deadline),
        Target::Inet(address) => Err(EngineError::connect(address)(
            io::ErrorKind::Unsupported.into(),
        )),
    }
}

/// Opens the client's end of a stream and sends `preamble` on it.
pub(crate) fn connect(
    plan: &StreamPlan<'_>,
    target: &Target,
    preamble: &[u8],
    spec: StreamSpec,
    deadline: Instant,
) -> Result<Stream, EngineError> {
    let connection = match target {
        Target::Vsock(address) if plan.test.transport == Transport::VsockSeqpacket => {
            open_vsock(*address, message_socket(plan), deadline)?
        }
        _ => open(target, deadline)?,
    };
    write_all(&connection.socket, preamble, deadline)
        .map_err(EngineError::connect(&connection.remote))?;
    adopt(connection, plan, spec)
}

/// Listens for message sockets on a port that the kernel chooses: on the same one a stream socket can't listen beside
/// it, for the kernel looks for ports and not for types.
pub fn listen_for_messages(cid: u32, plan: &StreamPlan<'_>) -> Result<(Socket, u32), EngineError> {
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
fn message_socket(plan: &StreamPlan<'_>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::VSOCK, Type::SEQPACKET, None)?;
    let room = 2 * u64::from(plan.test.block);
    if vsock::buffer_size(socket.as_fd())? < room {
        vsock::set_buffer_size(socket.as_fd(), room)?;
    }
    Ok(socket)
}

/// Makes a stream of a connection. Its preamble has been exchanged.
pub fn adopt(
    connection: Connection,
    plan: &StreamPlan<'_>,
    spec: StreamSpec,
) -> Result<Stream, EngineError> {
    let Connection {
        socket,
        local,
        remote,
    } = connection;
    make_blocking(&socket)?;
    let buffers = shape(&socket, plan)?;
    let info = StreamInfo {
        id: spec.id,
        socket: spec.number,
        local,
        remote,
        role: spec.role,
    };
    Ok(Stream {
        closing: Closing::Graceful,
        ..Stream::new(info, socket, buffers)
    })
}

/// Names the two ends of a vsock connection that was accepted.
pub fn accepted(socket: Socket) -> io::Result<Connection> {
    let (mut local, local_port) = vsock_address(&socket.local_addr()?)?;
    let (remote, remote_port) = vsock_address(&socket.peer_addr()?)?;
    // A socket that was connected without being bound has a port, but does not report its CID.
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

/// Connects a stream, and nothing more. The kernel waits for two seconds.
pub(super) fn connect_only(address: VsockAddress) -> io::Result<Socket> {
    let socket = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    vsock::connect(socket.as_fd(), address.cid, address.port, address.sibling)
        .map_err(|error| explain(address, error))?;
    Ok(socket)
}

/// Listens for streams on a port that the kernel chooses.
pub(super) fn listen(cid: u32, backlog: i32) -> io::Result<(Socket, u32)> {
    let socket = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    socket.bind(&SockAddr::vsock(cid, PORT_ANY))?;
    socket.listen(backlog)?;
    let (_, port) = vsock_address(&socket.local_addr()?)?;
    Ok((socket, port))
}

/// What the kernel's answer means here.
fn explain(address: VsockAddress, error: io::Error) -> io::Error {
    let VsockAddress { cid, port, .. } = address;
    let hint = match (error.raw_os_error().map(Errno::from_raw), cid) {
        (Some(Errno::ENODEV | Errno::EADDRNOTAVAIL), LOCAL) => {
            NEEDS_LOOPBACK.to_owned()
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

/// What it means that a server can't listen on this CID.
pub fn explain_listen(cid: u32, error: io::Error) -> io::Error {
    if error.raw_os_error().map(Errno::from_raw) != Some(Errno::EADDRNOTAVAIL) {
        return error;
    }
    let hint = match (cid, vsock::local_cid()) {
        (LOCAL, _) => NEEDS_LOOPBACK.to_owned(),
        (_, Ok(own)) if own != CID_ANY => {
            format!("this machine's CID is {own}, not {cid}")
        }
        _ => return error,
    };
    io::Error::new(error.kind(), hint)
}

/// Sets the buffers of `-w`, or those that suit the test.
fn shape(socket: &Socket, plan: &StreamPlan<'_>) -> Result<Buffers, EngineError> {
    let fd = socket.as_fd();
    let Ok(before) = vsock::buffer_size(fd) else {
        set_window(socket, plan)?;
        // A Unix socket keeps what the system allows. There is a buffer of the VMM behind it anyway.
        return super::buffers(socket, plan.test.socket.window).map_err(EngineError::system(
            "read the sizes of the socket's buffers",
        ));
    };
    let wanted = buffer(plan.test, before);
    let mut kept = before;
    if wanted != before {
        let resized = vsock::set_buffer_size(fd, wanted);
        if plan.test.socket.window.is_some() {
            set("SO_VM_SOCKETS_BUFFER_SIZE", &wanted, resized)?;
        }
        kept = vsock::buffer_size(fd).unwrap_or(before);
    }
    let kept = u32::try_from(kept).unwrap_or(u32::MAX);
    Ok(Buffers {
        requested: plan.test.socket.window.unwrap_or(0),
        sndbuf: kept,
        rcvbuf: kept,
    })
}

/// The buffer of a socket that has `before`. A receiver's bounds what its peer may send unread, and on new kernels so does the
/// sender's own (`peer_buf_alloc`, net/vmw_vsock/virtio_transport_common.c). Requests fit into that of the kernel.
fn buffer(test: &TestConfig, before: u64) -> u64 {
    match test.socket.window {
        Some(window) if test.transport == Transport::VsockSeqpacket => {
            u64::from(window).max(2 * u64::from(test.block))
        }
        Some(window) => window.into(),
        None if test.exchange.is_none() => {
            let share = SHARED_ROOM / u64::from(test.streams.max(1));
            before.max(share.min(ROOM))
        }
        None => before,
    }
}

fn vsock_address(address: &SockAddr) -> io::Result<(u32, u32)> {
    address
        .as_vsock_address()
        .ok_or_else(|| io::Error::other("not a vsock address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use iperf_model::Exchange;

    const KERNEL: u64 = 256 * 1024;

    #[test]
    fn streams_share_a_buffer_that_is_larger_than_the_kernels() {
        let mut test = TestConfig::new(Transport::Vsock);
        for (streams, size) in [
            (1, ROOM),
            (4, ROOM),
            (8, ROOM / 2),
            (16, KERNEL),
            (10_000, KERNEL),
        ] {
            test.streams = streams;
            assert_eq!(buffer(&test, KERNEL), size, "{streams}");
        }
    }

    #[test]
    fn requests_and_larger_defaults_keep_the_kernels_buffer() {
        let mut test = TestConfig::new(Transport::Vsock);
        assert_eq!(buffer(&test, 8 * ROOM), 8 * ROOM);
        test.exchange = Some(Exchange::new(1, 1));
        assert_eq!(buffer(&test, KERNEL), KERNEL);
    }

    #[test]
    fn the_user_sets_the_buffer_and_a_message_fits_into_it_twice() {
        let mut test = TestConfig::new(Transport::Vsock);
        test.socket.window = Some(4096);
        assert_eq!(buffer(&test, KERNEL), 4096);
        test.transport = Transport::VsockSeqpacket;
        test.block = 64 * 1024;
        assert_eq!(buffer(&test, KERNEL), 128 * 1024);
    }
}

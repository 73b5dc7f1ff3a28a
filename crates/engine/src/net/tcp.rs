//! TCP and MPTCP data streams.
//!
//! The order of the options is iperf3's: what shapes the handshake comes before `connect`, the congestion control
//! after it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use iperf_model::{Buffers, SocketName, SocketOptions, StreamInfo, Transport};
use iperf_zc::sockopt;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{EngineError, Stream};

/// Everything that shapes one data stream.
#[derive(Clone, Debug)]
pub struct TcpPlan {
    /// TCP or MPTCP.
    pub transport: Transport,
    /// Options for the socket.
    pub options: SocketOptions,
    /// Bits per second for the kernel's pacing.
    pub fq_rate: Option<u64>,
    /// `TCP_USER_TIMEOUT`.
    pub snd_timeout: Option<Duration>,
    /// Local address; its port may be 0.
    pub bind: Option<SocketAddr>,
    /// Local device.
    pub bind_dev: Option<String>,
}

/// Opens the client's end of a stream and writes `greeting` as its first bytes.
pub fn connect(
    plan: &TcpPlan,
    address: SocketAddr,
    greeting: &[u8],
    id: u32,
    sending: bool,
    deadline: Instant,
) -> Result<Stream, EngineError> {
    let protocol = if plan.transport == Transport::Mptcp {
        Protocol::MPTCP
    } else {
        Protocol::TCP
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(protocol))
        .map_err(EngineError::system("open a socket"))?;
    if let Some(local) = plan.bind {
        bind(&socket, local)?;
    }
    if let Some(device) = &plan.bind_dev {
        set(
            "SO_BINDTODEVICE",
            device,
            socket.bind_device(Some(device.as_bytes())),
        )?;
    }
    let buffers = shape(&socket, plan, address.is_ipv4())?;
    if let Some(mss) = plan.options.mss {
        set("TCP_MAXSEG", &mss, socket.set_tcp_mss(u32::from(mss)))?;
    }
    let target = label(&socket, plan, address)?;
    let left = deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1));
    let failed = |source| EngineError::Connect { address, source };
    socket.connect_timeout(&target, left).map_err(failed)?;
    write_all(&socket, greeting, deadline).map_err(failed)?;
    finish(socket, plan, buffers, id, sending)
}

/// Makes a stream of a connection that a server accepted. Its greeting has been read.
pub fn adopt(
    socket: Socket,
    plan: &TcpPlan,
    id: u32,
    sending: bool,
) -> Result<Stream, EngineError> {
    socket
        .set_nonblocking(false)
        .map_err(EngineError::system("make the socket blocking"))?;
    let peer = peer_name(&socket)?;
    let buffers = shape(&socket, plan, peer.ip().to_canonical().is_ipv4())?;
    finish(socket, plan, buffers, id, sending)
}

/// Reads back the sizes of a socket's buffers.
pub fn buffers(socket: &Socket, requested: Option<u32>) -> io::Result<Buffers> {
    let kept = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    Ok(Buffers {
        requested: requested.unwrap_or(0),
        sndbuf: kept(socket.send_buffer_size()?),
        rcvbuf: kept(socket.recv_buffer_size()?),
    })
}

/// The congestion control that a socket uses.
pub fn congestion(socket: &Socket) -> Option<String> {
    let name = socket.tcp_congestion().ok()?;
    let end = name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(name.len());
    Some(String::from_utf8_lossy(&name[..end]).into_owned())
}

fn set<T>(
    option: &'static str,
    value: &(impl ToString + ?Sized),
    result: io::Result<T>,
) -> Result<T, EngineError> {
    result.map_err(|source| EngineError::Option {
        option,
        value: value.to_string(),
        source,
    })
}

fn bind(socket: &Socket, address: SocketAddr) -> Result<(), EngineError> {
    // With a fixed port a new test must not wait for the last one's TIME_WAIT.
    set("SO_REUSEADDR", &1, socket.set_reuse_address(true))?;
    socket
        .bind(&SockAddr::from(address))
        .map_err(|source| EngineError::Bind { address, source })
}

/// Sets what may be set at any time, and checks what the kernel kept.
fn shape(socket: &Socket, plan: &TcpPlan, v4: bool) -> Result<Buffers, EngineError> {
    let options = &plan.options;
    if options.no_delay {
        set("TCP_NODELAY", &1, socket.set_tcp_nodelay(true))?;
    }
    if let Some(window) = options.window {
        let size = window as usize;
        set("SO_RCVBUF", &window, socket.set_recv_buffer_size(size))?;
        set("SO_SNDBUF", &window, socket.set_send_buffer_size(size))?;
    }
    if let Some(timeout) = plan.snd_timeout {
        let millis = timeout.as_millis();
        set(
            "TCP_USER_TIMEOUT",
            &millis,
            socket.set_tcp_user_timeout(Some(timeout)),
        )?;
    }
    let kept = buffers(socket, options.window).map_err(EngineError::system("read buffer sizes"))?;
    for (option, size) in [("SO_SNDBUF", kept.sndbuf), ("SO_RCVBUF", kept.rcvbuf)] {
        if size < kept.requested {
            return Err(EngineError::Buffer {
                option,
                requested: kept.requested,
                kept: size,
            });
        }
    }
    if let Some(rate) = plan.fq_rate {
        set(
            "SO_MAX_PACING_RATE",
            &rate,
            sockopt::set_max_pacing_rate(socket.as_fd(), rate / 8),
        )?;
    }
    if options.tos != 0 {
        let tos = u32::from(options.tos);
        if v4 {
            set("IP_TOS", &tos, socket.set_tos_v4(tos))?;
        } else {
            set("IPV6_TCLASS", &tos, socket.set_tclass_v6(tos))?;
        }
    }
    Ok(kept)
}

/// Reserves the flow label and puts it into the address to connect to.
fn label(socket: &Socket, plan: &TcpPlan, address: SocketAddr) -> Result<SockAddr, EngineError> {
    match (plan.options.flow_label, address) {
        (Some(label), SocketAddr::V6(mut v6)) => {
            set(
                "IPV6_FLOWLABEL",
                &label,
                sockopt::set_flow_label(socket.as_fd(), *v6.ip(), label),
            )?;
            // The field of sockaddr_in6 is in network order.
            v6.set_flowinfo(label.to_be());
            Ok(SockAddr::from(v6))
        }
        (Some(label), SocketAddr::V4(_)) => {
            let source = io::Error::from(io::ErrorKind::Unsupported);
            set("IPV6_FLOWLABEL", &label, Err(source))
        }
        (None, _) => Ok(SockAddr::from(address)),
    }
}

/// Writes the greeting; a fresh connection has room for it, so a wait means that something is wrong.
fn write_all(socket: &Socket, bytes: &[u8], deadline: Instant) -> io::Result<()> {
    let left = deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1));
    socket.set_write_timeout(Some(left))?;
    (&mut &*socket).write_all(bytes)?;
    socket.set_write_timeout(None)
}

fn finish(
    socket: Socket,
    plan: &TcpPlan,
    buffers: Buffers,
    id: u32,
    sending: bool,
) -> Result<Stream, EngineError> {
    if let Some(name) = &plan.options.congestion {
        set(
            "TCP_CONGESTION",
            name,
            socket.set_tcp_congestion(name.as_bytes()),
        )?;
    }
    let local = socket
        .local_addr()
        .and_then(|address| inet(&address))
        .map_err(EngineError::system("read the local address"))?;
    let info = StreamInfo {
        id,
        socket: socket.as_raw_fd(),
        local: SocketName::from(local),
        remote: SocketName::from(peer_name(&socket)?),
        sending,
    };
    let congestion = congestion(&socket);
    Ok(Stream {
        info,
        socket,
        buffers,
        congestion,
    })
}

fn peer_name(socket: &Socket) -> Result<SocketAddr, EngineError> {
    socket
        .peer_addr()
        .and_then(|address| inet(&address))
        .map_err(EngineError::system("read the peer's address"))
}

fn inet(address: &SockAddr) -> io::Result<SocketAddr> {
    address
        .as_socket()
        .ok_or_else(|| io::Error::other("not an internet address"))
}

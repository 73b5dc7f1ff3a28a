//! TCP and MPTCP data streams.
//!
//! The order of the options is iperf3's: what shapes the handshake comes before `connect`, the congestion control
//! after it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use iperf_model::{Buffers, Transport};
use iperf_zc::tcp_info::TcpInfo;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::error::EngineError;
use crate::net::options::{self, congestion, left, set, write_all};
use crate::net::plan::{StreamPlan, StreamSpec};
use crate::net::send_buffer;
use crate::stream::Stream;

/// The round trip of a connection, as the kernel has measured it so far; 0 where it measures none.
pub fn round_trip(socket: impl AsFd) -> Duration {
    let info = TcpInfo::read(socket.as_fd()).unwrap_or_default();
    Duration::from_micros(info.rtt.into())
}

/// The shortest round trip of a connection so far; 0 where none is measured.
pub fn shortest_round_trip(socket: impl AsFd) -> Duration {
    let info = TcpInfo::read(socket.as_fd()).unwrap_or_default();
    Duration::from_micros(info.min_rtt.unwrap_or(info.rtt).into())
}

/// Opens the client's end of a stream and sends `preamble` on it.
pub(crate) fn connect(
    plan: &StreamPlan<'_>,
    address: SocketAddr,
    preamble: &[u8],
    spec: StreamSpec,
    deadline: Instant,
) -> Result<Stream, EngineError> {
    let (socket, target) = unconnected(plan, address)?;
    let buffers = options::kept(&socket, plan)?;
    let failed = EngineError::connect(&address);
    socket
        .connect_timeout(&target, left(deadline))
        .map_err(&failed)?;
    write_all(&socket, preamble, deadline).map_err(failed)?;
    set_congestion(&socket, plan)?;
    finish(socket, plan, buffers, spec)
}

/// A client's socket with all its options but the congestion control, and the address to connect it to.
pub(super) fn unconnected(
    plan: &StreamPlan<'_>,
    address: SocketAddr,
) -> Result<(Socket, SockAddr), EngineError> {
    let socket = open(plan, Domain::for_address(address))?;
    options::bind(&socket, plan)?;
    shape(&socket, plan, address.is_ipv4())?;
    if let Some(mss) = plan.test.socket.mss {
        set("TCP_MAXSEG", &mss, socket.set_tcp_mss(u32::from(mss)))?;
    }
    let target = options::labelled(&socket, plan, address)?;
    Ok((socket, target))
}

fn open(plan: &StreamPlan<'_>, domain: Domain) -> Result<Socket, EngineError> {
    let protocol = if plan.test.transport == Transport::Mptcp {
        Protocol::MPTCP
    } else {
        Protocol::TCP
    };
    Socket::new(domain, Type::STREAM, Some(protocol)).map_err(EngineError::system("open a socket"))
}

/// Chooses a client's congestion control, once it is connected.
pub(super) fn set_congestion(socket: &Socket, plan: &StreamPlan<'_>) -> Result<(), EngineError> {
    match &plan.test.socket.congestion {
        None => Ok(()),
        Some(name) => set(
            "TCP_CONGESTION",
            name,
            socket.set_tcp_congestion(name.as_bytes()),
        ),
    }
}

/// Opens the listening socket of the address for connections that inherit the options of the test.
pub(super) fn listen(
    plan: &StreamPlan<'_>,
    address: SocketAddr,
    backlog: i32,
) -> Result<Socket, EngineError> {
    let socket = open(plan, Domain::for_address(address))?;
    options::bind_device(&socket, plan.bind_dev)?;
    shape(&socket, plan, address.ip().to_canonical().is_ipv4())?;
    options::bind_to(&socket, address)?;
    socket
        .listen(backlog)
        .map_err(EngineError::system("listen for connections"))?;
    Ok(socket)
}

/// Makes a stream of a connection that a server accepted. Its preamble has been read.
pub fn adopt(
    socket: Socket,
    plan: &StreamPlan<'_>,
    spec: StreamSpec,
) -> Result<Stream, EngineError> {
    options::make_blocking(&socket)?;
    let v4 = options::peer(&socket)?.ip().to_canonical().is_ipv4();
    shape(&socket, plan, v4)?;
    let buffers = options::kept(&socket, plan)?;
    if let Some(name) = &plan.test.socket.congestion {
        match socket.set_tcp_congestion(name.as_bytes()) {
            // The client asks for what only its own kernel has: it will do the sending with it, or report the rest.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = format!("this kernel has no congestion control '{name}'");
                plan.warnings.add(text);
            }
            result => set("TCP_CONGESTION", name, result)?,
        }
    }
    finish(socket, plan, buffers, spec)
}

/// Sets what may be set at any time.
fn shape(socket: &Socket, plan: &StreamPlan<'_>, v4: bool) -> Result<(), EngineError> {
    if plan.test.socket.no_delay {
        set("TCP_NODELAY", &1, socket.set_tcp_nodelay(true))?;
    }
    options::set_window(socket, plan)?;
    if let Some(timeout) = plan.local.snd_timeout {
        let set_timeout = socket.set_tcp_user_timeout(Some(timeout));
        set("TCP_USER_TIMEOUT", &timeout.as_millis(), set_timeout)?;
    }
    options::set_service(socket, plan, v4)
}

fn finish(
    socket: Socket,
    plan: &StreamPlan<'_>,
    mut buffers: Buffers,
    spec: StreamSpec,
) -> Result<Stream, EngineError> {
    if spec.role.sends() {
        buffers = send_buffer::size(&socket, plan, buffers)?;
    }
    let info = options::info(&socket, spec)?;
    let congestion = congestion(&socket);
    Ok(Stream {
        congestion,
        ..Stream::new(info, socket, buffers)
    })
}

//! SCTP data streams: one association for each, of the one-to-one style, used as if it were a byte stream.
//!
//! Every block is a message. The kernel cuts it to the path's packets and hands it out in as many parts as the
//! reader's buffer makes of it, so nothing depends on where messages begin.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::Instant;

use iperf_model::Buffers;
use iperf_zc::sctp;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

use crate::net::options::{self, set};
use crate::net::tcp::{left, write_all};
use crate::net::{StreamPlan, StreamRole};
use crate::{EngineError, Stream};

/// The segment sizes of `-M` that SCTP is told, in bytes. It keeps to its own when asked for less, as in iperf3.
const SEGMENTS: std::ops::RangeInclusive<u16> = 512..=u16::MAX;

/// How many associations may wait to be accepted. They come one after another.
const BACKLOG: i32 = 128;

/// What a kernel says that does not know the protocol: `EPROTONOSUPPORT`, `ESOCKTNOSUPPORT`.
const UNKNOWN_PROTOCOL: [i32; 2] = [93, 94];

/// Opens the client's end of a stream and writes `greeting` as its first bytes.
pub(crate) fn connect(
    plan: &StreamPlan,
    address: SocketAddr,
    greeting: &[u8],
    role: StreamRole,
    deadline: Instant,
) -> Result<Stream, EngineError> {
    let socket = open(address)?;
    bind(&socket, plan, address)?;
    let buffers = shape(&socket, plan, address.is_ipv4())?;
    if let Some(streams) = plan.sctp.streams {
        let asked = sctp::set_outgoing_streams(socket.as_fd(), streams);
        set("SCTP_INITMSG", &streams, asked)?;
    }
    let target = options::labelled(&socket, plan, address)?;
    let failed = |source| EngineError::Connect { address, source };
    socket
        .connect_timeout(&target, left(deadline))
        .map_err(failed)?;
    write_all(&socket, greeting, deadline).map_err(failed)?;
    finish(socket, buffers, role)
}

/// Opens the socket on which a server waits for associations. It may block: names of `-X` are resolved.
pub fn listen(address: SocketAddr, plan: &StreamPlan) -> Result<Socket, EngineError> {
    let socket = open(address)?;
    let plan = StreamPlan {
        bind: Some(address),
        ..plan.clone()
    };
    bind(&socket, &plan, address)?;
    // The window that the peer is told when an association is set up comes from here.
    options::set_window(&socket, &plan)?;
    socket
        .listen(BACKLOG)
        .map_err(EngineError::system("listen for associations"))?;
    Ok(socket)
}

/// Makes a stream of an association that a server accepted. Its greeting has been read.
pub fn adopt(socket: Socket, plan: &StreamPlan, role: StreamRole) -> Result<Stream, EngineError> {
    socket
        .set_nonblocking(false)
        .map_err(EngineError::system("make the socket blocking"))?;
    let v4 = options::peer(&socket)?.ip().to_canonical().is_ipv4();
    let buffers = shape(&socket, plan, v4)?;
    finish(socket, buffers, role)
}

fn open(address: SocketAddr) -> Result<Socket, EngineError> {
    let domain = Domain::for_address(address);
    Socket::new(domain, Type::STREAM, Some(Protocol::SCTP)).map_err(|source| {
        match source.raw_os_error() {
            Some(errno) if UNKNOWN_PROTOCOL.contains(&errno) => EngineError::NoSctp(source),
            _ => EngineError::system("open a socket")(source),
        }
    })
}

/// Binds a socket to the plan's address and to those of `-X`, as far as they are of the peer's family.
fn bind(socket: &Socket, plan: &StreamPlan, peer: SocketAddr) -> Result<(), EngineError> {
    let mut addresses = local_addresses(plan, peer)?.into_iter();
    let first = StreamPlan {
        bind: addresses.next(),
        ..plan.clone()
    };
    options::bind(socket, &first)?;
    for address in addresses {
        sctp::bind_also(socket.as_fd(), address)
            .map_err(|source| EngineError::Bind { address, source })?;
    }
    Ok(())
}

/// All local addresses, each once, the plan's first. One that is to be any address gives way to those with a name.
fn local_addresses(plan: &StreamPlan, peer: SocketAddr) -> Result<Vec<SocketAddr>, EngineError> {
    let port = plan.bind.map_or(0, |address| address.port());
    let mut addresses: Vec<SocketAddr> = plan.bind.into_iter().collect();
    if !plan.sctp.bind.is_empty() {
        addresses.retain(|address| !address.ip().is_unspecified());
    }
    for name in &plan.sctp.bind {
        for address in resolve(name, port, peer)? {
            if !addresses.iter().any(|known| known.ip() == address.ip()) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

/// The addresses of a host that are of the peer's family.
fn resolve(name: &str, port: u16, peer: SocketAddr) -> Result<Vec<SocketAddr>, EngineError> {
    let mut found: Vec<_> = set(
        "the other local address",
        name,
        (name, port).to_socket_addrs().map(Iterator::collect),
    )?;
    found.retain(|address: &SocketAddr| address.is_ipv4() == peer.is_ipv4());
    if found.is_empty() {
        warn!("{name} is of another family than {peer}, and not used");
    }
    Ok(found)
}

/// Sets what may be set at any time, and checks what the kernel kept.
fn shape(socket: &Socket, plan: &StreamPlan, v4: bool) -> Result<Buffers, EngineError> {
    if plan.options.no_delay {
        set("SCTP_NODELAY", &1, sctp::set_no_delay(socket.as_fd()))?;
    }
    match plan.options.mss {
        Some(mss) if SEGMENTS.contains(&mss) => {
            let limited = sctp::set_max_segment(socket.as_fd(), mss.into());
            set("SCTP_MAXSEG", &mss, limited)?;
        }
        Some(mss) => warn!("segments of {mss} bytes are too small for SCTP"),
        None => {}
    }
    set(
        "SCTP_DISABLE_FRAGMENTS",
        &0,
        sctp::allow_fragments(socket.as_fd()),
    )?;
    options::set_window(socket, plan)?;
    let kept = options::kept(socket, plan)?;
    options::set_service(socket, plan, v4)?;
    Ok(kept)
}

fn finish(socket: Socket, buffers: Buffers, role: StreamRole) -> Result<Stream, EngineError> {
    let info = options::info(&socket, role)?;
    Ok(Stream {
        info,
        socket,
        buffers,
        congestion: None,
        gso: false,
        gro: false,
    })
}

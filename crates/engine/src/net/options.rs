//! Socket options that several transports share, and the values that the kernel kept.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use iperf_model::{Buffers, SocketName, StreamInfo, reason};
use iperf_zc::sockopt;
use nix::sys::socket::{setsockopt, sockopt as sockopt_of};
use socket2::{SockAddr, Socket};

use crate::error::EngineError;
use crate::net::plan::{StreamPlan, StreamSpec};

/// Names the option and the value in an error.
pub(crate) fn set<T>(
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

/// Makes an accepted socket blocking, as workers need it.
pub(crate) fn make_blocking(socket: &Socket) -> Result<(), EngineError> {
    socket
        .set_nonblocking(false)
        .map_err(EngineError::system("make the socket blocking"))
}

/// Binds a socket according to the plan.
pub(crate) fn bind(socket: &Socket, plan: &StreamPlan<'_>) -> Result<(), EngineError> {
    if let Some(address) = plan.bind {
        // With a fixed port a new test must not wait for the last one's TIME_WAIT.
        set("SO_REUSEADDR", &1, socket.set_reuse_address(true))?;
        if plan
            .test
            .exchange
            .is_some_and(|exchange| exchange.reconnects)
        {
            // A port that only this destination occupies: many connections need many.
            let late = setsockopt(socket, sockopt_of::IpBindAddressNoPort, &true);
            set("IP_BIND_ADDRESS_NO_PORT", &1, late.map_err(io::Error::from))?;
        }
        bind_to(socket, address)?;
    }
    bind_device(socket, plan.bind_dev)
}

/// Binds a socket to a local address.
pub(crate) fn bind_to(socket: &Socket, address: SocketAddr) -> Result<(), EngineError> {
    socket
        .bind(&SockAddr::from(address))
        .map_err(|source| EngineError::Bind { address, source })
}

/// Binds a socket to a device, if there is one.
pub(crate) fn bind_device(socket: &Socket, device: Option<&str>) -> Result<(), EngineError> {
    device.map_or(Ok(()), |device| {
        let result = socket.bind_device(Some(device.as_bytes()));
        set("SO_BINDTODEVICE", device, result)
    })
}

/// Sets the buffers of `-w`.
pub(crate) fn set_window(socket: &Socket, plan: &StreamPlan<'_>) -> Result<(), EngineError> {
    let Some(window) = plan.test.socket.window else {
        return Ok(());
    };
    let size = window as usize;
    set("SO_RCVBUF", &window, socket.set_recv_buffer_size(size))?;
    set("SO_SNDBUF", &window, socket.set_send_buffer_size(size))
}

/// Reads the buffers back; less than requested is an error, as in iperf3.
pub(crate) fn kept(socket: &Socket, plan: &StreamPlan<'_>) -> Result<Buffers, EngineError> {
    let kept = buffers(socket, plan.test.socket.window).map_err(EngineError::system(
        "read the sizes of the socket's buffers",
    ))?;
    plan.socket_buffers.note(kept);
    for (option, size) in [("SO_SNDBUF", kept.sndbuf), ("SO_RCVBUF", kept.rcvbuf)] {
        if size < kept.requested {
            return Err(EngineError::Buffer {
                option,
                requested: kept.requested,
                kept: size,
            });
        }
    }
    Ok(kept)
}

/// Sets the kernel's pacing and the type of service. `v4`: whether the packets will be IPv4.
pub(crate) fn set_service(
    socket: &Socket,
    plan: &StreamPlan<'_>,
    v4: bool,
) -> Result<(), EngineError> {
    if let Some(rate) = plan.test.pacing.fq_rate
        && let Err(error) = sockopt::set_max_pacing_rate(socket.as_fd(), rate.bytes())
    {
        // As in iperf3: the test is worth something without it, too.
        let reason = reason(&error);
        let text = format!("the kernel does not pace the streams (--fq-rate): {reason}");
        plan.warnings.add(text);
    }
    match (u32::from(plan.test.socket.tos), v4) {
        (0, _) => Ok(()),
        (tos, true) => set("IP_TOS", &tos, socket.set_tos_v4(tos)),
        (tos, false) => set("IPV6_TCLASS", &tos, socket.set_tclass_v6(tos)),
    }
}

/// Reserves the flow label and puts it into the address to connect to.
pub(crate) fn labelled(
    socket: &Socket,
    plan: &StreamPlan<'_>,
    address: SocketAddr,
) -> Result<SockAddr, EngineError> {
    match (plan.test.socket.flow_label, address) {
        (Some(label), SocketAddr::V6(mut v6)) => {
            let taken = sockopt::set_flow_label(socket.as_fd(), *v6.ip(), label);
            set("IPV6_FLOWLABEL", &label, taken)?;
            // The field of sockaddr_in6 is in network order.
            v6.set_flowinfo(label.to_be());
            Ok(SockAddr::from(v6))
        }
        (Some(label), SocketAddr::V4(_)) => {
            let source = io::Error::other("the peer's address is not IPv6");
            set("IPV6_FLOWLABEL", &label, Err(source))
        }
        (None, _) => Ok(SockAddr::from(address)),
    }
}

/// How output names a connected socket.
pub(crate) fn info(socket: &Socket, spec: StreamSpec) -> Result<StreamInfo, EngineError> {
    Ok(StreamInfo {
        id: spec.id,
        socket: spec.number,
        local: SocketName::from(local(socket)?),
        remote: SocketName::from(peer(socket)?),
        role: spec.role,
    })
}

/// The local address of a connected socket.
pub(crate) fn local(socket: &Socket) -> Result<SocketAddr, EngineError> {
    socket
        .local_addr()
        .and_then(|address| inet(&address))
        .map_err(EngineError::system("read the local address"))
}

/// The peer's address of a connected socket.
pub(crate) fn peer(socket: &Socket) -> Result<SocketAddr, EngineError> {
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

/// Reads back the sizes of a socket's buffers.
pub fn buffers(socket: &Socket, requested: Option<u32>) -> io::Result<Buffers> {
    let kept = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    Ok(Buffers {
        requested: requested.unwrap_or(0),
        sndbuf: kept(socket.send_buffer_size()?),
        rcvbuf: kept(socket.recv_buffer_size()?),
    })
}

/// The congestion control that a TCP socket uses.
pub fn congestion(socket: &Socket) -> Option<String> {
    let name = socket.tcp_congestion().ok()?;
    let end = name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(name.len());
    Some(String::from_utf8_lossy(&name[..end]).into_owned())
}

/// Sends the preamble. A new connection has room for it, so having to wait means that something is wrong.
pub(crate) fn write_all(socket: &Socket, bytes: &[u8], deadline: Instant) -> io::Result<()> {
    socket.set_write_timeout(Some(left(deadline)))?;
    (&mut &*socket).write_all(bytes)?;
    socket.set_write_timeout(None)
}

/// The time until the deadline, and never nothing, which the calls take for "no limit".
pub(crate) fn left(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

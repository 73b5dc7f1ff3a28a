//! The listening socket. One serves all tests and both kinds of connections, and it is never closed in between, so
//! that no client is refused.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use iperf_control::{Wire, lookup_host};
use iperf_engine::net;
use iperf_model::{Buffers, Family, Listen, ServerConfig, SocketName};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::net::TcpListener;
use tokio_vsock::{VsockAddr, VsockListener};

use crate::unix_listener::UnixSocketListener;

/// The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = i32::MAX;

/// A listening socket.
pub(crate) enum Listener {
    /// For the internet.
    Tcp(TcpListener),
    /// For virtual machines, or from one for its host.
    Vsock(VsockListener),
    /// For the guests of a VMM.
    Unix(UnixSocketListener),
}

impl Listener {
    /// Waits for a connection, and names its other end.
    pub(crate) async fn accept(&self) -> io::Result<(Wire, SocketName)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Wire::Tcp(stream), SocketName::from(peer))
            }
            Self::Vsock(listener) => {
                let (stream, peer) = listener.accept().await?;
                let host = peer.cid().to_string();
                (
                    Wire::Vsock(stream),
                    SocketName {
                        host,
                        port: peer.port(),
                    },
                )
            }
            Self::Unix(unix) => {
                let (stream, _) = unix.listener.accept().await?;
                // The guest's port is unknown.
                (Wire::Unix(stream), unix.socket.guest(0))
            }
        })
    }

    /// The address that it is bound to, with the port that the kernel chose.
    pub(crate) fn address(&self) -> io::Result<SockAddr> {
        match self {
            Self::Tcp(listener) => SockRef::from(listener).local_addr(),
            Self::Vsock(listener) => SockRef::from(listener).local_addr(),
            Self::Unix(unix) => SockRef::from(&unix.listener).local_addr(),
        }
    }

    /// The buffers that accepted sockets begin with, where the listening one knows them.
    pub(crate) fn buffers(&self) -> io::Result<Option<Buffers>> {
        match self {
            Self::Tcp(listener) => net::buffers(&SockRef::from(listener), None).map(Some),
            Self::Vsock(_) | Self::Unix(_) => Ok(None),
        }
    }
}

/// Opens the listening socket of a server.
pub(crate) async fn listen(config: &ServerConfig) -> io::Result<Listener> {
    match &config.listen {
        Listen::Inet { port } => listen_inet(config, *port).await.map(Listener::Tcp),
        Listen::Vsock { cid, port } => {
            let port = if *port == 0 {
                net::vsock::PORT_ANY
            } else {
                *port
            };
            VsockListener::bind(VsockAddr::new(*cid, port))
                .map(Listener::Vsock)
                .map_err(|error| net::vsock::explain_listen(*cid, error))
        }
        Listen::Vmm(socket) => UnixSocketListener::open(socket).map(Listener::Unix),
    }
}

/// Serves on a socket that was opened elsewhere, for example by systemd.
pub(crate) fn adopt(listener: std::net::TcpListener) -> io::Result<Listener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(Listener::Tcp)
}

async fn listen_inet(config: &ServerConfig, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (address, only_v6) in addresses(config, port).await? {
        match open(config, address, only_v6) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Where to listen, best first, and whether an IPv6 socket is for IPv6 alone.
async fn addresses(config: &ServerConfig, port: u16) -> io::Result<Vec<(SocketAddr, bool)>> {
    let v4 = (
        SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
        false,
    );
    let v6 = |only| {
        (
            SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
            only,
        )
    };
    let Some(host) = &config.local.bind else {
        return Ok(match config.local.family {
            // A kernel without IPv6 still has the other.
            Family::Any => vec![v6(false), v4],
            Family::V4 => vec![v4],
            Family::V6 => vec![v6(true)],
        });
    };
    let found = lookup_host(host, port).await?.into_iter();
    let fitting: Vec<_> = found
        .filter(|address| match config.local.family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        })
        .map(|address| (address, config.local.family == Family::V6))
        .collect();
    if fitting.is_empty() {
        // The resolver's error for a name that has only addresses of the other family.
        let text = "Address family for hostname not supported";
        return Err(io::Error::other(text));
    }
    Ok(fitting)
}

fn open(config: &ServerConfig, address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    // A multipath socket accepts plain TCP as well, and such connections are plain TCP sockets then.
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::MPTCP))
        .or_else(|_| Socket::new(domain, Type::STREAM, Some(Protocol::TCP)))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    if let Some(device) = &config.local.bind_dev {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

//! The listening socket. One serves all tests and both kinds of connections, and it is never closed in between, so
//! that no client finds the door shut.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use iperf_model::{Family, ServerConfig};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, lookup_host};

/// The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = i32::MAX;

/// Opens the listening socket of a server.
pub(crate) async fn listen(config: &ServerConfig) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (address, only_v6) in addresses(config).await? {
        match open(config, address, only_v6) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Where to listen, best first, and whether an IPv6 socket is for IPv6 alone.
async fn addresses(config: &ServerConfig) -> io::Result<Vec<(SocketAddr, bool)>> {
    let port = config.port;
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
    let found = lookup_host((host.as_str(), port)).await?;
    Ok(found
        .filter(|address| match config.local.family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        })
        .map(|address| (address, config.local.family == Family::V6))
        .collect())
}

fn open(config: &ServerConfig, address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
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

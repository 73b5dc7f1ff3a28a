//! The control connection: from a host name to a connected socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use iperf_control::{Wire, lookup_host, spawn_blocking};
use iperf_engine::EngineError;
use iperf_engine::net::{Target, vsock};
use iperf_model::{ClientConfig, Endpoint, Family, LocalOptions};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use crate::connect_error::ConnectError;
use crate::race;

/// How long a connection may take by default; the kernel would try a little longer.
const CONNECT_LIMIT: Duration = Duration::from_secs(120);

/// A control connection, and where the data connections go.
pub(crate) struct Connected {
    pub(crate) control: Wire,
    pub(crate) target: Target,
}

/// Connects to the server.
pub(crate) async fn connect(config: &ClientConfig) -> Result<Connected, ConnectError> {
    let limit = config.connect_timeout.unwrap_or(CONNECT_LIMIT);
    let target = match &config.endpoint {
        Endpoint::Inet { host, port } => {
            let control = connect_inet(config, host, *port, Instant::now() + limit).await?;
            let target = Target::Inet(control.peer_addr().map_err(ConnectError::Server)?);
            return Ok(Connected {
                control: Wire::Tcp(control),
                target,
            });
        }
        Endpoint::Vsock(address) => Target::Vsock(*address),
        Endpoint::Vmm(socket) => Target::Vmm(socket.clone()),
    };
    let control = connect_vsock(&target, limit).await;
    Ok(Connected {
        control: control.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => ConnectError::Path(error),
            _ => ConnectError::Server(error),
        })?,
        target,
    })
}

async fn connect_vsock(target: &Target, limit: Duration) -> io::Result<Wire> {
    let deadline = std::time::Instant::now() + limit;
    let goal = target.clone();
    let open = spawn_blocking(move || vsock::open(&goal, deadline));
    let socket = open.await?.map_err(EngineError::into_io)?.socket;
    match target {
        Target::Vmm(_) => Wire::unix(socket),
        _ => Wire::vsock(socket),
    }
}

/// Connects to the first address of the server that answers.
async fn connect_inet(
    config: &ClientConfig,
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<TcpStream, ConnectError> {
    let targets = timeout_at(deadline, resolve(host, port))
        .await
        .map_err(|_| ConnectError::Slow(host.to_owned()))?
        .map_err(ConnectError::Server)?;
    let (family, why) = match config.local.family {
        Family::V6 => (Family::V6, "-6"),
        family => (family, "-4"),
    };
    let targets = of_family(targets, family, host, why)?;
    let options = Arc::new(config.local.clone());
    race::first(targets, deadline, move |target| {
        connect_one(options.clone(), target)
    })
    .await
}

async fn connect_one(
    options: Arc<LocalOptions>,
    target: SocketAddr,
) -> Result<TcpStream, ConnectError> {
    let local = local_address(&options, 0, target).await?;
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .map_err(ConnectError::Server)?;
    if let Some(device) = &options.bind_dev {
        socket
            .bind_device(Some(device.as_bytes()))
            .map_err(|source| ConnectError::Device {
                device: device.clone(),
                source,
            })?;
    }
    if let Some(local) = local {
        socket
            .bind(&local.into())
            .map_err(|source| ConnectError::Bind {
                address: local.ip(),
                source,
            })?;
    }
    let connect = async {
        socket.set_nonblocking(true)?;
        TcpSocket::from_std_stream(socket.into())
            .connect(target)
            .await
    };
    connect.await.map_err(ConnectError::Server)
}

/// All addresses of a host, with their scopes.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    lookup_host(host, port).await
}

/// The addresses that are of a family; `why` is the option that requires it.
fn of_family(
    mut addresses: Vec<SocketAddr>,
    family: Family,
    host: &str,
    why: &'static str,
) -> Result<Vec<SocketAddr>, ConnectError> {
    addresses.retain(|address| match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    });
    if addresses.is_empty() {
        return Err(ConnectError::Family {
            host: host.to_owned(),
            family,
            why,
        });
    }
    Ok(addresses)
}

/// The local address of `-B` and `--cport` for a socket that goes to `target`; `None` leaves it to the kernel.
pub(crate) async fn local_address(
    options: &LocalOptions,
    port: u16,
    target: SocketAddr,
) -> Result<Option<SocketAddr>, ConnectError> {
    let Some(host) = &options.bind else {
        let any: IpAddr = if target.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        return Ok((port != 0).then(|| SocketAddr::new(any, port)));
    };
    let found = resolve(host, port)
        .await
        .map_err(|source| ConnectError::BindName {
            host: host.clone(),
            source,
        })?;
    let family = if target.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    let fitting = of_family(found, family, host, "-B")?;
    Ok(fitting.first().copied())
}

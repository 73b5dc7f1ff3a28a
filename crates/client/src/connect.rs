//! The control connection: from a host name to a connected socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use iperf_control::{Wire, lookup_host, spawn_blocking};
use iperf_engine::EngineError;
use iperf_engine::net::{Target, vsock};
use iperf_model::{ClientConfig, Endpoint, Family, LocalOptions, reason};
use iperf_proto::Code;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use crate::race;

/// How long a connection may take by default; the kernel would try a little longer.
const CONNECT_LIMIT: Duration = Duration::from_secs(120);

/// Why there is no connection. Only what may be about the server or the way there has iperf3's text, which suspects
/// them; the rest keeps its beginning, by which scripts know it.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The server does not answer, or its name has no address.
    #[error("{}", Code::CONNECT.with_error(.0))]
    Server(#[source] io::Error),
    /// The server's name was not resolved in time.
    #[error("unable to connect to server: the address of '{0}' was not found in time")]
    Slow(String),
    /// The path of a Unix socket can't be one.
    #[error("unable to connect to server: {0}")]
    Path(#[source] io::Error),
    /// No address is left to be tried.
    #[error("unable to connect to server: there is no address to connect to")]
    NoAddress,
    /// The host, or the one of `-B`, has no address of the family that is needed.
    #[error("unable to connect to server: '{host}' has no {} address ({why})", family_name(*.family))]
    Family {
        /// The name or address as it was given.
        host: String,
        /// What is needed.
        family: Family,
        /// The option that needs it.
        why: &'static str,
    },
    /// The host of `-B` has no address.
    #[error("unable to connect to server: can't resolve '{host}' (-B): {}", reason(.source))]
    BindName {
        /// The name.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// The address of `-B` is none of this machine's, or its port is taken.
    #[error("unable to connect to server: can't bind to {address} (-B): {}", reason(.source))]
    Bind {
        /// The local address.
        address: IpAddr,
        /// The kernel's error.
        source: io::Error,
    },
    /// The device can't be used.
    #[error("unable to connect to server: can't bind to the device '{device}': {}", reason(.source))]
    Device {
        /// Its name.
        device: String,
        /// The kernel's error.
        source: io::Error,
    },
}

impl ConnectError {
    /// Whether nothing listens on the server's port.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Server(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// The error that the kernel would have returned after the same wait.
    pub(crate) fn timed_out() -> Self {
        Self::Server(io::Error::from_raw_os_error(TIMED_OUT))
    }
}

/// `ETIMEDOUT`
const TIMED_OUT: i32 = 110;

fn family_name(family: Family) -> &'static str {
    match family {
        Family::Any => "internet",
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

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

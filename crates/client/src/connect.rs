//! The control connection: from a host name to a connected socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use iperf_control::Wire;
use iperf_engine::EngineError;
use iperf_engine::net::{Target, vsock};
use iperf_model::{ClientConfig, Endpoint, Family, LocalOptions};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::debug;

/// How long a connection may take when nobody says otherwise; the kernel would try a little longer.
const CONNECT_LIMIT: Duration = Duration::from_secs(120);

/// iperf3's server opens its listening socket anew between two tests. A refused connection is tried again for as
/// long as that takes.
const REFUSED_RETRIES: u32 = 3;
const REFUSED_PAUSE: Duration = Duration::from_millis(40);

/// A control connection, and where the data connections go.
pub(crate) struct Connected {
    pub(crate) control: Wire,
    pub(crate) target: Target,
}

/// Connects to the server.
pub(crate) async fn connect(config: &ClientConfig) -> io::Result<Connected> {
    let limit = config.connect_timeout.unwrap_or(CONNECT_LIMIT);
    let target = match &config.endpoint {
        Endpoint::Inet { host, port } => {
            let control = connect_inet(config, host, *port, limit).await?;
            let target = Target::Inet(control.peer_addr()?);
            return Ok(Connected {
                control: Wire::Tcp(control),
                target,
            });
        }
        Endpoint::Vsock(address) => Target::Vsock(*address),
        Endpoint::Hybrid { path, port } => Target::Hybrid {
            path: path.clone(),
            port: *port,
        },
        Endpoint::Unix { path, port } => Target::Unix {
            path: path.clone(),
            port: *port,
        },
    };
    let deadline = Instant::now() + limit;
    let goal = target.clone();
    let open = spawn_blocking(move || vsock::open(&goal, deadline));
    let socket = open
        .await
        .map_err(io::Error::other)?
        .map_err(EngineError::into_io)?
        .socket;
    let control = match target {
        Target::Hybrid { .. } | Target::Unix { .. } => Wire::unix(socket)?,
        _ => Wire::vsock(socket)?,
    };
    Ok(Connected { control, target })
}

/// Connects to the first address of the server that answers.
async fn connect_inet(
    config: &ClientConfig,
    host: &str,
    port: u16,
    limit: Duration,
) -> io::Result<TcpStream> {
    timeout(limit, connect_any(config, host, port))
        .await
        .unwrap_or_else(|_| Err(io::Error::from_raw_os_error(TIMED_OUT)))
}

/// `ETIMEDOUT`: what the kernel would have said, had it been asked to wait as long.
const TIMED_OUT: i32 = 110;

async fn connect_any(config: &ClientConfig, host: &str, port: u16) -> io::Result<TcpStream> {
    let targets = resolve(host, port, config.local.family).await?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for target in targets {
        let local = local_address(&config.local, 0, target).await?;
        match connect_patiently(&config.local, local, target).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                debug!(%target, %error, "can't connect");
                last = error;
            }
        }
    }
    Err(last)
}

async fn connect_patiently(
    options: &LocalOptions,
    local: Option<SocketAddr>,
    target: SocketAddr,
) -> io::Result<TcpStream> {
    let mut refused = 0;
    loop {
        match connect_one(options, local, target).await {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && refused < REFUSED_RETRIES =>
            {
                refused += 1;
                sleep(REFUSED_PAUSE).await;
            }
            result => return result,
        }
    }
}

async fn connect_one(
    options: &LocalOptions,
    local: Option<SocketAddr>,
    target: SocketAddr,
) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if let Some(device) = &options.bind_dev {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(local) = local {
        socket.bind(&local.into())?;
    }
    socket.set_nonblocking(true)?;
    TcpSocket::from_std_stream(socket.into())
        .connect(target)
        .await
}

/// All addresses of a host that the chosen IP version allows.
async fn resolve(host: &str, port: u16, family: Family) -> io::Result<Vec<SocketAddr>> {
    let addresses = lookup_host((host, port)).await?;
    let fitting: Vec<_> = addresses
        .filter(|address| match family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        })
        .collect();
    if fitting.is_empty() {
        // What the resolver says when it is asked for the wrong family only.
        return Err(io::Error::other(
            "Address family for hostname not supported",
        ));
    }
    Ok(fitting)
}

/// The local address of `-B` and `--cport` for a socket that goes to `target`; `None` leaves it to the kernel.
pub(crate) async fn local_address(
    options: &LocalOptions,
    port: u16,
    target: SocketAddr,
) -> io::Result<Option<SocketAddr>> {
    let Some(host) = &options.bind else {
        let any: IpAddr = if target.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        return Ok((port != 0).then(|| SocketAddr::new(any, port)));
    };
    let family = if target.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    Ok(resolve(host, port, family).await?.first().copied())
}

//! Connections that carry one transaction each (`--crr`).
//!
//! ```text
//! Connector ── connect, request ──► Listener, on a port of its own that only the peer of the test may use
//!     ▲ └────── response, end ─────────┘
//! ```
//!
//! The listening end closes first, so that `TIME_WAIT` stays with it, and the other end can reuse its ports at once.
//! vsock has no such state, and not every VMM forwards a half-close: there the connecting end closes first.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_model::{LocalOptions, TestConfig, Transport};
use nix::errno::Errno;
use socket2::Socket;

use crate::error::EngineError;
use crate::net::plan::{StreamPlan, Target};
use crate::net::{options, tcp, vmm, vsock};

/// Connections that may wait to be accepted. Each requester opens one at a time.
const BACKLOG: i32 = 1024;

/// How long an accepted connection may take for its request.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How long a VMM may take to answer.
const VMM_LIMIT: Duration = Duration::from_secs(3);

/// How the connections of a stream come to be.
#[derive(Clone, Debug)]
pub enum Transactions {
    /// This end opens them.
    Open(Arc<Connector>),
    /// This end accepts them.
    Accept(Arc<Listener>),
}

/// Opens connections.
#[derive(Debug)]
pub struct Connector {
    test: Arc<TestConfig>,
    options: LocalOptions,
    target: Target,
    /// The local address, without a port.
    local: Option<SocketAddr>,
}

impl Connector {
    /// Connects to `port` of the machine or guest that `target` names, from `local`.
    pub fn new(
        test: Arc<TestConfig>,
        options: LocalOptions,
        target: &Target,
        port: u32,
        local: Option<SocketAddr>,
    ) -> io::Result<Self> {
        let target = match target.clone() {
            Target::Inet(mut address) => {
                address.set_port(u16::try_from(port).map_err(io::Error::other)?);
                Target::Inet(address)
            }
            Target::Vsock(mut address) => {
                address.port = port;
                Target::Vsock(address)
            }
            Target::Vmm(mut socket) => {
                socket.port = port;
                Target::Vmm(socket)
            }
        };
        let local = local.map(|mut local| {
            local.set_port(0);
            local
        });
        Ok(Self {
            test,
            options,
            target,
            local,
        })
    }

    /// Whether this end closes a connection without waiting for the other.
    pub(crate) fn closes_first(&self) -> bool {
        !matches!(self.target, Target::Inet(_))
    }

    fn plan(&self) -> StreamPlan<'_> {
        StreamPlan {
            bind: self.local,
            bind_dev: self.options.bind_dev.as_deref(),
            ..StreamPlan::new(&self.test, &self.options)
        }
    }

    /// Opens a connection. After a signal it may be unfinished (`false`): it is open when it becomes writable.
    pub(crate) fn connect(&self) -> io::Result<(Socket, bool)> {
        let target = match &self.target {
            Target::Inet(address) => *address,
            Target::Vsock(address) => return Ok((vsock::connect_only(*address)?, true)),
            Target::Vmm(socket) => {
                let opened = vmm::open(socket, Instant::now() + VMM_LIMIT);
                let connection = opened.map_err(EngineError::into_io)?;
                return Ok((connection.socket, true));
            }
        };
        let plan = self.plan();
        let (socket, address) = tcp::unconnected(&plan, target).map_err(explain)?;
        match socket.connect(&address) {
            Ok(()) => {
                self.finish(&socket)?;
                Ok((socket, true))
            }
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EINTR | Errno::EINPROGRESS) => Ok((socket, false)),
                Some(errno) => Err(named(errno, error, target)),
                None => Err(error),
            },
        }
    }

    /// Looks at a connection that was under way and can be written to.
    pub(crate) fn finish(&self, socket: &Socket) -> io::Result<()> {
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        if self.test.socket.congestion.is_some() {
            tcp::set_congestion(socket, &self.plan()).map_err(EngineError::into_io)?;
        }
        Ok(())
    }
}

fn explain(error: EngineError) -> io::Error {
    match error {
        EngineError::Bind { address, source } => match source.raw_os_error() {
            Some(code) => named(Errno::from_raw(code), source, address),
            None => source,
        },
        other => other.into_io(),
    }
}

/// What the kernel's answer means here.
fn named(errno: Errno, error: io::Error, target: SocketAddr) -> io::Error {
    let text = match errno {
        // Nothing else is without an address by now.
        Errno::EADDRNOTAVAIL | Errno::EADDRINUSE => {
            "no local port is free for another connection (net.ipv4.ip_local_port_range)".to_owned()
        }
        Errno::ECONNREFUSED | Errno::ETIMEDOUT | Errno::EHOSTUNREACH => {
            let port = target.port();
            let reason = errno.desc();
            format!("{reason}: port {port}, on which the server listens for --crr")
        }
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permitted {
    /// An internet address.
    Address(IpAddr),
    /// A CID.
    Cid(u32),
}

/// Accepts connections.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    permitted: Permitted,
    /// A connection is closed only after the other end has shut down its side: a proxy in between would see a reset.
    pub(crate) lingers: bool,
}

impl Listener {
    /// Listens at the server's address, for the client at `peer`. The port is returned.
    pub fn inet(
        plan: &StreamPlan<'_>,
        mut local: SocketAddr,
        peer: IpAddr,
    ) -> Result<(Self, u32), EngineError> {
        local.set_port(0);
        let socket = tcp::listen(plan, local, BACKLOG)?;
        let port = options::local(&socket)?.port();
        let permitted = Permitted::Address(peer.to_canonical());
        Ok((Self::new(socket, permitted, plan)?, port.into()))
    }

    /// Listens at a CID of this machine, for the client at CID `peer`. The port is returned.
    pub fn vsock(plan: &StreamPlan<'_>, cid: u32, peer: u32) -> Result<(Self, u32), EngineError> {
        let listening = vsock::listen(cid, BACKLOG);
        let (socket, port) = listening.map_err(EngineError::system("listen for connections"))?;
        Ok((Self::new(socket, Permitted::Cid(peer), plan)?, port))
    }

    fn new(
        socket: Socket,
        permitted: Permitted,
        plan: &StreamPlan<'_>,
    ) -> Result<Self, EngineError> {
        // TCP sockets that are accepted inherit it.
        socket
            .set_read_timeout(Some(REQUEST_LIMIT))
            .map_err(EngineError::system("bound the time of a request"))?;
        Ok(Self {
            socket,
            permitted,
            lingers: plan.test.transport == Transport::Vsock,
        })
    }

    /// Accepts a connection; `None` if it is not the peer's, and closed.
    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        let (socket, from) = self.socket.accept()?;
        let permitted = match self.permitted {
            Permitted::Address(peer) => from
                .as_socket()
                .is_some_and(|from| from.ip().to_canonical() == peer),
            Permitted::Cid(peer) => from.as_vsock_address().is_some_and(|(cid, _)| cid == peer),
        };
        if !permitted {
            return Ok(None);
        }
        if self.lingers {
            socket.set_read_timeout(Some(REQUEST_LIMIT))?;
        }
        Ok(Some(socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;

    #[test]
    fn only_the_peer_of_the_test_may_connect() {
        let (test, local) = (TestConfig::new(Transport::Tcp), LocalOptions::default());
        let plan = StreamPlan::new(&test, &local);
        let here: SocketAddr = "127.0.0.1:5201".parse().unwrap();
        for (peer, accepts) in [("127.0.0.1", true), ("127.0.0.2", false)] {
            let (listener, port) = Listener::inet(&plan, here, peer.parse().unwrap()).unwrap();
            assert_ne!(port, 5201);
            let port = u16::try_from(port).unwrap();
            let mut client = TcpStream::connect((here.ip(), port)).unwrap();
            let accepted = listener.accept().unwrap();
            assert_eq!(accepted.is_some(), accepts);
            drop(accepted);
            // Either way it is over.
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
    }

    #[test]
    fn a_lack_of_local_ports_is_named() {
        let target = "127.0.0.1:5201".parse().unwrap();
        let error = |errno: Errno| named(errno, errno.into(), target).to_string();
        let text = "no local port is free for another connection (net.ipv4.ip_local_port_range)";
        assert_eq!(error(Errno::EADDRNOTAVAIL), text);
        let text = "Connection refused: port 5201, on which the server listens for --crr";
        assert_eq!(error(Errno::ECONNREFUSED), text);
    }
}

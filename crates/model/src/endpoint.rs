//! The endpoints of a test, and how output names the ends of a connection.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Any CID: a server listens on all that this machine has (`VMADDR_CID_ANY`).
pub const CID_ANY: u32 = u32::MAX;

/// Where a client connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A host reached by IP.
    Inet {
        /// Host name or numeric address, without the `%dev` part.
        host: String,
        /// Port.
        port: u16,
    },
    /// A virtual machine, or the host of this one, by `AF_VSOCK`.
    Vsock(VsockAddress),
    /// A virtual machine on this host, through the Unix socket by which its VMM offers the guest's vsock.
    Hybrid {
        /// The VMM's socket file.
        path: PathBuf,
        /// The guest's port, sent to the VMM in `CONNECT`.
        port: u32,
    },
    /// A virtual machine on this host, through a Unix socket that its VMM has tied to one port of the guest's vsock.
    Unix {
        /// The socket file.
        path: PathBuf,
        /// The guest's port. The VMM knows it; here it is for output only.
        port: u32,
    },
}

/// What carries a vsock test on this end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The kernel, by `AF_VSOCK`.
    Vsock,
    /// A VMM, by this Unix socket.
    Unix(PathBuf),
}

/// One end of a vsock connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VsockAddress {
    /// Context id: 1 is this machine, 2 the host, guests begin with 3.
    pub cid: u32,
    /// Port.
    pub port: u32,
    /// The CID is another guest's on the same host, and the host passes the connection on (`VMADDR_FLAG_TO_HOST`).
    pub sibling: bool,
}

impl Endpoint {
    /// How output names it.
    pub fn name(&self) -> SocketName {
        match self {
            Self::Inet { host, port } => SocketName {
                host: host.clone(),
                port: (*port).into(),
            },
            Self::Vsock(address) => SocketName::from(*address),
            Self::Hybrid { path, port } | Self::Unix { path, port } => {
                SocketName::hybrid(path, *port)
            }
        }
    }

    /// What carries the test, if it goes over vsock.
    pub fn carrier(&self) -> Option<Carrier> {
        match self {
            Self::Inet { .. } => None,
            Self::Vsock(_) => Some(Carrier::Vsock),
            Self::Hybrid { path, .. } | Self::Unix { path, .. } => {
                Some(Carrier::Unix(path.clone()))
            }
        }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On internet addresses; 0 lets the kernel choose the port.
    Inet {
        /// Port.
        port: u16,
    },
    /// On `AF_VSOCK`.
    Vsock {
        /// The CID, or [`CID_ANY`].
        cid: u32,
        /// Port.
        port: u32,
    },
    /// Where a VMM forwards a guest's connections to: the Unix socket `<path>_<port>`.
    Hybrid {
        /// The VMM's socket file.
        path: PathBuf,
        /// The port that guests connect to.
        port: u32,
    },
    /// On a Unix socket that a VMM has tied to one port of its host.
    Unix {
        /// The socket file.
        path: PathBuf,
        /// The port that guests connect to. The VMM knows it; here it is for output only.
        port: u32,
    },
}

impl Listen {
    /// The port, as the user named it.
    pub fn port(&self) -> u32 {
        match self {
            Self::Inet { port } => (*port).into(),
            Self::Vsock { port, .. } | Self::Hybrid { port, .. } | Self::Unix { port, .. } => *port,
        }
    }

    /// What carries the tests, if they use vsock.
    pub fn carrier(&self) -> Option<Carrier> {
        match self {
            Self::Inet { .. } => None,
            Self::Vsock { .. } => Some(Carrier::Vsock),
            Self::Hybrid { path, port } => {
                let mut file = path.as_os_str().to_owned();
                file.push(format!("_{port}"));
                Some(Carrier::Unix(file.into()))
            }
            Self::Unix { path, .. } => Some(Carrier::Unix(path.clone())),
        }
    }
}

/// One end of a socket as output names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketName {
    /// Numeric address; an IPv4 address mapped into IPv6 is written as plain IPv4, a CID in decimal, a Unix socket by
    /// its file.
    pub host: String,
    /// Port. vsock ports have 32 bits.
    pub port: u32,
}

impl SocketName {
    /// A guest's port behind a VMM's Unix socket.
    pub fn hybrid(path: &Path, port: u32) -> Self {
        Self {
            host: path.to_string_lossy().into_owned(),
            port,
        }
    }
}

impl From<SocketAddr> for SocketName {
    fn from(addr: SocketAddr) -> Self {
        Self {
            host: addr.ip().to_canonical().to_string(),
            port: u32::from(addr.port()),
        }
    }
}

impl From<VsockAddress> for SocketName {
    fn from(address: VsockAddress) -> Self {
        Self {
            host: address.cid.to_string(),
            port: address.port,
        }
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {}", self.host, self.port)
    }
}

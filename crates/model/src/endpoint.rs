//! The endpoints of a test, and how output names the ends of a connection.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// A virtual machine on this host, through its VMM.
    Vmm(VmmSocket),
}

/// A Unix socket by which a VMM offers a guest's vsock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmmSocket {
    /// The socket file.
    pub path: PathBuf,
    /// The guest's port, or for a server the port that guests connect to.
    pub port: u32,
    /// Whether the file serves all ports.
    pub kind: VmmSocketKind,
}

/// Which ports a VMM's socket file serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmmSocketKind {
    /// All ports: a client names one in `CONNECT`, and a server listens on `<path>_<port>`.
    Hybrid,
    /// One port, to which the VMM has tied it. Here the port is for output only.
    Tied,
}

impl VmmSocket {
    /// A socket for all ports.
    pub fn hybrid(path: impl Into<PathBuf>, port: u32) -> Self {
        Self {
            path: path.into(),
            port,
            kind: VmmSocketKind::Hybrid,
        }
    }

    /// A socket for one port.
    pub fn tied(path: impl Into<PathBuf>, port: u32) -> Self {
        Self {
            path: path.into(),
            port,
            kind: VmmSocketKind::Tied,
        }
    }

    /// The file on which a server listens.
    pub fn server_file(&self) -> PathBuf {
        match self.kind {
            VmmSocketKind::Hybrid => {
                let mut file = self.path.as_os_str().to_owned();
                file.push(format!("_{}", self.port));
                file.into()
            }
            VmmSocketKind::Tied => self.path.clone(),
        }
    }

    /// How output names the guest's end of a connection, whose port may be unknown.
    pub fn guest(&self, port: u32) -> SocketName {
        SocketName {
            host: self.path.to_string_lossy().into_owned(),
            port,
        }
    }
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
            Self::Vmm(socket) => socket.guest(socket.port),
        }
    }

    /// What carries the test, if it goes over vsock.
    pub fn carrier(&self) -> Option<Carrier> {
        match self {
            Self::Inet { .. } => None,
            Self::Vsock(_) => Some(Carrier::Vsock),
            Self::Vmm(socket) => Some(Carrier::Unix(socket.path.clone())),
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
        /// Port; 0 lets the kernel choose it.
        port: u32,
    },
    /// Where a VMM forwards a guest's connections to.
    Vmm(VmmSocket),
}

impl Listen {
    /// The port, as the user named it.
    pub fn port(&self) -> u32 {
        match self {
            Self::Inet { port } => (*port).into(),
            Self::Vsock { port, .. } => *port,
            Self::Vmm(socket) => socket.port,
        }
    }

    /// What carries the tests, if they use vsock.
    pub fn carrier(&self) -> Option<Carrier> {
        match self {
            Self::Inet { .. } => None,
            Self::Vsock { .. } => Some(Carrier::Vsock),
            Self::Vmm(socket) => Some(Carrier::Unix(socket.server_file())),
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

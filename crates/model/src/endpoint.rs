//! Where a test goes, and how the ends of a connection are named in output.

use std::fmt;
use std::net::SocketAddr;

/// Where a client connects to, as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or numeric address, as given to `-c` without the `%dev` part.
    pub host: String,
    /// Port, as given to `-p`.
    pub port: u16,
}

/// One end of a socket as output names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketName {
    /// Numeric address; an IPv4 address mapped into IPv6 is written as plain IPv4, a CID in decimal.
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

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {}", self.host, self.port)
    }
}

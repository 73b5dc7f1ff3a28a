//! Why the control connection was not made.

use std::io;
use std::net::IpAddr;

use iperf_model::{Family, reason};
use iperf_proto::Code;
use rustix::io::Errno;
use thiserror::Error;

/// Why there is no connection. Only what may be about the server or the way there has iperf3's text, which suspects
/// them; the rest keeps its beginning, by which scripts know it.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The server does not answer, or its name has no address.
    #[error("{}", Code::CONNECT.with_error(.0))]
    Server(#[source] io::Error),
    /// The server's name was not resolved in time.
    #[error("unable to connect to server: resolving '{0}' timed out")]
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
        Self::Server(Errno::TIMEDOUT.into())
    }
}

fn family_name(family: Family) -> &'static str {
    match family {
        Family::Any => "internet",
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

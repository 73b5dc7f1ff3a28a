//! What can go wrong with data streams. An I/O error names the operation and the value or address.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use iperf_model::reason;
use iperf_proto::Code;
use thiserror::Error;

/// Why streams can't be opened or run.
#[derive(Debug, Error)]
pub enum EngineError {
    /// A data connection was not made.
    #[error("connect to {address}: {}", reason(source))]
    Connect {
        /// The peer.
        address: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// A local address was not taken.
    #[error("bind to {address}: {}", reason(source))]
    Bind {
        /// The local address.
        address: SocketAddr,
        /// The kernel's error.
        source: io::Error,
    },
    /// A socket option was refused.
    #[error("set {option} to {value}: {}", reason(source))]
    Option {
        /// The option's name.
        option: &'static str,
        /// The requested value.
        value: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel keeps smaller socket buffers than requested.
    #[error(
        "socket buffers of {requested} bytes were requested, the kernel keeps {kept} for {option}"
    )]
    Buffer {
        /// The option's name.
        option: &'static str,
        /// Requested bytes.
        requested: u32,
        /// Bytes kept.
        kept: u32,
    },
    /// SCTP: the send buffer is smaller than a block, which is one message.
    #[error(
        "a block of {block} bytes (-l) does not fit into the send buffer of {kept} bytes{}",
        by_window(*window)
    )]
    BlockTooLong {
        /// Bytes of a block.
        block: u32,
        /// Bytes of `-w`.
        window: Option<u32>,
        /// Bytes that the kernel keeps for the buffer.
        kept: u32,
    },
    /// The file of `-F` can't be used.
    #[error("{}: {}", path.display(), reason(source))]
    File {
        /// The file.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel does not know SCTP.
    #[error("the kernel has no SCTP, or its module sctp is not loaded: {}", reason(.0))]
    NoSctp(#[source] io::Error),
    /// Any other system call.
    #[error("{operation}: {}", reason(source))]
    System {
        /// What was tried.
        operation: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
}

impl EngineError {
    /// Wraps the error of a system call, to be used with `map_err`.
    pub fn system(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { operation, source }
    }

    /// Wraps the error of a connection to `address`, to be used with `map_err`.
    pub(crate) fn connect(address: &impl ToString) -> impl Fn(io::Error) -> Self {
        let address = address.to_string();
        move |source| Self::Connect {
            address: address.clone(),
            source,
        }
    }

    /// iperf3's code for it; `None`: the general one of the end that opens the stream.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Option { option, .. } => match *option {
                "TCP_CONGESTION" => Some(Code::CONGESTION),
                "IPV6_FLOWLABEL" => Some(Code::FLOW_LABEL),
                "TCP_MAXSEG" => Some(Code::SET_MSS),
                _ => None,
            },
            Self::Connect { .. } | Self::Bind { .. } => Some(Code::STREAM_CONNECT),
            Self::Buffer { .. } | Self::BlockTooLong { .. } => Some(Code::BUFFER_NOT_KEPT),
            Self::File { .. } => Some(Code::FILE),
            Self::NoSctp(_) => Some(Code::NO_SCTP),
            Self::System { .. } => None,
        }
    }

    /// The kernel's error, without the operation; an error in words where there is none.
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Connect { source, .. }
            | Self::Bind { source, .. }
            | Self::Option { source, .. }
            | Self::File { source, .. }
            | Self::System { source, .. }
            | Self::NoSctp(source) => source,
            other @ (Self::Buffer { .. } | Self::BlockTooLong { .. }) => io::Error::other(other),
        }
    }
}

/// Where the size of a buffer comes from.
fn by_window(window: Option<u32>) -> String {
    window.map_or_else(String::new, |window| {
        format!(" that the kernel keeps for -w {window}")
    })
}

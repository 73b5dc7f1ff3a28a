//! The parameters for opening the data streams of a test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use iperf_model::{LocalOptions, Role, TestConfig, VmmSocket, VsockAddress};

use crate::net::socket_buffers::SocketBuffers;
use crate::net::warnings::Warnings;

/// Everything that shapes the data streams of a test on one end.
#[derive(Clone, Debug)]
pub struct StreamPlan<'a> {
    /// The test.
    pub test: &'a TestConfig,
    /// The options of this end.
    pub local: &'a LocalOptions,
    /// Local address; its port may be 0.
    pub bind: Option<SocketAddr>,
    /// Local device.
    pub bind_dev: Option<&'a str>,
    /// How a client sends the hello that opens a UDP stream.
    pub hello: Hello,
    /// Collects what differs from the request.
    pub warnings: Warnings,
    /// Takes the buffers of each socket.
    pub socket_buffers: SocketBuffers,
}

/// How a client sends the hello that opens a UDP stream.
#[derive(Clone, Debug, Default)]
pub enum Hello {
    /// Once, as iperf3 does: its servers count a hello that comes again as data of the stream.
    #[default]
    Once,
    /// The same; the flag is set once the server reports that it has all streams, this one included.
    OnceUntil(Arc<AtomicBool>),
    /// With the cookie, to a server of this program: again after this long without a reply, then less often.
    Repeated(Duration),
}

impl<'a> StreamPlan<'a> {
    /// The plan of a test, for sockets that are bound to nothing.
    pub fn new(test: &'a TestConfig, local: &'a LocalOptions) -> Self {
        Self {
            test,
            local,
            bind: None,
            bind_dev: None,
            hello: Hello::default(),
            warnings: Warnings::default(),
            socket_buffers: SocketBuffers::default(),
        }
    }

    /// Whether datagrams never go together: each exchange has one each way.
    pub(crate) fn has_lone_datagrams(&self) -> bool {
        self.local.no_gso || self.test.exchange.is_some()
    }
}

/// Where a client's streams go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An internet address.
    Inet(SocketAddr),
    /// A virtual machine or its host.
    Vsock(VsockAddress),
    /// A guest behind its VMM's Unix socket.
    Vmm(VmmSocket),
}

/// One stream among those of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// Its id on the wire.
    pub id: u32,
    /// Its number in output.
    pub number: i32,
    /// What this end does on it.
    pub role: Role,
}

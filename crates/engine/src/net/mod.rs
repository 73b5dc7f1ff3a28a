//! Opening and accepting data streams, per transport.

mod options;
pub mod sctp;
mod send_buffer;
pub mod tcp;
pub mod udp;
pub mod vmm;
pub mod vsock;
mod warnings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use iperf_model::{
    LocalOptions, ReceiveMode, Role, SctpOptions, SendBuffer, SocketOptions, TestConfig, Transport,
    VmmSocket, VsockAddress,
};

pub use options::{buffers, congestion};
pub use warnings::Warnings;

use crate::error::EngineError;
use crate::stream::Stream;

/// Everything that shapes the data streams of a test on one end.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// How the streams travel.
    pub transport: Transport,
    /// Options for the sockets.
    pub options: SocketOptions,
    /// Streams per direction.
    pub streams: u16,
    /// Bytes of a block.
    pub block: u32,
    /// Bits per second that a sender keeps to.
    pub rate: Option<u64>,
    /// Bits per second for the kernel's pacing.
    pub fq_rate: Option<u64>,
    /// Blocks that a paced sender sends in one go.
    pub burst: Option<u16>,
    /// Segmentation and receive offload were asked for.
    pub gsro: bool,
    /// Neither may be used without being asked for.
    pub no_gso: bool,
    /// Receivers take no more of a datagram than they need.
    pub skip_rx_copy: bool,
    /// `TCP_USER_TIMEOUT`.
    pub snd_timeout: Option<Duration>,
    /// The send buffers of TCP streams.
    pub send_buffer: SendBuffer,
    /// What only SCTP streams have.
    pub sctp: SctpOptions,
    /// Local address; its port may be 0.
    pub bind: Option<SocketAddr>,
    /// Local device.
    pub bind_dev: Option<String>,
    /// How a client says hello to open a UDP stream.
    pub hello: Hello,
    /// Collects what is not as asked for.
    pub warnings: Warnings,
}

/// How a client says hello to open a UDP stream.
#[derive(Clone, Debug, Default)]
pub enum Hello {
    /// Once, as iperf3 does: its servers count a hello that comes again as data of the stream.
    #[default]
    Once,
    /// The same; the flag is set when the server says that it has all streams, this one included.
    OnceUntil(Arc<AtomicBool>),
    /// With the cookie, to a server of this program: again after this long without a reply, then less often.
    Repeated(Duration),
}

impl StreamPlan {
    /// The plan of a test, for sockets that are bound to nothing.
    pub fn new(test: &TestConfig, local: &LocalOptions) -> Self {
        Self {
            transport: test.transport,
            options: test.socket.clone(),
            streams: test.streams,
            block: test.block,
            rate: test.pacing.rate,
            fq_rate: test.pacing.fq_rate,
            burst: test.pacing.burst,
            gsro: test.udp.gsro,
            no_gso: local.no_gso,
            skip_rx_copy: test.zerocopy.receive == ReceiveMode::Trunc,
            snd_timeout: local.snd_timeout,
            send_buffer: local.send_buffer,
            sctp: local.sctp.clone(),
            bind: None,
            bind_dev: None,
            hello: Hello::default(),
            warnings: Warnings::default(),
        }
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
    /// Whether this end sends on it.
    pub role: Role,
}

/// Opens the client's end of a stream; it blocks until `deadline` at the most. `greeting` is the test's
/// cookie, which byte streams begin with.
pub fn connect(
    plan: &StreamPlan,
    target: &Target,
    greeting: &[u8],
    spec: StreamSpec,
    deadline: Instant,
) -> Result<Stream, EngineError> {
    let address = match target {
        Target::Inet(address) => *address,
        Target::Vsock(_) | Target::Vmm(_) => {
            return vsock::connect(plan, target, greeting, spec, deadline);
        }
    };
    match plan.transport {
        Transport::Udp => udp::connect(plan, address, greeting, spec, deadline),
        Transport::Sctp => sctp::connect(plan, address, greeting, spec, deadline),
        _ => tcp::connect(plan, address, greeting, spec, deadline),
    }
}

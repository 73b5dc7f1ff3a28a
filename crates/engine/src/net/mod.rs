//! Opening and accepting data streams, per transport.

mod connection;
mod options;
mod plan;
pub mod sctp;
mod send_buffer;
mod socket_buffers;
pub mod tcp;
pub mod transactions;
pub mod udp;
pub mod vmm;
pub mod vsock;
mod warnings;

use std::time::Instant;

use iperf_model::Transport;

pub use connection::Connection;
pub use options::{buffers, congestion};
pub use plan::{Hello, StreamPlan, StreamSpec, Target};
pub use socket_buffers::SocketBuffers;
pub use warnings::Warnings;

use crate::error::EngineError;
use crate::stream::Stream;

/// Opens the client's end of a stream; it blocks until `deadline` at most. `preamble` is what byte streams begin with:
/// the test's cookie, and the stream's index if the server reads it.
pub fn connect(
    plan: &StreamPlan<'_>,
    target: &Target,
    preamble: &[u8],
    spec: StreamSpec,
    deadline: Instant,
) -> Result<Stream, EngineError> {
    let address = match target {
        Target::Inet(address) => *address,
        Target::Vsock(_) | Target::Vmm(_) => {
            return vsock::connect(plan, target, preamble, spec, deadline);
        }
    };
    match plan.test.transport {
        Transport::Udp => udp::connect(plan, address, preamble, spec, deadline),
        Transport::Sctp => sctp::connect(plan, address, preamble, spec, deadline),
        _ => tcp::connect(plan, address, preamble, spec, deadline),
    }
}

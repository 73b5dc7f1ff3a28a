//! The server's side of a test: listens, lets clients in, runs one test at a time and reports.
//!
//! ```text
//! listener ──► greet (cookie) ─┬─ new cookie ──► handshake (parameters, data streams) ──► session (one at a time)
//!                              └─ known cookie ──► the handshake that it belongs to
//! ```
//!
//! Greetings and handshakes go side by side, so that a peer that stalls in one keeps nobody else waiting; when there are
//! too many, old ones make way for new ones (`waiting`). What makes a test the one that runs is that it holds the
//! [`Sink`]: there is only one.

mod error;
mod greet;
mod handshake;
mod host;
mod hybrid;
mod listen;
mod port_permit;
mod rate_watch;
mod session;
mod side_door;
mod terms;
mod udp_door;
mod waiting;
mod watch;

use std::net::SocketAddr;

use iperf_control::Stop;
use iperf_model::{Event, Failure, FailureKind, ServerConfig, Sink};

pub use error::ServerError;

/// Serves tests until it is told to stop, or until the one test of `-1` is over. `ready` learns the internet address, if there is one, when
/// clients can connect.
///
/// It must run on a current-thread tokio runtime, or at least stay on one thread: the CPU time of the calling
/// thread is measured.
pub async fn run(
    config: ServerConfig,
    mut sink: Box<dyn Sink>,
    stop: Stop,
    ready: impl FnOnce(Option<SocketAddr>),
) -> Result<(), ServerError> {
    match host::Host::open(config).await {
        Ok(host) => host.serve(sink, stop, ready).await,
        Err(error) => {
            let failure = Failure {
                kind: FailureKind::Error,
                message: error.to_string(),
            };
            for event in [Event::Failed(failure), Event::TestFinished] {
                if let Err(error) = sink.event(&event) {
                    tracing::warn!(%error, "can't write output");
                }
            }
            Err(error)
        }
    }
}

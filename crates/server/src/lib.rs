//! The server's side of a test: accepts connections, takes clients through their handshakes, runs tests and reports.
//!
//! ```text
//! listener ──► identify (cookie) ─┬─ new cookie ──► handshake (parameters, data streams) ──► session (a thread)
//!                                 └─ known cookie ──► the handshake that it belongs to
//! ```
//!
//! Cookies and handshakes are awaited concurrently, so that a stalled peer does not hold up others; when there are too
//! many, new ones replace old ones (`waiting`). `registry` alone knows which tests run, and `slots` whether one more may.

mod capacity;
mod client_rates;
mod data_listener;
mod error;
mod farewell;
mod handshake;
mod identify;
mod inquiry;
mod listen;
mod port_permit;
mod rate_watch;
mod registry;
mod server;
mod session;
mod settle;
mod slots;
mod tasks;
mod terms;
mod test_thread;
mod udp_listener;
mod unix_listener;
mod waiting;

use std::net::TcpListener;
use std::sync::Arc;

use iperf_control::Stop;
use iperf_model::{Event, Failure, FailureKind, Outputs, ServerConfig, ServerCounters};
use socket2::SockAddr;

use crate::tasks::SharedSink;

pub use error::ServerError;
pub use server::{Change, Terms, raise_descriptor_limit};

/// What a server has to do with the service that it is part of.
#[derive(Debug, Default)]
pub struct Service {
    /// Counts what the server does.
    pub counters: Arc<ServerCounters>,
    /// A TCP socket that listens already; it takes the place of one at the configured address.
    pub listener: Option<TcpListener>,
    /// Once it holds true, the server begins no test, and ends when the running ones are over.
    pub drain: Option<tokio::sync::watch::Receiver<bool>>,
    /// New limits and logins.
    pub changes: Option<tokio::sync::mpsc::Receiver<Change>>,
}

/// Serves tests until it is stopped, or until the one test of `-1` is over. `ready` is called with the address
/// of the listening socket when clients can connect.
///
/// Each test runs on its own thread; `outputs` opens a sink for each, and one for what belongs to no test.
pub async fn run(
    config: ServerConfig,
    outputs: &dyn Outputs,
    service: Service,
    stop: Stop,
    ready: impl FnOnce(SockAddr),
) -> Result<(), ServerError> {
    let mut sink = SharedSink::new(outputs.open(None));
    match server::Server::open(config, outputs, service, sink.clone()).await {
        Ok(server) => server.serve(stop, ready).await,
        Err(error) => {
            let failure = Failure {
                kind: FailureKind::Error,
                message: error.to_string(),
            };
            server::report(&mut sink, &Event::Failed(failure));
            server::report(&mut sink, &Event::TestFinished);
            Err(error)
        }
    }
}

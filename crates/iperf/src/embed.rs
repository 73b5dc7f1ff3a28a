//! For programs that bring their own output, signals or runtime, as the `iperf` program does.
//!
//! [`Client::run_in_place`](crate::Client::run_in_place) and [`Server::serve_in_place`](crate::Server::serve_in_place) run on
//! the calling thread, report each event to a [`Sink`], and end when a [`Stop`] requests it.

use std::io;
use std::os::unix::net::UnixStream;
use std::panic;

use iperf_model::reason;
use tokio::runtime::{Builder, Runtime};

pub use crate::system::system_info;
pub use iperf_client::Login;
pub use iperf_control::{Stop, StopHandle, StopReason};
pub use iperf_model::{Outputs, Sink, TestId};
pub use iperf_report::null_sink;
pub use iperf_server::{Change, Service, Terms, raise_descriptor_limit};

/// Pairs of descriptors that a runtime and the start of a test need.
const RUNTIME_PAIRS: usize = 4;

/// A runtime for one end of a test: it has one thread, the calling one. Data streams have threads of their own.
///
/// # Errors
///
/// No descriptors are left. Tokio panics if it gets none for its signals, so opening as many is tried first, and a panic that
/// comes nevertheless is an error too.
pub fn runtime() -> io::Result<Runtime> {
    let spare: io::Result<Vec<_>> = (0..RUNTIME_PAIRS).map(|_| UnixStream::pair()).collect();
    drop(spare.map_err(|error| io::Error::other(format!("unable to start: {}", reason(&error))))?);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let built = panic::catch_unwind(|| Builder::new_current_thread().enable_all().build());
    panic::set_hook(hook);
    built.unwrap_or_else(|_| {
        Err(io::Error::other(
            "unable to start: no sockets are left for signals",
        ))
    })
}

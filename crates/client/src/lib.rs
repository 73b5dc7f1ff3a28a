//! The client's side of a test: connects, requests the test, runs its end of the streams and reports.
//!
//! ```text
//! connect ──► Driver ◄──► proto::client ── what to do next
//!                │ CREATE_STREAMS ──► streams::open          (a blocking thread)
//!                │ TEST_RUNNING   ──► engine::Measurement    (one thread per stream)
//!                └─────────────────► Event ──► Sink
//! ```

mod connect;
mod connect_error;
mod driver;
mod error;
mod late;
mod login;
mod missing;
mod phase;
mod probing;
mod quota;
mod race;
mod streams;
mod strict;
mod wait;

use iperf_control::{Output, Stop};
use iperf_model::{ClientConfig, Event, Sink};

pub use connect_error::ConnectError;
pub use error::ClientError;
pub use login::Login;

/// Runs one test, as the user of `login` if there is one. Everything about it is reported to `sink`, the failure included;
/// the error is returned as well, for the exit code.
///
/// It must run on a current-thread tokio runtime, or at least stay on one thread: the CPU time of the calling
/// thread is measured.
pub async fn run(
    config: &ClientConfig,
    login: Option<&Login>,
    sink: &mut dyn Sink,
    stop: Stop,
) -> Result<(), ClientError> {
    let mut output = Output::new(sink);
    let result = match config.wait {
        None => driver::run(config, login, &mut output, stop).await,
        Some(limit) => wait::run(config, login, &mut output, stop, limit).await,
    };
    if let Err(error) = &result {
        output.event(&Event::Failed(error.failure()));
    }
    output.event(&Event::TestFinished);
    result
}

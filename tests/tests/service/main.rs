//! A server as a service: metrics, the exporter, the log, and what is in `deploy/`.

mod exporter;
mod log;
mod manager;
mod metrics;
mod prometheus;
mod reload;

use std::path::PathBuf;

/// A file of `deploy/`.
fn deployed(name: &str) -> PathBuf {
    iperf_harness::paths::workspace().join("deploy").join(name)
}

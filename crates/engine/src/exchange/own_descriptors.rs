//! A thread that has no descriptor but its worker's socket.

use std::os::fd::AsFd;

use iperf_model::reason;
use iperf_zc::descriptors;
use tracing::debug;

use crate::worker::Task;

/// Takes the calling thread, which drives a worker alone, away from the descriptors of the process: its calls are faster.
/// [`relayed`](super::relayed) wakes for it.
pub(super) fn keep_only_the_socket(task: &Task) {
    if let Err(error) = descriptors::keep_only(task.socket.as_fd()) {
        debug!(
            "the thread shares its descriptors with others: {}",
            reason(&error)
        );
    }
}

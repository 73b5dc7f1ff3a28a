//! Threads whose only descriptor is their worker's socket ([`iperf_zc::descriptors`]), so that calls take no reference
//! to a file: those of exchanges, and those that send small blocks, where that saves a twentieth of a call.
//!
//! They can't wake the driver, which may need a descriptor: a thread that has it does so for all threads of a run.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use iperf_model::{TestConfig, Transport, reason};
use iperf_zc::descriptors;
use tracing::debug;

use crate::error::EngineError;
use crate::worker::{Task, Wake};

/// The longest block for which it pays: a longer one takes microseconds.
const SMALL: u32 = 16 * 1024;

/// Whether threads of a test that send have descriptors of their own, if their movers need no others.
pub(crate) fn suit(config: &TestConfig) -> bool {
    config.exchange.is_some() || config.transport != Transport::Udp && config.block <= SMALL
}

/// Takes the calling thread, which drives a worker alone, away from the descriptors of the process. Its worker wakes by what
/// [`relayed`] returned.
pub(crate) fn keep_only_the_socket(task: &Task) {
    if let Err(error) = descriptors::keep_only(task.socket.as_fd()) {
        debug!(
            "the thread shares its descriptors with others: {}",
            reason(&error)
        );
    }
}

/// A way to wake for threads that have no descriptor but their socket. The thread that does it ends once nobody can wake any
/// more.
pub(crate) fn relayed(wake: Wake) -> Result<Wake, EngineError> {
    let (sender, wakeups) = channel();
    thread::Builder::new()
        .name("iperf-wakes".to_owned())
        .spawn(move || wakeups.iter().for_each(|()| wake()))
        .map_err(EngineError::system("start a thread that wakes"))?;
    Ok(Arc::new(move || {
        // The thread runs as long as this can be called.
        let _ = sender.send(());
    }))
}

//! A thread with one worker: blocking calls, and nothing between them. This is the fastest way while processors are
//! free.

use std::time::Instant;

use crate::sleep::sleep_until;
use crate::worker::{Ending, Step, Worker};

/// Drives a worker from the start of the test to its end. Its socket is a blocking one.
pub(crate) fn run(worker: &mut dyn Worker, start: Instant) -> Ending {
    worker.own_thread();
    worker.begin(start);
    let ending = loop {
        match worker.step(true) {
            Step::Moved | Step::Blocked | Step::BlockedUntil(_) => {}
            Step::Wait(due) => sleep_until(due),
            Step::Ended(ending) => break ending,
        }
    };
    worker.end(&ending);
    ending
}

//! Sleeping on a worker thread.

use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

/// Sleeps until `due`, or until a signal cuts it short. Unlike `std::thread::sleep` it can be woken.
pub(crate) fn sleep_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    // A second at a time is often enough to see every stop, should its signal come just before the call.
    let nap = TimeSpec::from_duration(left.min(Duration::from_secs(1)));
    // However it ends, the caller looks at the clock again.
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::empty(), &nap);
}

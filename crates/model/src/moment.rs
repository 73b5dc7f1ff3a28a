//! Moments as numbers.

use std::time::SystemTime;

/// Seconds from the beginning of 1970 to `at`; 0 for an earlier moment.
pub fn since_1970(at: SystemTime) -> f64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

//! What a server counts and shows while it runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

/// A server whose loop has not run for this long counts as hung.
const SILENCE: Duration = Duration::from_secs(15);

/// Counters of a server, which others may read at any time.
#[derive(Debug, Default)]
pub struct ServerCounters {
    /// Connections that were accepted: control and data.
    pub connections: AtomicU64,
    /// Clients that began a handshake.
    pub handshakes: AtomicU64,
    /// Handshakes that ended without a test, other than refused ones.
    pub failed_handshakes: AtomicU64,
    /// Clients that were refused because the server is busy.
    pub refused: AtomicU64,
    /// Whether clients can connect and begin tests.
    ready: AtomicBool,
    /// When the server's loop last ran, in seconds since 1970.
    beat: AtomicU64,
}

impl ServerCounters {
    /// Adds one to a counter.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// Records whether the server accepts tests from now on.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Relaxed);
    }

    /// Whether the server takes new tests.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Relaxed)
    }

    /// Records that the server's loop runs.
    pub fn beat(&self, now: SystemTime) {
        self.beat.store(seconds(now), Relaxed);
    }

    /// Whether the server's loop has run recently.
    pub fn is_alive(&self, now: SystemTime) -> bool {
        let age = seconds(now).saturating_sub(self.beat.load(Relaxed));
        age <= SILENCE.as_secs()
    }
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

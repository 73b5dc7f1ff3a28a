//! The delays of the datagrams that a stream receives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iperf_model::Latencies;

use crate::exchange::Timings;
use crate::probe::PeerClock;

/// What the worker of a stream records and the run reads.
#[derive(Debug)]
pub(crate) struct OneWay {
    clock: Arc<PeerClock>,
    timings: Timings,
    /// Nothing counts while time is omitted.
    counts: AtomicBool,
}

impl OneWay {
    /// `omits`: the test begins with omitted time.
    pub(crate) fn new(clock: Arc<PeerClock>, omits: bool) -> Self {
        Self {
            clock,
            timings: Timings::new(),
            counts: AtomicBool::new(!omits),
        }
    }

    /// A datagram arrived; both times are those of the ends' own clocks.
    pub(crate) fn record(&self, sent: Duration, arrived: Duration) {
        if self.counts.load(Ordering::Relaxed)
            && let Some(delay) = self.clock.delay(sent, arrived)
        {
            self.timings.record(delay);
        }
    }

    /// The omitted time is over.
    pub(crate) fn restart(&self) {
        self.counts.store(true, Ordering::Relaxed);
    }

    pub(crate) fn delays(&self) -> Latencies {
        self.timings.all()
    }
}

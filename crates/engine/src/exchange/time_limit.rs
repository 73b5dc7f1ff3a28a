//! When a request/response test ends by itself.

use std::time::{Duration, Instant};

use iperf_model::TestConfig;

/// The end of a timed request/response test, for its requesters and for what its run counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit {
    length: Option<Duration>,
    end: Option<Instant>,
}

impl TimeLimit {
    /// The limit of a test that has not begun; there is none for other tests, or if time does not end it.
    pub(crate) fn new(config: &TestConfig) -> Self {
        Self {
            length: config.exchange.and(config.length()),
            end: None,
        }
    }

    /// The test began at `start`.
    pub(crate) fn begin(&mut self, start: Instant) {
        self.end = self.length.map(|length| start + length);
    }

    /// Whether what happens at `now` is no part of the test.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| now >= end)
    }

    /// `now`, or the end of the test if that was before.
    pub(crate) fn within(&self, now: Instant) -> Instant {
        self.end.map_or(now, |end| now.min(end))
    }
}

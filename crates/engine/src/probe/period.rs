//! Assigns a probe to a period, by when it was sent, and to an interval, by when its answer arrived.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use iperf_model::{Latencies, Probes};

use crate::exchange::{Snapshot, Timings};

/// A period of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Period {
    /// Nothing is counted: streams are being opened or closed, or time is omitted.
    Uncounted = 0,
    /// Before the load.
    Idle = 1,
    /// Data flows.
    Loaded = 2,
    /// After the load.
    After = 3,
    /// No more probes are sent.
    Over = 4,
}

/// The present period, which the test sets and the prober reads.
#[derive(Debug, Default)]
pub(super) struct Present(AtomicU8);

impl Present {
    pub(super) fn set(&self, period: Period) {
        self.0.store(period as u8, Ordering::Release);
    }

    pub(super) fn get(&self) -> Period {
        match self.0.load(Ordering::Acquire) {
            1 => Period::Idle,
            2 => Period::Loaded,
            3 => Period::After,
            4 => Period::Over,
            _ => Period::Uncounted,
        }
    }
}

/// The round trips of the loaded path, which the prober records and the test takes interval by interval.
#[derive(Debug)]
pub(super) struct Intervals {
    timings: Arc<Timings>,
    last: Snapshot,
}

impl Intervals {
    pub(super) fn new() -> Self {
        Self {
            timings: Arc::new(Timings::new()),
            last: Snapshot::default(),
        }
    }

    /// What the prober records into.
    pub(super) fn recorder(&self) -> Recorder {
        Recorder(self.timings.clone())
    }

    /// What was recorded since the last call.
    pub(super) fn take(&mut self) -> Latencies {
        let now = self.timings.read();
        let latencies = now.since(&self.last);
        self.last = now;
        latencies
    }
}

/// Records into the present interval.
#[derive(Debug)]
pub(super) struct Recorder(Arc<Timings>);

impl Recorder {
    /// A round trip that began in `period`.
    pub(super) fn record(&self, period: Period, nanos: u64) {
        if period == Period::Loaded {
            self.0.record(Duration::from_nanos(nanos));
        }
    }
}

/// What was recorded, by period.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) idle: Probes,
    pub(super) loaded: Probes,
    pub(super) after: Probes,
}

impl Recorded {
    /// With one-way delays as well.
    pub(super) fn with_ways() -> Self {
        let probes = || Probes {
            up: Some(Latencies::new()),
            down: Some(Latencies::new()),
            ..Probes::default()
        };
        Self {
            idle: probes(),
            loaded: probes(),
            after: probes(),
        }
    }

    pub(super) fn of(&mut self, period: Period) -> Option<&mut Probes> {
        match period {
            Period::Idle => Some(&mut self.idle),
            Period::Loaded => Some(&mut self.loaded),
            Period::After => Some(&mut self.after),
            Period::Uncounted | Period::Over => None,
        }
    }
}

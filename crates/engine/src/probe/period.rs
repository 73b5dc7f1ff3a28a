//! What a probe belongs to, by when it was sent.

use std::sync::atomic::{AtomicU8, Ordering};

use iperf_model::{Latencies, Probes};

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

//! The probes of a client's test, from its beginning to its end.
//!
//! ```text
//! before the streams: idle ─► while data flows: loaded ─► results are exchanged ─► DRAIN ─► idle again: AFTER
//! ```

use std::sync::Arc;
use std::time::Duration;

use iperf_engine::probe::{KernelProber, PeerClock, Period, Prober};
use iperf_model::{ClockRelation, Load};
use tokio::time::sleep;

/// How long to wait for the queues to drain once the streams are closed.
const DRAIN: Duration = Duration::from_millis(500);

/// How long to probe the idle path after that. Servers of this program wait 4 s for the end of the test.
const AFTER: Duration = Duration::from_millis(1500);

/// What probes the path.
#[derive(Debug, Default)]
pub(crate) enum Probing {
    /// Nothing.
    #[default]
    None,
    /// Messages that the server answers.
    Messages(Prober),
    /// What the kernel knows of the streams.
    Kernel(KernelProber),
    /// What it knew of them: they are closed.
    Over(Box<Load>),
}

impl Probing {
    pub(crate) fn set(&self, period: Period) {
        match self {
            Self::Messages(prober) => prober.set(period),
            Self::Kernel(prober) => prober.set(period),
            Self::None | Self::Over(_) => {}
        }
    }

    /// The server's clock, if it reports it.
    pub(crate) fn clock(&self) -> Option<Arc<PeerClock>> {
        match self {
            Self::Messages(prober) => Some(prober.clock()),
            _ => None,
        }
    }

    /// Data flows no more, and the streams are about to be closed.
    pub(crate) fn end_load(&mut self) {
        self.set(Period::Uncounted);
        *self = match std::mem::take(self) {
            Self::Kernel(prober) => Self::Over(Box::new(prober.finish())),
            other => other,
        };
    }

    /// Probes the path when the load is over.
    pub(crate) async fn idle_again(&self, reports: bool) {
        if matches!(self, Self::Messages(_)) && reports {
            sleep(DRAIN).await;
            self.set(Period::After);
            sleep(AFTER).await;
        }
    }

    /// What was found, if there were any probes.
    pub(crate) fn finish(self) -> Option<(Load, Option<ClockRelation>)> {
        match self {
            Self::None => None,
            Self::Messages(prober) => Some(prober.finish()),
            Self::Kernel(prober) => Some((prober.finish(), None)),
            Self::Over(load) => Some((*load, None)),
        }
    }
}

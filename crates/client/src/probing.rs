//! The probes of a client's test, from its beginning to its end.
//!
//! ```text
//! before the streams: idle ─► while data flows: loaded ─► results are exchanged ─► DRAIN ─► idle again: AFTER
//! ```

use std::sync::Arc;
use std::time::Duration;

use iperf_engine::probe::{KernelProber, PeerClock, Period, Prober};
use iperf_model::{ClockRelation, Interval, Latencies, Load, TestConfig};
use tokio::time::sleep;

/// How long to wait for the queues to drain once the streams are closed.
const DRAIN: Duration = Duration::from_millis(500);

/// How long to probe the idle path after that. Servers of this program wait 10 s for the end of such a test.
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
    /// What it knew of them, and what of it belongs to the last interval: they are closed.
    Over(Box<Load>, Option<Arc<Latencies>>),
}

impl Probing {
    pub(crate) fn set(&self, period: Period) {
        match self {
            Self::Messages(prober) => prober.set(period),
            Self::Kernel(prober) => prober.set(period),
            Self::None | Self::Over(..) => {}
        }
    }

    /// The server's clock, if it reports it.
    pub(crate) fn clock(&self) -> Option<Arc<PeerClock>> {
        match self {
            Self::Messages(prober) => Some(prober.clock()),
            _ => None,
        }
    }

    /// Adds what was measured in an interval, if it is reported. Nothing is measured while time is omitted.
    pub(crate) fn add_to(&mut self, interval: &mut Interval, test: &TestConfig) {
        if test.probe.is_some_and(|probe| probe.reports) && !interval.omitted {
            interval.probes = self.interval();
        }
    }

    /// The round trips of the loaded path since the last call.
    fn interval(&mut self) -> Option<Arc<Latencies>> {
        match self {
            Self::Messages(prober) => Some(Arc::new(prober.interval())),
            Self::Kernel(prober) => Some(Arc::new(prober.interval())),
            Self::Over(_, last) => last.take(),
            Self::None => None,
        }
    }

    /// Data flows no more, and the streams are about to be closed.
    pub(crate) fn end_load(&mut self) {
        self.set(Period::Uncounted);
        *self = match std::mem::take(self) {
            Self::Kernel(mut prober) => {
                let last = Arc::new(prober.interval());
                Self::Over(Box::new(prober.finish()), Some(last))
            }
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
            Self::Over(load, _) => Some((*load, None)),
        }
    }
}

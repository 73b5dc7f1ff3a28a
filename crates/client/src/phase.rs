//! How far a client's test is. A step consumes the phase that it leaves, so that no phase holds what another needs.
//!
//! ```text
//! Asking ─► Opening ─► Ready ─► Started ─► Running ─► Ended ─► Closing
//! ```

use std::time::Instant;

use iperf_control::{Blocking, spawn_blocking};
use iperf_engine::{
    CpuMeter, EngineError, Measurement, Prepared, Seen, Trouble, Watch, WatchLimits,
};
use iperf_model::{Event, Interval, RunTotals, TestConfig};

use crate::quota::{self, Flush};
use crate::streams::Opened;

/// The streams, when all are connected.
pub(crate) type Opening = Blocking<Result<Opened, EngineError>>;

/// How far a test is.
pub(crate) enum Phase {
    /// The ends agree on the test.
    Asking(CpuMeter),
    /// Data streams are being opened.
    Opening(Opening, CpuMeter),
    /// They are connected, and their workers wait.
    Ready(Box<Prepared>),
    /// The clock of the test runs; data may not flow yet.
    Started(Box<Prepared>, Instant),
    /// Data flows.
    Running(Box<Running>),
    /// The test is over; receivers still empty their sockets.
    Ended(Box<Ended>),
    /// The streams are closed, or close gracefully.
    Closing(Option<Blocking<()>>),
}

impl Phase {
    /// What this end is doing, for messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Asking(_) => "before the data streams",
            Self::Opening(..) => "while opening the data streams",
            Self::Ready(_) => "before the test",
            Self::Started(..) => "before the first data",
            Self::Running(_) => "during the test",
            Self::Ended(_) => "after the test",
            Self::Closing(_) => "while closing the data streams",
        }
    }
}

/// A test whose data flows.
pub(crate) struct Running {
    pub(crate) measurement: Measurement,
    watch: Watch,
    time_is_over: bool,
    /// The quota is met, and the last bytes are on their way.
    pub(crate) flush: Flush,
}

/// What a client finds when it checks a running test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoesOn,
    IsOver,
}

impl Running {
    pub(crate) fn new(measurement: Measurement, test: &TestConfig, limits: WatchLimits) -> Self {
        Self {
            measurement,
            watch: Watch::new(limits),
            time_is_over: false,
            flush: Flush::new(test),
        }
    }

    /// When to look again although nothing happened.
    pub(crate) fn deadline(&self) -> Instant {
        let deadline = self.watch.deadline(&self.measurement, Instant::now());
        self.flush
            .deadline()
            .map_or(deadline, |at| at.min(deadline))
    }

    /// Looks at the clock, the workers and the quota.
    pub(crate) fn look(
        &mut self,
        test: &TestConfig,
        now: Instant,
        report: impl FnMut(Event),
    ) -> Result<Verdict, Trouble> {
        let Seen {
            time_is_over,
            files_are_sent,
        } = self.watch.look(&mut self.measurement, now, report)?;
        self.time_is_over |= time_is_over;
        if files_are_sent {
            self.flush.source_is_done();
        }
        let run = self.measurement.run();
        let over = self.flush.is_waiting()
            || self.time_is_over
            || files_are_sent
            || run.quota_met_at().is_some()
            || quota::all_has_come(run, test)
            || quota::tail_is_lost(run, test, now);
        if over && self.flush.done(run, now) {
            if let Some(fault) = self.watch.fault(run, now) {
                return Err(Trouble::Lost(fault));
            }
            // A stream that was lost in the last moment makes no whole test either: the server may report why.
            if !self.watch.awaits_reason() {
                return Ok(Verdict::IsOver);
            }
        }
        self.watch.lost(now)?;
        Ok(Verdict::GoesOn)
    }
}

impl Running {
    /// Stops the senders.
    pub(crate) fn stop(mut self, test: &TestConfig) -> Stopped {
        let run = self.measurement.run();
        run.stop_senders();
        let complete = run
            .complete_at(test.block)
            .filter(|_| !test.direction.client_sends());
        Stopped {
            end: complete.unwrap_or_else(Instant::now),
            measurement: self.measurement,
        }
    }
}

/// A test whose senders have stopped.
pub(crate) struct Stopped {
    measurement: Measurement,
    end: Instant,
}

impl Stopped {
    /// Takes the last sample: the last interval, if it is worth a report, and the totals.
    pub(crate) fn finish(mut self) -> (Option<Interval>, Ended) {
        self.measurement.run().discard_received();
        let (last, totals) = self.measurement.finish(self.end);
        let ended = Ended {
            measurement: self.measurement,
            totals,
        };
        (last, ended)
    }
}

/// A test that is over, with what was counted.
pub(crate) struct Ended {
    pub(crate) measurement: Measurement,
    pub(crate) totals: RunTotals,
}

impl Ended {
    /// Closes the streams. Those that close gracefully are read to their ends on a thread of its own.
    pub(crate) fn close(self) -> (Phase, RunTotals) {
        let lingering = self.measurement.close();
        let wait = (!lingering.is_over()).then(|| spawn_blocking(|| lingering.wait()));
        (Phase::Closing(wait), self.totals)
    }
}

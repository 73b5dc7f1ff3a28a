//! A run together with its clock: a driver polls it for events to report.

use std::time::{Duration, Instant};

use iperf_model::{Event, Interval, Limit, RunTotals};

use crate::error::EngineError;
use crate::run::Run;
use crate::run::clock::{IntervalClock, Tick};
use crate::run::cpu::CpuMeter;
use crate::run::linger::Lingering;
use crate::run::plan::RunPlan;
use crate::stream::Stream;

/// What became due.
#[derive(Debug)]
pub enum Due {
    /// An interval ended.
    Interval(Interval),
    /// The omitted period ended.
    OmitFinished,
    /// The time limit is reached: call [`Measurement::finish`].
    Limit,
}

/// A test that can begin at once.
pub struct Prepared {
    run: Run,
    meter: CpuMeter,
    interval: Option<Duration>,
    omit: Duration,
    limit: Option<Duration>,
}

impl Prepared {
    /// Makes the workers, which wait. `keeps_time`: whether this end is the one that ends a timed test, the client.
    pub fn new(
        streams: Vec<Stream>,
        plan: &RunPlan<'_>,
        meter: CpuMeter,
        keeps_time: bool,
    ) -> Result<Self, EngineError> {
        let limit = match plan.config.limit {
            Limit::Seconds(seconds) if keeps_time => Some(Duration::from_secs(seconds.into())),
            _ => None,
        };
        Ok(Self {
            run: Run::prepare(streams, plan)?,
            meter,
            interval: plan.local.interval,
            omit: Duration::from_secs(plan.config.omit.into()),
            limit,
        })
    }

    /// Lets data flow. The test began at `start`.
    pub fn go(mut self, start: Instant) -> Measurement {
        self.run.go(start);
        Measurement {
            run: self.run,
            clock: IntervalClock::new(start, self.interval, self.omit, self.limit),
            meter: self.meter,
            interval: self.interval,
        }
    }
}

/// A running test and the clock that cuts it into intervals.
pub struct Measurement {
    run: Run,
    clock: IntervalClock,
    meter: CpuMeter,
    interval: Option<Duration>,
}

impl Measurement {
    /// When to call [`Self::poll`] next.
    pub fn deadline(&self) -> Option<Instant> {
        self.clock.deadline()
    }

    /// The next thing that is due at `now`, if any. Call it until it returns `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Due> {
        Some(match self.clock.poll(now)? {
            Tick::Interval => {
                self.run.settle_requesters(now);
                Due::Interval(self.run.sample(now))
            }
            Tick::OmitEnd => {
                self.run.end_omit(now);
                Due::OmitFinished
            }
            Tick::End => Due::Limit,
        })
    }

    /// Reports the intervals that have ended, and the end of the omitted period; returns whether the time limit is
    /// reached.
    pub fn report_due(&mut self, now: Instant, mut report: impl FnMut(Event)) -> bool {
        let mut time_is_over = false;
        while let Some(due) = self.poll(now) {
            match due {
                Due::Interval(interval) => report(Event::Interval(interval)),
                Due::OmitFinished => report(Event::OmitFinished),
                Due::Limit => time_is_over = true,
            }
        }
        time_is_over
    }

    /// The running streams.
    pub fn run(&mut self) -> &mut Run {
        &mut self.run
    }

    /// Takes the last sample, at `end`, when the run was stopped: the last interval, if it is worth a report, and
    /// what all came to.
    ///
    /// As in iperf3, a last interval that is shorter than a tenth of the others and has no data is not reported.
    pub fn finish(&mut self, end: Instant) -> (Option<Interval>, RunTotals) {
        self.run.settle_cuts();
        let last = self.run.sample(end);
        let short = self
            .interval
            .is_some_and(|interval| last.length() < interval / 10);
        // Datagrams that are lost at the end are known only now.
        let empty = last.streams.iter().all(|stream| {
            let datagrams = stream.datagrams.as_ref();
            stream.bytes == 0 && datagrams.is_none_or(|sample| sample.packets == 0)
        });
        let totals = self.run.totals(end, &self.meter);
        (Some(last).filter(|_| !(short && empty)), totals)
    }

    /// Ends all workers and closes the sockets, except those that linger.
    pub fn close(self) -> Lingering {
        self.run.close()
    }
}

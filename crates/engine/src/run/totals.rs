//! The totals of a run.

use std::sync::Arc;
use std::time::Instant;

use iperf_model::{Latencies, Limitation, RunTotals, StreamOutcome};

use crate::run::Run;
use crate::run::cpu::{CpuMeter, CpuTime};
use crate::run::drops::{self, Causes, UdpErrors};
use crate::run::running_stream::RunningStream;

impl Run {
    /// What limited the test that ended at `end`, with these outcomes.
    fn limits_until(&self, end: Instant, outcomes: &[StreamOutcome]) -> Vec<Limitation> {
        let Some(gauge) = &self.limits else {
            return Vec::new();
        };
        let seconds = |since| end.saturating_duration_since(since).as_secs_f64();
        let streams = self.streams.iter().zip(outcomes);
        let evidence: Vec<_> = streams
            .map(|(stream, outcome)| stream.evidence(outcome))
            .collect();
        gauge.find(seconds(self.base), seconds(self.started), &evidence)
    }

    /// The delays of all received datagrams, if they are measured.
    fn one_way(&self) -> Option<Arc<Latencies>> {
        let delays = self.streams.iter().filter_map(RunningStream::one_way);
        let all = delays.reduce(|mut all, delays| {
            all.add(&delays);
            all
        });
        all.map(Arc::new)
    }

    /// What was counted until the last sample. `end` is when the test ended.
    pub fn totals(&mut self, end: Instant, meter: &CpuMeter) -> RunTotals {
        let end = self.time_limit.within(end);
        let workers = self
            .streams
            .iter()
            .fold(CpuTime::default(), |sum, m| sum.plus(m.cpu()));
        let causes = self.udp_errors.as_ref().map(UdpErrors::so_far);
        let outcomes = self.outcomes(causes);
        RunTotals {
            one_way: self.one_way(),
            limits: self.limits_until(end, &outcomes),
            duration: end.saturating_duration_since(self.base),
            cpu: meter.usage(workers),
            congestion: self
                .streams
                .last()
                .and_then(RunningStream::congestion)
                .map(str::to_owned),
            checksum_errors: causes.map(|causes| causes.checksums),
            streams: outcomes,
        }
    }

    fn outcomes(&self, causes: Option<Causes>) -> Vec<StreamOutcome> {
        let mut outcomes: Vec<_> = self.streams.iter().map(RunningStream::outcome).collect();
        let drops: Vec<_> = self.streams.iter().map(RunningStream::dropped).collect();
        drops::attribute(&mut outcomes, &drops, causes);
        outcomes
    }
}

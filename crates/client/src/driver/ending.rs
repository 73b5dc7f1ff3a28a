//! How a client's test ends, and what is reported then.

use std::time::{Duration, Instant};

use iperf_engine::Trouble;
use iperf_model::{Event, Interval, Summary};
use iperf_proto::client::Failure;
use iperf_proto::results::Results;
use iperf_proto::summary::summarize;
use tokio::time::sleep;
use tracing::debug;

use super::{Driver, Next};
use crate::phase::{Ended, Phase, Running};
use crate::{ClientError, late, missing, strict};

/// After `-n` or `-k` the peer's kernel has everything; its program gets this long to read it, since iperf3's
/// servers stop counting when they receive the end of the test.
const QUOTA_GRACE: Duration = Duration::from_millis(5);

impl Driver<'_, '_> {
    /// Ends the test: stops the senders, takes the last sample and notifies the server.
    pub(super) async fn end(&mut self, running: Running) -> Next {
        self.probing.end_load();
        let grace = running.flush.is_wanted().then_some(QUOTA_GRACE);
        let stopped = running.stop(&self.test);
        if let Some(grace) = grace {
            sleep(grace).await;
        }
        let (last, mut ended) = stopped.finish();
        let run = ended.measurement.run();
        // A receiver may have failed just now.
        run.ended_workers();
        if let Some(lost) = run.wrong_data() {
            self.report_last(last);
            let trouble = Trouble::Lost(lost);
            return Next::Over(Phase::Ended(Box::new(ended)), Err(trouble.into()));
        }
        for counts in run.counts_to_tell() {
            self.talk.machine.send_counts(&counts);
        }
        self.talk.machine.end_test(Instant::now());
        // The message goes before the streams end: the other way round the server could take them for lost.
        let flushed = self.talk.flush().await;
        if flushed.is_ok() {
            ended.measurement.run().half_close();
        }
        // While the server ends its part: of many streams it is a lot of text.
        self.report_last(last);
        let phase = Phase::Ended(Box::new(ended));
        match flushed {
            Ok(()) => Next::Phase(phase),
            Err(_) => Next::Over(phase, Err(Failure::ControlClosed.into())),
        }
    }

    /// Reports the last interval.
    fn report_last(&mut self, last: Option<Interval>) {
        if let Some(mut interval) = last {
            self.probing.add_to(&mut interval, &self.test);
            self.output.event(&Event::Interval(interval));
        }
    }

    /// Reports a whole test.
    pub(super) async fn conclude(&mut self, ended: Ended, results: &Results) -> Next {
        let (phase, totals) = ended.close();
        let mut summary = match summarize(&totals, &self.test, Some(results)) {
            Ok(summary) => summary,
            Err(code) => {
                let failure = Failure::ResultsUnreadable(code.text().into());
                return Next::Over(phase, Err(failure.into()));
            }
        };
        let reports = self.test.probe.is_some_and(|probe| probe.reports);
        self.probing.idle_again(reports).await;
        self.report_delays(&mut summary);
        let shortfall = self
            .config
            .local
            .zerocopy_strict
            .then(|| strict::shortfall(self.test.zerocopy, &summary));
        // A server may send it to a client that did not ask.
        let wanted = self.test.get_server_output;
        if let Some(output) = results.server_output.as_ref().filter(|_| wanted) {
            self.output.event(&Event::ServerOutput(output.clone()));
        }
        let is_exact = self.granted.is_some();
        let missing = is_exact.then(|| missing::warning(&self.test, &summary));
        let late = late::warning(&self.test, &summary);
        for text in missing.flatten().into_iter().chain(late) {
            self.output.event(&Event::Warning(text));
        }
        self.output.event(&Event::Summary(summary));
        if let Some(after) = self.surroundings.after(results.environment.clone()) {
            self.output.event(&after);
        }
        self.talk.machine.finish();
        Next::Over(phase, shortfall.flatten().map_or(Ok(()), Err))
    }

    /// Adds what the probes found.
    fn report_delays(&mut self, summary: &mut Summary) {
        if let Some((load, clock)) = std::mem::take(&mut self.probing).finish() {
            summary.delays.load = Some(load).filter(|_| self.test.probe.is_some_and(|p| p.reports));
            summary.delays.clock = clock;
        }
    }

    /// Reports what there is of a test that was cut short.
    pub(super) fn cut_short(&mut self, phase: Phase) -> Phase {
        let ended = match phase {
            Phase::Running(running) => {
                let (last, ended) = running.stop(&self.test).finish();
                self.report_last(last);
                ended
            }
            Phase::Ended(ended) => *ended,
            other => return other,
        };
        let (phase, totals) = ended.close();
        if let Ok(mut summary) = summarize(&totals, &self.test, None) {
            self.report_delays(&mut summary);
            self.output.event(&Event::Summary(summary));
        }
        phase
    }

    /// Reports to the server how the test ended, and closes the connection.
    pub(super) async fn leave(self, phase: Phase, result: &Result<(), ClientError>) {
        let mut talk = self.talk;
        // A server that refused the test expects nothing more; it is notified of every other failure.
        let refused = matches!(
            result,
            Err(ClientError::Protocol(
                Failure::Busy | Failure::ServerError { .. }
            ))
        );
        if result.is_err() && !refused && !matches!(result, Err(ClientError::Interrupted(_))) {
            talk.machine.abandon();
        }
        if let Err(error) = talk.flush().await {
            debug!(%error, "can't send the last message");
        }
        // The data sockets are closed before the control connection: a server must not find them open after it.
        let streams = match phase {
            Phase::Closing(streams) => streams,
            other => {
                drop(other);
                None
            }
        };
        talk.close(streams).await;
    }
}

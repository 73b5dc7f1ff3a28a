//! From the end of the test to the server's results.

use std::time::{Duration, Instant};

use super::phase::Phase;
use super::{Client, Failure};
use crate::framing::{self, FrameReader, plausible_results};
use crate::{Results, State};

impl Client {
    /// The test is over. Sends `TEST_END`; the server answers when it has stopped counting.
    pub fn end_test(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Test | Phase::Running) {
            self.session.link.send_state(State::TestEnd);
            self.session.stop();
            self.session.link.wait(now, self.deadlines.results);
            self.phase = Phase::Exchange;
        }
    }

    /// Sends what this end counted.
    pub fn send_results(&mut self, results: &Results, now: Instant) {
        if matches!(self.phase, Phase::Report) {
            self.session.link.send_json(&results.to_json());
            self.session.link.wait(now, self.deadlines.results);
            self.phase = Phase::Results(FrameReader::new(self.longest_results(now)));
        }
    }

    pub(super) fn on_results(&mut self, results: Result<Option<Results>, String>, now: Instant) {
        match results {
            Ok(None) => {}
            Ok(Some(results)) => {
                self.phase = Phase::Display(Box::new(results));
                self.session.link.wait(now, self.deadlines.results);
            }
            Err(detail) => self.fail(Failure::ResultsUnreadable(detail)),
        }
    }

    /// The most bytes of results that the test can have. A test that ends by an amount or by a signal can have no more
    /// than the time that it took allows.
    fn longest_results(&self, now: Instant) -> usize {
        let streams = self.params.most_streams();
        if !self.params.get_server_output {
            return framing::longest_results(streams);
        }
        let took = self
            .began
            .map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        plausible_results(streams, took.as_secs())
    }
}

/// Whether a byte where results are due is a state that aborts.
pub(super) fn breaks_off(byte: u8) -> bool {
    matches!(
        State::from_byte(byte),
        State::AccessDenied | State::ServerTerminate | State::ServerError
    )
}

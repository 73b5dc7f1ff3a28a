//! From the end of the test to the server's results.

use std::time::Instant;

use super::phase::Phase;
use super::{Client, Failure};
use crate::framing::{FrameReader, MAX_RESULTS, plausible_results};
use crate::{Params, Results, State};

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
            self.phase = Phase::Results(FrameReader::new(longest_results(&self.params)));
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
}

/// The most bytes of results that a test can have.
fn longest_results(params: &Params) -> usize {
    if !params.get_server_output {
        return MAX_RESULTS;
    }
    let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let streams = 2 * number(params.parallel).unwrap_or(1).min(256);
    let by_time = [params.num, params.blockcount]
        .into_iter()
        .all(|amount| amount.unwrap_or(0) == 0);
    let seconds = number(params.time).filter(|seconds| by_time && *seconds > 0);
    let omit = number(params.omit).unwrap_or(0);
    plausible_results(streams, seconds.map(|seconds| seconds.saturating_add(omit)))
}

/// Whether a byte where results are due is a state that aborts.
pub(super) fn breaks_off(byte: u8) -> bool {
    matches!(
        State::from_byte(byte),
        State::AccessDenied | State::ServerTerminate | State::ServerError
    )
}

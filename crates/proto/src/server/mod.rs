//! The server's end of a control connection whose cookie was read.
//!
//! ```text
//! Params ─► Deciding ─► Opening ─► Test ─► Ended ─► Results ─► Report ─► Goodbye
//!  wait      driver      driver    wait    driver    wait      driver     wait
//! ```
//!
//! A client may abort in any phase; so may the driver, with an error code for the client.

mod action;
mod phase;

use std::time::{Duration, Instant};

pub use self::action::{Action, Failure};
use self::phase::{Answer, Phase};
use crate::counts::Counts;
use crate::extensions::{self, Granted};
use crate::framing::{FrameReader, MAX_PARAMS, longest_results};
use crate::machine::End;
use crate::session::Session;
use crate::{Code, Deadlines, Params, Results, State};

/// One test, as a server goes through it.
///
/// It is driven like [`crate::Client`]: `handle_*` for what happens, commands for what the driver decides, and after
/// each of them the `poll_*` functions until they have nothing more. The actions name the commands that they wait for;
/// between `accept` and `streams_ready` the driver accepts data streams, with its own time limits. A command at
/// another time does nothing. [`refuse`](Self::refuse) and [`terminate`](Self::terminate) may come at any time.
///
/// After [`Action::Done`], [`Action::ClientTerminated`], [`Action::Fail`], [`refuse`](Self::refuse),
/// [`deny`](Self::deny) or [`terminate`](Self::terminate) the machine is closed: it ignores all input and has no
/// timeout. Send what it still has, then close the connection.
#[derive(Debug)]
pub struct Server {
    session: Session<Action>,
    phase: Phase,
    deadlines: Deadlines,
    /// How many the client requests, in both directions.
    streams: u64,
}

impl End for Server {
    type Action = Action;

    fn session(&self) -> &Session<Action> {
        &self.session
    }

    fn session_mut(&mut self) -> &mut Session<Action> {
        &mut self.session
    }

    fn takes_extras(&self) -> bool {
        matches!(self.phase, Phase::Test)
    }

    fn on_input(&mut self, bytes: &mut &[u8], _now: Instant) {
        match &mut self.phase {
            Phase::Params(reader) => {
                let params = reader.parse(bytes, Params::parse);
                self.on_params(params);
            }
            Phase::Results(reader) if !reader.is_untouched() || !breaks_off(bytes[0]) => {
                let results = reader.parse(bytes, Results::parse);
                self.on_results(results);
            }
            Phase::Closed => *bytes = &[],
            _ => {
                self.on_state(State::from_byte(bytes[0]));
                *bytes = &bytes[1..];
            }
        }
    }

    fn on_counts(&mut self, counts: Result<Counts, String>) {
        match counts {
            Ok(counts) => self.session.link.act(Action::Counts(counts)),
            Err(detail) => self.fail(Failure::CountsUnreadable(detail), true),
        }
    }

    fn on_eof(&mut self) {
        let short = || "the message ended early".to_owned();
        match &self.phase {
            Phase::Closed => {}
            // The client may still read, so it gets the code.
            Phase::Params(reader) if !reader.is_untouched() => self.bad_params(short()),
            Phase::Results(reader) if !reader.is_untouched() => {
                self.fail(Failure::ResultsUnreadable(short()), true);
            }
            _ => self.fail(Failure::ClientClosed, false),
        }
    }

    fn on_silence(&mut self) {
        self.fail(Failure::Silent, true);
    }

    fn on_late(&mut self) {
        let waiting_for = self.phase.name();
        let code = match self.phase {
            Phase::Params(_) => Some(Code::RECV_PARAMS),
            Phase::Results(_) => Some(Code::RECV_RESULTS),
            // Everything has been sent, so the client's silence does no harm.
            _ => None,
        };
        if let Some(code) = code {
            self.session.link.send_error(code, 0);
        }
        self.fail(Failure::TimedOut { waiting_for }, false);
    }

    fn phase_name(&self) -> &'static str {
        self.phase.name()
    }
}

impl Server {
    /// A server that has just read a cookie. It requests the parameters at once.
    pub fn new(deadlines: Deadlines, now: Instant) -> Self {
        let mut session = Session::new();
        session.link.send_state(State::ParamExchange);
        session.link.wait(now, deadlines.handshake);
        Self {
            session,
            phase: Phase::Params(FrameReader::new(MAX_PARAMS)),
            streams: 1,
            deadlines,
        }
    }

    /// Whether the session is over on this end.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Grants extensions to a client that requested them. A refusal that follows is explained.
    pub fn grant(&mut self, granted: &Granted) {
        if matches!(self.phase, Phase::Deciding) {
            self.session.grant(granted);
            self.session.link.send_state(State::Extensions);
            self.session.link.send_json(&granted.to_json());
        }
    }

    /// The parameters are accepted: requests the data streams. A client that requested extensions first
    /// gets those that are granted.
    pub fn accept(&mut self, granted: Option<&Granted>, _now: Instant) {
        if matches!(self.phase, Phase::Deciding) {
            if let Some(granted) = granted {
                self.grant(granted);
            }
            self.session.link.send_state(State::CreateStreams);
            self.phase = Phase::Opening;
        }
    }

    /// Refuses or aborts the test: the client gets the code, and a system error or 0. One that was granted extensions
    /// also gets the explanation.
    pub fn refuse(&mut self, code: Code, errno: i32, explanation: Option<&str>) {
        if !self.is_closed() {
            self.session.link.send_error(code, errno);
            if let Some(text) = explanation.filter(|_| self.session.extended) {
                self.session.link.send_json(&extensions::explain(text));
            }
            self.close();
        }
    }

    /// Turns the client away because another test runs. A server that does so before it reads the cookie has no machine
    /// yet; the byte of [`State::AccessDenied`] alone does it.
    pub fn deny(&mut self) {
        self.close_with(State::AccessDenied);
    }

    /// All data streams are open: starts the test.
    pub fn streams_ready(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Opening) {
            self.session.link.send_state(State::TestStart);
            self.session.link.send_state(State::TestRunning);
            self.session.start(now);
            self.phase = Phase::Test;
        }
    }

    /// Reports to the client what this end's senders have sent, if it takes part in that.
    pub fn send_counts(&mut self, counts: &Counts) {
        if matches!(self.phase, Phase::Test) {
            self.session.send_counts(counts);
        }
    }

    /// Counting has stopped: requests the client's results.
    pub fn exchange_results(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Ended) {
            self.session.link.send_state(State::ExchangeResults);
            self.session.link.wait(now, self.deadlines.results);
            self.phase = Phase::Results(FrameReader::new(longest_results(self.streams)));
        }
    }

    /// The client takes this much longer to say goodbye: it probes the path once the load is over.
    pub fn extend_goodbye(&mut self, time: Duration) {
        self.deadlines.goodbye += time;
    }

    /// Sends what this end counted and lets the client show it.
    pub fn send_results(&mut self, results: &Results, now: Instant) {
        if matches!(self.phase, Phase::Report) {
            self.session.link.send_json(&results.to_json());
            self.session.link.send_state(State::DisplayResults);
            self.session.link.wait(now, self.deadlines.goodbye);
            self.phase = Phase::Goodbye;
        }
    }

    /// A signal ended this server: notifies the client.
    pub fn terminate(&mut self) {
        self.close_with(State::ServerTerminate);
    }

    fn on_state(&mut self, state: State) {
        match self.phase.answer(state) {
            Answer::EndTest => {
                self.session.link.act(Action::EndTest);
                self.session.stop();
                self.phase = Phase::Ended;
            }
            Answer::Done => self.end_with(Action::Done),
            Answer::ClientTerminated => self.end_with(Action::ClientTerminated),
            Answer::Ignore => {}
            Answer::Unexpected => {
                let phase = self.phase.name();
                self.fail(Failure::Unexpected { state, phase }, true);
            }
            Answer::Unknown(value) => self.fail(Failure::UnknownMessage(value), true),
        }
    }

    fn on_params(&mut self, params: Result<Option<Params>, String>) {
        match params {
            Ok(None) => {}
            Ok(Some(params)) => {
                self.streams = params.most_streams();
                self.session.link.wait_for_ever();
                self.session.link.act(Action::Params(Box::new(params)));
                self.phase = Phase::Deciding;
            }
            Err(detail) => self.bad_params(detail),
        }
    }

    fn on_results(&mut self, results: Result<Option<Results>, String>) {
        match results {
            Ok(None) => {}
            Ok(Some(results)) => {
                self.session.link.wait_for_ever();
                self.session
                    .link
                    .act(Action::PeerResults(Box::new(results)));
                self.phase = Phase::Report;
            }
            Err(detail) => self.fail(Failure::ResultsUnreadable(detail), true),
        }
    }

    fn bad_params(&mut self, detail: String) {
        let code = Code::RECV_PARAMS;
        self.fail(Failure::BadParams { code, detail }, true);
    }

    fn fail(&mut self, failure: Failure, tell: bool) {
        if tell {
            self.session.link.send_error(failure.code(), 0);
        }
        self.end_with(Action::Fail(failure));
    }

    fn end_with(&mut self, action: Action) {
        self.session.link.act(action);
        self.close();
    }

    fn close_with(&mut self, last_word: State) {
        if !self.is_closed() {
            self.session.link.send_state(last_word);
            self.close();
        }
    }

    fn close(&mut self) {
        self.session.close();
        self.phase = Phase::Closed;
    }
}

/// Whether a byte where results are due is a state that aborts.
fn breaks_off(byte: u8) -> bool {
    matches!(
        State::from_byte(byte),
        State::IperfDone | State::ClientTerminate
    )
}

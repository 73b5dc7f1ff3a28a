//! The client's end of the control connection.
//!
//! ```text
//! ParamExchange ─► CreateStreams ─► Opening ─► Start ─► Running ─► Test ─► Exchange ─► Report ─► Results ─► Display ─► Shown
//!      wait            wait         driver     wait      wait     driver     wait      driver     wait       wait     driver
//! ```
//!
//! Before `CREATE_STREAMS` a server of this program may report which extensions it grants.
//!
//! A server may abort in any phase but the last, with one byte or with an error code after it.

mod action;
mod handshake;
mod phase;
mod refusal;
mod results;

use std::time::Instant;

pub use self::action::{Action, Failure};
use self::phase::{Answer, EarlyStart, Phase};
use self::refusal::{ERROR_CODE_WAIT, Refusal};
use self::results::breaks_off;
use crate::counts::Counts;
use crate::extensions::{Granted, MAX_GRANTED};
use crate::framing::FrameReader;
use crate::machine::End;
use crate::session::Session;
use crate::{Code, Cookie, Deadlines, Params, Results, State};

/// One test, as a client goes through it.
///
/// It is driven as [`Machine`](crate::Machine) describes: feed it what the control connection receives, and time; after
/// each call take what it has to send and its actions. The actions name the commands that they wait for; a command at
/// another time does nothing.
///
/// After [`Action::Fail`], [`finish`](Self::finish), [`terminate`](Self::terminate) or [`abandon`](Self::abandon) the
/// machine is closed: it ignores all input and has no timeout. Send what it still has, then close the connection.
#[derive(Debug)]
pub struct Client {
    session: Session<Action>,
    phase: Phase,
    params: Params,
    deadlines: Deadlines,
    /// When data began to flow.
    began: Option<Instant>,
}

impl End for Client {
    type Action = Action;

    fn session(&self) -> &Session<Action> {
        &self.session
    }

    fn session_mut(&mut self) -> &mut Session<Action> {
        &mut self.session
    }

    /// Both may cross the end of the test.
    fn takes_extras(&self) -> bool {
        !matches!(
            self.phase,
            Phase::Extensions(_)
                | Phase::Results(_)
                | Phase::Shown
                | Phase::Refused(_)
                | Phase::Closed
        )
    }

    fn on_input(&mut self, bytes: &mut &[u8], now: Instant) {
        match &mut self.phase {
            Phase::Results(reader) if !reader.is_untouched() || !breaks_off(bytes[0]) => {
                let results = reader.parse(bytes, Results::parse);
                self.on_results(results, now);
            }
            Phase::Extensions(reader) => {
                let granted = reader.parse(bytes, Granted::parse);
                self.on_granted(granted, now);
            }
            Phase::Refused(refusal) => {
                if let Some(failure) = refusal.read(bytes) {
                    self.fail(failure);
                }
            }
            Phase::Closed | Phase::Shown => *bytes = &[],
            _ => {
                self.on_state(State::from_byte(bytes[0]), now);
                *bytes = &bytes[1..];
            }
        }
    }

    fn on_counts(&mut self, counts: Result<Counts, String>) {
        match counts {
            Ok(counts) => self.session.link.act(Action::Counts(counts)),
            Err(detail) => self.fail(Failure::CountsUnreadable(detail)),
        }
    }

    fn on_eof(&mut self) {
        match &self.phase {
            Phase::Shown | Phase::Closed => {}
            Phase::Refused(refusal) => self.fail(refusal.failure(None)),
            phase if phase.is_exchange() => self.fail(Failure::ResultsUnreadable(
                "the control connection closed".to_owned(),
            )),
            _ => self.fail(Failure::ControlClosed),
        }
    }

    fn on_silence(&mut self) {
        self.fail(Failure::Silent);
    }

    fn on_late(&mut self) {
        let failure = match &self.phase {
            Phase::Refused(refusal) => refusal.failure(None),
            phase => Failure::TimedOut {
                waiting_for: phase.name(),
                code: if phase.is_exchange() {
                    Code::RECV_RESULTS
                } else {
                    Code::RECV_MESSAGE
                },
            },
        };
        self.fail(failure);
    }

    fn phase_name(&self) -> &'static str {
        self.phase.name()
    }
}

impl Client {
    /// A client on a fresh control connection. The cookie is the first thing to send.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "one cookie belongs to one test"
    )]
    pub fn new(cookie: Cookie, params: Params, deadlines: Deadlines, now: Instant) -> Self {
        let mut session = Session::new();
        session.link.send_bytes(cookie.as_bytes());
        session.link.wait(now, deadlines.handshake);
        Self {
            session,
            phase: Phase::ParamExchange,
            params,
            deadlines,
            began: None,
        }
    }

    /// Whether the session is over on this end.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Reports to the server what this end's senders have sent, if it takes part in that.
    pub fn send_counts(&mut self, counts: &Counts) {
        if matches!(self.phase, Phase::Test) {
            self.session.send_counts(counts);
        }
    }

    /// Everything is shown: sends `IPERF_DONE`.
    pub fn finish(&mut self) {
        self.close_with(Some(State::IperfDone));
    }

    /// A signal ended this client: notifies the server.
    pub fn terminate(&mut self) {
        self.close_with(Some(State::ClientTerminate));
    }

    /// Something failed on this end, for which the server is not to blame.
    pub fn abandon(&mut self) {
        self.close_with(Some(State::IperfDone));
    }

    fn on_state(&mut self, state: State, now: Instant) {
        match self.phase.answer(state) {
            Answer::SendParams => self.send_params(now),
            Answer::ReadGranted => self.phase = Phase::Extensions(FrameReader::new(MAX_GRANTED)),
            // Opening has its own time limit for each stream.
            Answer::OpenStreams => {
                self.do_next(Action::OpenStreams, Phase::Opening(EarlyStart::No));
            }
            Answer::RememberStart(early) => self.phase = Phase::Opening(early),
            Answer::StartClock => {
                self.session.link.act(Action::StartClock);
                self.await_state(Phase::Running, now);
            }
            Answer::Run => {
                self.do_next(Action::Run, Phase::Test);
                self.session.start(now);
                self.began = Some(now);
            }
            Answer::AskForResults => self.do_next(Action::CollectResults, Phase::Report),
            Answer::ShowResults => {
                if let Phase::Display(results) = std::mem::replace(&mut self.phase, Phase::Shown) {
                    self.do_next(Action::ShowResults(results), Phase::Shown);
                }
            }
            Answer::Busy => self.fail(Failure::Busy),
            Answer::Terminated => self.fail(Failure::ServerTerminated),
            Answer::ReadErrorCode => {
                self.session.link.wait(now, ERROR_CODE_WAIT);
                self.phase = Phase::Refused(Refusal::new(self.session.extended));
            }
            Answer::Ignore => {}
            Answer::Unexpected => {
                let phase = self.phase.name();
                self.fail(Failure::Unexpected { state, phase });
            }
            Answer::Unknown(value) => self.fail(Failure::UnknownMessage(value)),
        }
    }

    /// It is the driver's turn, which takes the time that it takes.
    fn do_next(&mut self, action: Action, phase: Phase) {
        self.session.link.wait_for_ever();
        self.session.link.act(action);
        self.phase = phase;
    }

    fn await_state(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.session.link.wait(now, self.deadlines.handshake);
    }

    /// iperf3 sends `IPERF_DONE` after every failure except those that the server reported.
    fn fail(&mut self, failure: Failure) {
        let pronounced = matches!(failure, Failure::Busy | Failure::ServerError { .. });
        self.session.link.act(Action::Fail(failure));
        self.close_with((!pronounced).then_some(State::IperfDone));
    }

    fn close_with(&mut self, last_word: Option<State>) {
        if self.is_closed() {
            return;
        }
        if let Some(state) = last_word {
            self.session.link.send_state(state);
        }
        self.session.close();
        self.phase = Phase::Closed;
    }
}

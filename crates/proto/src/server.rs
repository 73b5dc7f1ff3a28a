//! The server's end of a control connection whose cookie was read.
//!
//! ```text
//! Params ─► Deciding ─► Opening ─► Test ─► Ended ─► Results ─► Report ─► Goodbye
//!  wait      driver      driver    wait    driver    wait      driver     wait
//! ```
//!
//! A client may abort in any phase; so may the driver, with an error code for the client.

use std::time::Instant;

use thiserror::Error;

use crate::alive::{self, Alive, Due};
use crate::counts::{COUNTS, Counts, MAX_COUNTS};
use crate::extensions::{self, Granted};
use crate::framing::{FrameReader, MAX_PARAMS, MAX_RESULTS};
use crate::link::Link;
use crate::{Code, Deadlines, Machine, Params, Results, State};

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The parameters: call [`Server::accept`], [`Server::refuse`] or [`Server::deny`].
    Params(Box<Params>),
    /// `TEST_END`: stop counting, then call [`Server::exchange_results`].
    EndTest,
    /// The client's results: call [`Server::send_results`].
    PeerResults(Box<Results>),
    /// `IPERF_DONE`: the client leaves. Before its results, it leaves because it failed.
    Done,
    /// `CLIENT_TERMINATE`: a signal ended the client.
    ClientTerminated,
    /// What the client's senders have sent so far.
    Counts(Counts),
    /// The test failed. The message to the client is queued already.
    Fail(Failure),
}

impl Action {
    /// What the driver is asked to do, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Params(_) => "take the parameters",
            Self::EndTest => "end the test",
            Self::PeerResults(_) => "take the client's results",
            Self::Done => "finish",
            Self::ClientTerminated => "end with the client",
            Self::Counts(_) => "take the counts",
            Self::Fail(_) => "fail",
        }
    }
}

/// Why a test failed. The messages are those by which users know iperf3's errors.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The parameters are incomplete or can't be read.
    #[error("{code}: {detail}")]
    BadParams {
        /// The code sent to the client.
        code: Code,
        /// What is wrong.
        detail: String,
    },
    /// The client's results are incomplete or can't be read.
    #[error("{text}: {0}", text = Code::RECV_RESULTS)]
    ResultsUnreadable(String),
    /// The control connection ended without `IPERF_DONE`.
    #[error("the client has unexpectedly closed the connection")]
    ClientClosed,
    /// The client's counts can't be read.
    #[error("unable to read the counts of the client: {0}")]
    CountsUnreadable(String),
    /// A byte that is no state.
    #[error("{text}: {0}", text = Code::UNKNOWN_MESSAGE)]
    UnknownMessage(i8),
    /// A state at a time at which it makes no sense.
    #[error("received an unexpected control message: {state} {phase}")]
    Unexpected {
        /// What arrived.
        state: State,
        /// What this end was doing.
        phase: &'static str,
    },
    /// The client sends no heartbeats any more.
    #[error("the client has given no sign of life for {} s", alive::SILENCE.as_secs())]
    Silent,
    /// The client fell silent.
    #[error("timed out {waiting_for}")]
    TimedOut {
        /// What did not arrive.
        waiting_for: &'static str,
    },
}

impl Failure {
    /// iperf3's code for this failure.
    pub fn code(&self) -> Code {
        match self {
            Self::BadParams { code, .. } => *code,
            Self::ResultsUnreadable(_) => Code::RECV_RESULTS,
            Self::ClientClosed => Code::CONTROL_CLOSED,
            Self::UnknownMessage(_) | Self::Unexpected { .. } => Code::UNKNOWN_MESSAGE,
            Self::CountsUnreadable(_) | Self::Silent | Self::TimedOut { .. } => Code::RECV_MESSAGE,
        }
    }
}

/// One test, as a server goes through it.
///
/// It is driven like [`crate::Client`]: `handle_*` for what happens, commands for what the driver decides, and after
/// each of them the `poll_*` functions until they have nothing more. The actions name the commands that they wait for;
/// between `accept` and `streams_ready` the driver accepts data streams, with time limits of its own. A command at
/// another time does nothing. [`refuse`](Self::refuse) and [`terminate`](Self::terminate) may come at any time.
///
/// After [`Action::Done`], [`Action::ClientTerminated`], [`Action::Fail`], [`refuse`](Self::refuse),
/// [`deny`](Self::deny) or [`terminate`](Self::terminate) the machine is closed: it ignores all input and has no
/// timeout. Send what it still has, then close the connection.
#[derive(Debug)]
pub struct Server {
    link: Link<Action>,
    phase: Phase,
    deadlines: Deadlines,
    /// Whether the client was granted extensions.
    extended: bool,
    /// Whether both ends send heartbeats, and those of the running test.
    lively: bool,
    alive: Option<Alive>,
    /// Whether both ends tell their counts, and the message that is on its way.
    exact: bool,
    counts: Option<FrameReader>,
}

#[derive(Debug)]
enum Phase {
    Params(FrameReader),
    /// The driver checks the parameters.
    Deciding,
    /// The driver accepts data streams.
    Opening,
    Test,
    /// The driver stops counting.
    Ended,
    Results(FrameReader),
    /// The driver puts its results together.
    Report,
    Goodbye,
    Closed,
}

/// What a state byte does in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    EndTest,
    Done,
    ClientTerminated,
    Ignore,
    Unexpected,
    Unknown(i8),
}

impl Phase {
    /// The table of the machine. The bytes of [`Phase::Params`] are no states; nor are those of [`Phase::Results`],
    /// except that results can't begin with the two states that break off: as the first byte of a length they are over
    /// the limit.
    #[expect(
        clippy::match_same_arms,
        reason = "the order of the rows is what the table means"
    )]
    fn answer(&self, state: State) -> Answer {
        match (self, state) {
            (Self::Closed, _) => Answer::Ignore,
            (_, State::IperfDone) => Answer::Done,
            (_, State::ClientTerminate) => Answer::ClientTerminated,
            // Real servers accept it and do nothing.
            (_, State::TestStart) => Answer::Ignore,
            (_, State::Unknown(value)) => Answer::Unknown(value),
            (Self::Test, State::TestEnd) => Answer::EndTest,
            _ => Answer::Unexpected,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Params(_) => "while waiting for the parameters",
            Self::Deciding => "while looking at the parameters",
            Self::Opening => "while accepting the data streams",
            Self::Test => "during the test",
            Self::Ended => "while ending the test",
            Self::Results(_) => "while waiting for the client's results",
            Self::Report => "while putting the results together",
            Self::Goodbye => "while waiting for the client's goodbye",
            Self::Closed => "after the end",
        }
    }
}

impl Machine for Server {
    type Action = Action;

    fn handle_input(&mut self, mut bytes: &[u8], now: Instant) {
        if let Some(alive) = &mut self.alive {
            alive.hear(now);
        }
        while !bytes.is_empty() {
            if let Some(reader) = &mut self.counts {
                let message = reader.read(&mut bytes);
                self.on_counts(message.map_err(|e| e.to_string()));
                continue;
            }
            match &mut self.phase {
                Phase::Params(reader) => {
                    let message = reader.read(&mut bytes);
                    self.on_params(message.map_err(|e| e.to_string()));
                }
                Phase::Results(reader) if !reader.is_untouched() || !breaks_off(bytes[0]) => {
                    let message = reader.read(&mut bytes);
                    self.on_results(message.map_err(|e| e.to_string()));
                }
                Phase::Closed => return,
                Phase::Test if self.exact && bytes[0] == COUNTS => {
                    self.counts = Some(FrameReader::new(MAX_COUNTS));
                    bytes = &bytes[1..];
                }
                Phase::Test if self.lively && bytes[0] == alive::SIGN => bytes = &bytes[1..],
                _ => {
                    self.on_state(State::from_byte(bytes[0]));
                    bytes = &bytes[1..];
                }
            }
        }
    }

    fn handle_eof(&mut self, _now: Instant) {
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

    fn handle_timeout(&mut self, now: Instant) {
        match self.alive.as_mut().and_then(|alive| alive.poll(now)) {
            Some(Due::Sign) => self.link.send_bytes(&[alive::SIGN]),
            Some(Due::End) => return self.fail(Failure::Silent, true),
            None => {}
        }
        if !self.link.is_late(now) {
            return;
        }
        let waiting_for = self.phase.name();
        let code = match self.phase {
            Phase::Params(_) => Some(Code::RECV_PARAMS),
            Phase::Results(_) => Some(Code::RECV_RESULTS),
            // Everything has been sent, so the client's silence does no harm.
            _ => None,
        };
        if let Some(code) = code {
            self.link.send_error(code, 0);
        }
        self.fail(Failure::TimedOut { waiting_for }, false);
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.link.take_output()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.link.take_action()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let alive = self.alive.as_ref().map(Alive::deadline);
        [self.link.deadline(), alive].into_iter().flatten().min()
    }

    fn state_name(&self) -> &'static str {
        self.phase.name()
    }
}

impl Server {
    /// A server that has just read a cookie. It asks for the parameters at once.
    pub fn new(deadlines: Deadlines, now: Instant) -> Self {
        let mut link = Link::new();
        link.send_state(State::ParamExchange);
        link.wait(now, deadlines.handshake);
        Self {
            link,
            phase: Phase::Params(FrameReader::new(MAX_PARAMS)),
            deadlines,
            extended: false,
            lively: false,
            alive: None,
            exact: false,
            counts: None,
        }
    }

    /// Whether the session is over on this end.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The parameters are accepted: asks the client to open the data streams. A client that requested extensions first
    /// gets those that are granted.
    pub fn accept(&mut self, granted: Option<&Granted>, _now: Instant) {
        if matches!(self.phase, Phase::Deciding) {
            self.extended = granted.is_some();
            self.lively = granted.is_some_and(|granted| granted.alive);
            self.exact = granted.is_some_and(|granted| granted.exact);
            if let Some(granted) = granted {
                self.link.send_state(State::Extensions);
                self.link.send_json(&granted.to_json());
            }
            self.link.send_state(State::CreateStreams);
            self.phase = Phase::Opening;
        }
    }

    /// Refuses or aborts the test: the client gets the code, and a system error or 0. One that was granted extensions
    /// also gets the explanation.
    pub fn refuse(&mut self, code: Code, errno: i32, explanation: Option<&str>) {
        if !self.is_closed() {
            self.link.send_error(code, errno);
            if let Some(text) = explanation.filter(|_| self.extended) {
                self.link.send_json(&extensions::explain(text));
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
            self.link.send_state(State::TestStart);
            self.link.send_state(State::TestRunning);
            self.alive = self.lively.then(|| Alive::new(now));
            self.phase = Phase::Test;
        }
    }

    /// Tells the client what this end's senders have sent, if it takes part in that.
    pub fn send_counts(&mut self, counts: &Counts) {
        if self.exact && matches!(self.phase, Phase::Test) {
            self.link.send_bytes(&[COUNTS]);
            self.link.send_json(&counts.to_json());
        }
    }

    fn on_counts(&mut self, message: Result<Option<Vec<u8>>, String>) {
        let counts = message.and_then(|message| {
            let counts = message.map(|json| Counts::parse(&json)).transpose();
            counts.map_err(|e| e.to_string())
        });
        match counts {
            Ok(None) => {}
            Ok(Some(counts)) => {
                self.counts = None;
                self.link.act(Action::Counts(counts));
            }
            Err(detail) => self.fail(Failure::CountsUnreadable(detail), true),
        }
    }

    /// Counting has stopped: asks for the client's results.
    pub fn exchange_results(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Ended) {
            self.link.send_state(State::ExchangeResults);
            self.link.wait(now, self.deadlines.results);
            self.phase = Phase::Results(FrameReader::new(MAX_RESULTS));
        }
    }

    /// Sends what this end counted and lets the client show it.
    pub fn send_results(&mut self, results: &Results, now: Instant) {
        if matches!(self.phase, Phase::Report) {
            self.link.send_json(&results.to_json());
            self.link.send_state(State::DisplayResults);
            self.link.wait(now, self.deadlines.goodbye);
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
                self.link.act(Action::EndTest);
                self.alive = None;
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

    fn on_params(&mut self, message: Result<Option<Vec<u8>>, String>) {
        let params = message.and_then(|message| {
            let params = message.map(|json| Params::parse(&json)).transpose();
            params.map_err(|e| e.to_string())
        });
        match params {
            Ok(None) => {}
            Ok(Some(params)) => {
                self.link.wait_for_ever();
                self.link.act(Action::Params(Box::new(params)));
                self.phase = Phase::Deciding;
            }
            Err(detail) => self.bad_params(detail),
        }
    }

    fn on_results(&mut self, message: Result<Option<Vec<u8>>, String>) {
        let results = message.and_then(|message| {
            let results = message.map(|json| Results::parse(&json)).transpose();
            results.map_err(|e| e.to_string())
        });
        match results {
            Ok(None) => {}
            Ok(Some(results)) => {
                self.link.wait_for_ever();
                self.link.act(Action::PeerResults(Box::new(results)));
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
            self.link.send_error(failure.code(), 0);
        }
        self.end_with(Action::Fail(failure));
    }

    fn end_with(&mut self, action: Action) {
        self.link.act(action);
        self.close();
    }

    fn close_with(&mut self, last_word: State) {
        if !self.is_closed() {
            self.link.send_state(last_word);
            self.close();
        }
    }

    fn close(&mut self) {
        self.link.wait_for_ever();
        self.alive = None;
        self.counts = None;
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

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

use std::time::{Duration, Instant};

use thiserror::Error;

use crate::alive::{self, Alive, Due};
use crate::counts::{COUNTS, Counts, MAX_COUNTS};
use crate::extensions::{self, Granted, MAX_GRANTED};
use crate::framing::{FrameReader, MAX_RESULTS, plausible_results};
use crate::link::Link;
use crate::{Code, Cookie, Deadlines, Machine, Params, Results, State};

/// How long a server that announced an error may take to send its code. Old servers send none.
const ERROR_CODE_WAIT: Duration = Duration::from_secs(2);

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The server asked for the parameters, and they are queued. Nothing needs to be done.
    ParamsSent,
    /// The server is this program, and grants this.
    Granted(Box<Granted>),
    /// Open the data streams one after another, sending ones first, then call [`Client::streams_opened`].
    OpenStreams,
    /// `TEST_START`: the clock of the test starts now.
    StartClock,
    /// `TEST_RUNNING`: move data, then call [`Client::end_test`].
    Run,
    /// The server stopped counting: call [`Client::send_results`].
    CollectResults,
    /// The server's results; show them, then call [`Client::finish`].
    ShowResults(Box<Results>),
    /// What the server's senders have sent so far.
    Counts(Counts),
    /// The test failed. The message to the server is queued already.
    Fail(Failure),
}

impl Action {
    /// What the driver is asked to do, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ParamsSent => "report the beginning",
            Self::Granted(_) => "take what the server grants",
            Self::OpenStreams => "open the data streams",
            Self::StartClock => "start the clock",
            Self::Run => "move data",
            Self::CollectResults => "collect the results",
            Self::ShowResults(_) => "show the results",
            Self::Counts(_) => "take the counts",
            Self::Fail(_) => "fail",
        }
    }
}

/// Why a test failed. The messages are those by which users know iperf3's errors.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The server runs another test.
    #[error("{}", Code::BUSY)]
    Busy,
    /// A signal stopped the server.
    #[error("{}", Code::SERVER_TERMINATED)]
    ServerTerminated,
    /// The server refused or aborted the test.
    #[error("{}", explained(*code, *errno, explanation.as_deref()))]
    ServerError {
        /// Its reason; [`Code::CONTROL_READ`] if it gave none.
        code: Code,
        /// The system error behind it, or 0.
        errno: i32,
        /// The explanation of a server of this program.
        explanation: Option<String>,
    },
    /// The control connection ended while a state was due.
    #[error("{}", Code::CONTROL_CLOSED)]
    ControlClosed,
    /// The server's results are incomplete or can't be read.
    #[error("{text}: {0}", text = Code::RECV_RESULTS)]
    ResultsUnreadable(String),
    /// What the server grants can't be read.
    #[error("unable to read which extensions the server grants: {0}")]
    GrantedUnreadable(String),
    /// The server's counts can't be read.
    #[error("unable to read the counts of the server: {0}")]
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
    /// The server sends no heartbeats any more.
    #[error("the server has given no sign of life for {} s", alive::SILENCE.as_secs())]
    Silent,
    /// The server fell silent.
    #[error("timed out {waiting_for}")]
    TimedOut {
        /// What did not arrive.
        waiting_for: &'static str,
        /// The code that iperf3 has for it.
        code: Code,
    },
}

/// The message of a server's error: the server's own if it has one.
fn explained(code: Code, errno: i32, explanation: Option<&str>) -> String {
    explanation.map_or_else(
        || code.with_errno(errno),
        |text| format!("the server says: {text}"),
    )
}

impl Failure {
    /// iperf3's code for this failure.
    pub fn code(&self) -> Code {
        match self {
            Self::Busy => Code::BUSY,
            Self::ServerTerminated => Code::SERVER_TERMINATED,
            Self::ServerError { code, .. } | Self::TimedOut { code, .. } => *code,
            Self::ControlClosed => Code::CONTROL_CLOSED,
            Self::GrantedUnreadable(_) | Self::CountsUnreadable(_) | Self::Silent => {
                Code::RECV_MESSAGE
            }
            Self::ResultsUnreadable(_) => Code::RECV_RESULTS,
            Self::UnknownMessage(_) | Self::Unexpected { .. } => Code::UNKNOWN_MESSAGE,
        }
    }
}

/// One test, as a client goes through it.
///
/// Feed it with everything that the control connection gives ([`handle_input`](Self::handle_input),
/// [`handle_eof`](Self::handle_eof)) and with time ([`handle_timeout`](Self::handle_timeout) at
/// [`poll_timeout`](Self::poll_timeout)). After each call, of a `handle_*` function or a command, send what
/// [`poll_transmit`](Self::poll_transmit) has and take the actions of [`poll_action`](Self::poll_action) until there
/// are none. The actions name the commands that they wait for; a command at another time does nothing.
///
/// After [`Action::Fail`], [`finish`](Self::finish), [`terminate`](Self::terminate) or [`abandon`](Self::abandon) the
/// machine is closed: it ignores all input and has no timeout. Send what it still has, then close the connection.
#[derive(Debug)]
pub struct Client {
    link: Link<Action>,
    phase: Phase,
    params: Params,
    deadlines: Deadlines,
    /// Whether the server is this program and grants extensions.
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
    ParamExchange,
    /// Before `CREATE_STREAMS`, the server's grants may arrive, once.
    CreateStreams {
        may_grant: bool,
    },
    /// The server's grants are arriving.
    Extensions(FrameReader),
    /// The driver opens streams.
    Opening(EarlyStart),
    Start,
    Running,
    /// The driver moves data.
    Test,
    Exchange,
    /// The driver puts its results together.
    Report,
    Results(FrameReader),
    Display(Box<Results>),
    /// The driver shows the results.
    Shown,
    /// `SERVER_ERROR` arrived; its code may follow.
    ErrorCode(Vec<u8>),
    /// The code arrived; an extended server's explanation follows.
    Explanation(Code, i32, FrameReader),
    Closed,
}

/// A server starts the test when it has accepted the last stream; the driver may need a moment longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EarlyStart {
    No,
    Started,
    Running,
}

/// What a state byte does in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    SendParams,
    ReadGranted,
    OpenStreams,
    StartClock,
    Run,
    RememberStart(EarlyStart),
    AskForResults,
    ShowResults,
    Busy,
    Terminated,
    ReadErrorCode,
    Ignore,
    Unexpected,
    Unknown(i8),
}

impl Phase {
    /// The table of the machine. The bytes of messages and codes are no states, except that
    /// results can't begin with the three states that break off: as the first byte of a length they are over any limit.
    #[expect(
        clippy::match_same_arms,
        reason = "the order of the rows is what the table means"
    )]
    fn answer(&self, state: State) -> Answer {
        match (self, state) {
            (Self::Shown | Self::Closed, _) => Answer::Ignore,
            (_, State::AccessDenied) => Answer::Busy,
            (_, State::ServerTerminate) => Answer::Terminated,
            (_, State::ServerError) => Answer::ReadErrorCode,
            (_, State::Unknown(value)) => Answer::Unknown(value),

            (Self::ParamExchange, State::ParamExchange) => Answer::SendParams,
            (Self::CreateStreams { may_grant: true }, State::Extensions) => Answer::ReadGranted,
            (Self::CreateStreams { .. }, State::CreateStreams) => Answer::OpenStreams,
            (Self::Opening(EarlyStart::No), State::TestStart) => {
                Answer::RememberStart(EarlyStart::Started)
            }
            (Self::Opening(EarlyStart::Started), State::TestRunning) => {
                Answer::RememberStart(EarlyStart::Running)
            }
            (Self::Start, State::TestStart) => Answer::StartClock,
            (Self::Running, State::TestRunning) => Answer::Run,
            // The driver ended the test between the two bytes that start it.
            (Self::Exchange, State::TestRunning) => Answer::Ignore,
            (Self::Exchange, State::ExchangeResults) => Answer::AskForResults,
            (Self::Display(_), State::DisplayResults) => Answer::ShowResults,
            _ => Answer::Unexpected,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::ParamExchange => "while waiting to send the parameters",
            Self::CreateStreams { .. } | Self::Extensions(_) => {
                "while waiting for the server to take the parameters"
            }
            Self::Opening(_) => "while opening the data streams",
            Self::Start => "while waiting for the start of the test",
            Self::Running => "between the start of the test and its first data",
            Self::Test => "during the test",
            Self::Exchange => "while waiting to send the results",
            Self::Report => "while putting the results together",
            Self::Results(_) => "while waiting for the server's results",
            Self::Display(_) => "after the server's results",
            Self::Shown => "after the test",
            Self::ErrorCode(_) | Self::Explanation(..) => {
                "while waiting for the server's error code"
            }
            Self::Closed => "after the end",
        }
    }

    /// Whether the exchange of results has begun, which decides how iperf3 calls a loss of the connection.
    fn is_exchange(&self) -> bool {
        matches!(self, Self::Report | Self::Results(_))
    }
}

impl Machine for Client {
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
                Phase::Results(reader) if !reader.is_untouched() || !breaks_off(bytes[0]) => {
                    let message = reader.read(&mut bytes);
                    self.on_results(message.map_err(|e| e.to_string()), now);
                }
                Phase::Extensions(reader) => {
                    let message = reader.read(&mut bytes);
                    self.on_granted(message.map_err(|e| e.to_string()), now);
                }
                Phase::ErrorCode(code) => {
                    code.push(bytes[0]);
                    bytes = &bytes[1..];
                    if code.len() == 8 {
                        self.on_error_code();
                    }
                }
                Phase::Explanation(_, _, reader) => {
                    let message = reader.read(&mut bytes);
                    match message {
                        Ok(None) => {}
                        Ok(Some(json)) => self.on_explanation(extensions::explanation(&json)),
                        Err(_) => self.on_explanation(None),
                    }
                }
                Phase::Closed | Phase::Shown => return,
                // Both may cross the end of the test.
                _ if self.exact && bytes[0] == COUNTS => {
                    self.counts = Some(FrameReader::new(MAX_COUNTS));
                    bytes = &bytes[1..];
                }
                _ if self.lively && bytes[0] == alive::SIGN => bytes = &bytes[1..],
                _ => {
                    self.on_state(State::from_byte(bytes[0]), now);
                    bytes = &bytes[1..];
                }
            }
        }
    }

    fn handle_eof(&mut self, _now: Instant) {
        match self.phase {
            Phase::Shown | Phase::Closed => {}
            Phase::ErrorCode(_) => self.on_error_code(),
            Phase::Explanation(..) => self.on_explanation(None),
            _ if self.phase.is_exchange() => self.fail(Failure::ResultsUnreadable(
                "the control connection closed".to_owned(),
            )),
            _ => self.fail(Failure::ControlClosed),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.alive.as_mut().and_then(|alive| alive.poll(now)) {
            Some(Due::Sign) => self.link.send_bytes(&[alive::SIGN]),
            Some(Due::End) => return self.fail(Failure::Silent),
            None => {}
        }
        if !self.link.is_late(now) {
            return;
        }
        match self.phase {
            Phase::ErrorCode(_) => return self.on_error_code(),
            Phase::Explanation(..) => return self.on_explanation(None),
            _ => {}
        }
        let code = if self.phase.is_exchange() {
            Code::RECV_RESULTS
        } else {
            Code::RECV_MESSAGE
        };
        let waiting_for = self.phase.name();
        self.fail(Failure::TimedOut { waiting_for, code });
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

impl Client {
    /// A client on a fresh control connection. The cookie is the first thing to send.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "one cookie belongs to one test"
    )]
    pub fn new(cookie: Cookie, params: Params, deadlines: Deadlines, now: Instant) -> Self {
        let mut link = Link::new();
        link.send_bytes(cookie.as_bytes());
        link.wait(now, deadlines.handshake);
        Self {
            link,
            phase: Phase::ParamExchange,
            params,
            deadlines,
            extended: false,
            lively: false,
            alive: None,
            exact: false,
            counts: None,
        }
    }

    /// Changes the parameters, which may depend on the connection. Has an effect until the server asks for them.
    pub fn set_params(&mut self, params: Params) {
        self.params = params;
    }

    /// Whether the session is over on this end.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether the server has started the test while the driver still opens streams: it has them all.
    pub fn has_been_started(&self) -> bool {
        matches!(
            self.phase,
            Phase::Opening(EarlyStart::Started | EarlyStart::Running)
        )
    }

    /// All data streams are open.
    pub fn streams_opened(&mut self, now: Instant) {
        let Phase::Opening(early) = self.phase else {
            return;
        };
        self.await_state(Phase::Start, now);
        if early != EarlyStart::No {
            self.on_state(State::TestStart, now);
        }
        if early == EarlyStart::Running {
            self.on_state(State::TestRunning, now);
        }
    }

    /// Tells the server what this end's senders have sent, if it takes part in that.
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
            Err(detail) => self.fail(Failure::CountsUnreadable(detail)),
        }
    }

    /// The test is over. Sends `TEST_END`; the server answers when it has stopped counting.
    pub fn end_test(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Test | Phase::Running) {
            self.link.send_state(State::TestEnd);
            self.alive = None;
            self.link.wait(now, self.deadlines.results);
            self.phase = Phase::Exchange;
        }
    }

    /// Sends what this end counted.
    pub fn send_results(&mut self, results: &Results, now: Instant) {
        if matches!(self.phase, Phase::Report) {
            self.link.send_json(&results.to_json());
            self.link.wait(now, self.deadlines.results);
            self.phase = Phase::Results(FrameReader::new(if self.params.get_server_output {
                self.plausible_results()
            } else {
                MAX_RESULTS
            }));
        }
    }

    /// The most bytes of results with the server's output.
    fn plausible_results(&self) -> usize {
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let streams = 2 * number(self.params.parallel).unwrap_or(1).min(256);
        let by_time = [self.params.num, self.params.blockcount]
            .into_iter()
            .all(|amount| amount.unwrap_or(0) == 0);
        let seconds = number(self.params.time).filter(|seconds| by_time && *seconds > 0);
        let omit = number(self.params.omit).unwrap_or(0);
        plausible_results(streams, seconds.map(|seconds| seconds.saturating_add(omit)))
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
            Answer::SendParams => {
                self.link.send_json(&self.params.to_json());
                self.link.act(Action::ParamsSent);
                self.await_state(Phase::CreateStreams { may_grant: true }, now);
            }
            Answer::ReadGranted => {
                self.phase = Phase::Extensions(FrameReader::new(MAX_GRANTED));
            }
            Answer::OpenStreams => {
                // Opening has time limits of its own, stream by stream.
                self.link.wait_for_ever();
                self.link.act(Action::OpenStreams);
                self.phase = Phase::Opening(EarlyStart::No);
            }
            Answer::RememberStart(early) => self.phase = Phase::Opening(early),
            Answer::StartClock => {
                self.link.act(Action::StartClock);
                self.await_state(Phase::Running, now);
            }
            Answer::Run => {
                self.link.wait_for_ever();
                self.link.act(Action::Run);
                self.phase = Phase::Test;
                self.alive = self.lively.then(|| Alive::new(now));
            }
            Answer::AskForResults => {
                self.link.wait_for_ever();
                self.link.act(Action::CollectResults);
                self.phase = Phase::Report;
            }
            Answer::ShowResults => {
                self.link.wait_for_ever();
                if let Phase::Display(results) = std::mem::replace(&mut self.phase, Phase::Shown) {
                    self.link.act(Action::ShowResults(results));
                }
            }
            Answer::Busy => self.fail(Failure::Busy),
            Answer::Terminated => self.fail(Failure::ServerTerminated),
            Answer::ReadErrorCode => {
                self.link.wait(now, ERROR_CODE_WAIT);
                self.phase = Phase::ErrorCode(Vec::new());
            }
            Answer::Ignore => {}
            Answer::Unexpected => {
                let phase = self.phase.name();
                self.fail(Failure::Unexpected { state, phase });
            }
            Answer::Unknown(value) => self.fail(Failure::UnknownMessage(value)),
        }
    }

    fn on_granted(&mut self, message: Result<Option<Vec<u8>>, String>, now: Instant) {
        let granted = message.and_then(|message| {
            let granted = message.map(|json| Granted::parse(&json)).transpose();
            granted.map_err(|e| e.to_string())
        });
        match granted {
            Ok(None) => {}
            Ok(Some(granted)) => {
                self.extended = true;
                self.lively = granted.alive;
                self.exact = granted.exact;
                self.link.act(Action::Granted(Box::new(granted)));
                self.await_state(Phase::CreateStreams { may_grant: false }, now);
            }
            Err(detail) => self.fail(Failure::GrantedUnreadable(detail)),
        }
    }

    fn on_results(&mut self, message: Result<Option<Vec<u8>>, String>, now: Instant) {
        let results = message.and_then(|message| {
            let results = message.map(|json| Results::parse(&json)).transpose();
            results.map_err(|e| e.to_string())
        });
        match results {
            Ok(None) => {}
            Ok(Some(results)) => {
                self.phase = Phase::Display(Box::new(results));
                self.link.wait(now, self.deadlines.results);
            }
            Err(detail) => self.fail(Failure::ResultsUnreadable(detail)),
        }
    }

    /// No more of the error code will arrive. 3.19 and before send no system error with a failed login.
    fn on_error_code(&mut self) {
        let Phase::ErrorCode(bytes) = &self.phase else {
            return;
        };
        let int = |at: usize| {
            let bytes = bytes.get(at..)?.first_chunk()?;
            Some(i32::from_be_bytes(*bytes))
        };
        let complete = bytes.len() == 8;
        let code = int(0).map_or(Code::CONTROL_READ, Code);
        let errno = int(4).unwrap_or(0);
        self.phase = Phase::Explanation(code, errno, FrameReader::new(MAX_GRANTED));
        if !(self.extended && complete) {
            self.on_explanation(None);
        }
    }

    fn on_explanation(&mut self, explanation: Option<String>) {
        if let Phase::Explanation(code, errno, _) = self.phase {
            self.fail(Failure::ServerError {
                code,
                errno,
                explanation,
            });
        }
    }

    fn await_state(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.link.wait(now, self.deadlines.handshake);
    }

    /// iperf3 sends `IPERF_DONE` after every failure except those that the server reported.
    fn fail(&mut self, failure: Failure) {
        let pronounced = matches!(failure, Failure::Busy | Failure::ServerError { .. });
        self.link.act(Action::Fail(failure));
        self.close_with((!pronounced).then_some(State::IperfDone));
    }

    fn close_with(&mut self, last_word: Option<State>) {
        if self.is_closed() {
            return;
        }
        if let Some(state) = last_word {
            self.link.send_state(state);
        }
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
        State::AccessDenied | State::ServerTerminate | State::ServerError
    )
}

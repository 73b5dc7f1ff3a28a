//! What both machines have in common: bytes waiting to be sent, actions waiting to be taken, and one deadline.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::framing::frame;
use crate::{Code, State};

/// How long a state machine waits for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For each step up to the start of the test. On a server: for the parameters.
    pub handshake: Duration,
    /// For each step of the exchange of results.
    pub results: Duration,
    /// On a server: for `IPERF_DONE`, once everything else is done.
    pub goodbye: Duration,
}

impl Deadlines {
    /// A client is patient, since its server may be busy with an earlier client.
    pub const fn client() -> Self {
        Self {
            handshake: Duration::from_secs(30),
            results: Duration::from_secs(30),
            goodbye: Duration::from_secs(4),
        }
    }

    /// A server has other clients to serve. A client that has run its test, and may have much to receive before it is
    /// asked for its results, has more time for them.
    pub const fn server() -> Self {
        Self {
            handshake: Duration::from_secs(4),
            results: Duration::from_secs(10),
            goodbye: Duration::from_secs(4),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self::client()
    }
}

/// One end of the control connection, seen from inside a machine.
#[derive(Debug)]
pub(crate) struct Link<A> {
    output: Vec<u8>,
    actions: VecDeque<A>,
    deadline: Option<Instant>,
}

impl<A> Link<A> {
    pub(crate) fn new() -> Self {
        Self {
            output: Vec::new(),
            actions: VecDeque::new(),
            deadline: None,
        }
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    pub(crate) fn send_state(&mut self, state: State) {
        self.output.push(state.to_byte());
    }

    pub(crate) fn send_json(&mut self, json: &str) {
        self.output.extend_from_slice(&frame(json));
    }

    pub(crate) fn send_error(&mut self, code: Code, errno: i32) {
        self.send_state(State::ServerError);
        self.send_bytes(&code.0.to_be_bytes());
        self.send_bytes(&errno.to_be_bytes());
    }

    pub(crate) fn act(&mut self, action: A) {
        self.actions.push_back(action);
    }

    /// Waits from `now` on; forever if the end is out of the clock's range.
    pub(crate) fn wait(&mut self, now: Instant, time: Duration) {
        self.deadline = now.checked_add(time);
    }

    pub(crate) fn wait_for_ever(&mut self) {
        self.deadline = None;
    }

    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn take_output(&mut self) -> Option<Vec<u8>> {
        let output = std::mem::take(&mut self.output);
        (!output.is_empty()).then_some(output)
    }

    pub(crate) fn take_action(&mut self) -> Option<A> {
        self.actions.pop_front()
    }
}

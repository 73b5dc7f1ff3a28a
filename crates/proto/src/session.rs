//! The state that both machines hold besides their phase: the link to the driver, and what two ends of this program
//! exchange while data flows, which are heartbeats and counts.

use std::time::Instant;

use crate::Granted;
use crate::alive::{self, Alive, Due};
use crate::counts::{COUNTS, Counts, MAX_COUNTS};
use crate::framing::FrameReader;
use crate::link::Link;

#[derive(Debug)]
pub struct Session<A> {
    pub(crate) link: Link<A>,
    /// Whether both ends are this program: the server has granted extensions.
    pub(crate) extended: bool,
    /// Whether both ends send heartbeats, and those of the running test.
    lively: bool,
    alive: Option<Alive>,
    /// Whether both ends send their counts, and the message that is arriving.
    exact: bool,
    counts: Option<FrameReader>,
}

/// What the next bytes are.
pub(crate) enum Extra {
    /// Nothing that two ends of this program send besides iperf3's messages.
    None,
    /// A heartbeat, or a part of counts.
    Taken,
    /// Counts, or why they can't be read.
    Counts(Result<Counts, String>),
}

impl<A> Session<A> {
    pub(crate) fn new() -> Self {
        Self {
            link: Link::new(),
            extended: false,
            lively: false,
            alive: None,
            exact: false,
            counts: None,
        }
    }

    /// The server grants this.
    pub(crate) fn grant(&mut self, granted: &Granted) {
        self.extended = true;
        self.lively = granted.alive;
        self.exact = granted.exact;
    }

    /// Data flows from `now` on.
    pub(crate) fn start(&mut self, now: Instant) {
        self.alive = self.lively.then(|| Alive::new(now));
    }

    /// The test is over.
    pub(crate) fn stop(&mut self) {
        self.alive = None;
    }

    /// The connection is over.
    pub(crate) fn close(&mut self) {
        self.link.wait_for_ever();
        self.stop();
        self.counts = None;
    }

    /// Sends what this end's senders have sent, if both ends take part in that.
    pub(crate) fn send_counts(&mut self, counts: &Counts) {
        if self.exact {
            self.link.send_bytes(&[COUNTS]);
            self.link.send_json(&counts.to_json());
        }
    }

    /// Something arrived.
    pub(crate) fn hear(&mut self, now: Instant) {
        if let Some(alive) = &mut self.alive {
            alive.hear(now);
        }
    }

    /// Sends a heartbeat if one is due. True when the peer's have been missing for too long.
    pub(crate) fn is_silent(&mut self, now: Instant) -> bool {
        match self.alive.as_mut().and_then(|alive| alive.poll(now)) {
            Some(Due::Sign) => {
                self.link.send_bytes(&[alive::SIGN]);
                false
            }
            Some(Due::End) => true,
            None => false,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let alive = self.alive.as_ref().map(Alive::deadline);
        [self.link.deadline(), alive].into_iter().flatten().min()
    }

    /// Takes heartbeats and counts off the front of `bytes`, which must not be empty.
    pub(crate) fn take_extra(&mut self, bytes: &mut &[u8], takes_extras: bool) -> Extra {
        if let Some(reader) = &mut self.counts {
            return match reader.parse(bytes, Counts::parse).transpose() {
                None => Extra::Taken,
                Some(counts) => {
                    self.counts = None;
                    Extra::Counts(counts)
                }
            };
        }
        match bytes[0] {
            COUNTS if takes_extras && self.exact => {
                self.counts = Some(FrameReader::new(MAX_COUNTS));
            }
            alive::SIGN if takes_extras && self.lively => {}
            _ => return Extra::None,
        }
        *bytes = &bytes[1..];
        Extra::Taken
    }
}

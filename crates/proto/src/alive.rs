//! Signs of life: while data flows, the control connection is silent for as long as the test lasts, and a peer that has
//! been stopped, or whose machine has, looks just like one that is content.
//!
//! Two ends of this program agree to send a byte now and then ([`SIGN`]). The end that hears nothing gives the test up.

use std::time::{Duration, Instant};

/// The byte. iperf3 has no such state, and never gets it.
pub const SIGN: u8 = 65;

/// Time between two signs.
pub const PERIOD: Duration = Duration::from_secs(5);

/// How long a peer that gives signs may be silent.
pub const SILENCE: Duration = Duration::from_secs(40);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A sign of this end.
    Sign,
    /// The end: the peer is silent.
    End,
}

/// The signs of one test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alive {
    /// When this end gives its next sign.
    next: Instant,
    /// When the peer was last heard.
    heard: Instant,
}

impl Alive {
    /// Data flows from `now` on.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            next: now + PERIOD,
            heard: now,
        }
    }

    /// Something came from the peer.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When to look.
    pub(crate) fn deadline(&self) -> Instant {
        self.next.min(self.heard + SILENCE)
    }

    /// What is due at `now`. An end that was stopped itself finds that it has given no sign either: what the peer has
    /// sent since waits in its socket, and gets a second chance to be read.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Due> {
        let was_away = now.saturating_duration_since(self.next) >= PERIOD;
        if was_away {
            self.heard = now;
        }
        if now.saturating_duration_since(self.heard) >= SILENCE {
            return Some(Due::End);
        }
        if now < self.next {
            return None;
        }
        self.next = now + PERIOD;
        Some(Due::Sign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls each second, and says when the first sign and the end came.
    fn follow(hear_until: u64) -> (u64, u64) {
        let start = Instant::now();
        let mut alive = Alive::new(start);
        let mut first = None;
        for second in 0.. {
            let now = start + Duration::from_secs(second);
            if second <= hear_until {
                alive.hear(now);
            }
            match alive.poll(now) {
                Some(Due::End) => return (first.unwrap(), second),
                Some(Due::Sign) => first = first.or(Some(second)),
                None => assert!(alive.deadline() > now),
            }
        }
        unreachable!()
    }

    #[test]
    fn a_peer_that_falls_silent_is_dropped() {
        assert_eq!(follow(0), (5, 40));
        assert_eq!(follow(100), (5, 140));
    }

    #[test]
    fn an_end_that_was_stopped_listens_first() {
        let start = Instant::now();
        let mut alive = Alive::new(start);
        let back = start + Duration::from_secs(600);
        assert_eq!(alive.poll(back), Some(Due::Sign));
        assert_eq!(alive.poll(back), None);
        assert_eq!(alive.deadline(), back + PERIOD);
        let mut now = back;
        while alive.poll(now) != Some(Due::End) {
            now = alive.deadline();
        }
        assert_eq!(now, back + SILENCE);
    }
}

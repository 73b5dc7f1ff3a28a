//! Heartbeats. While data flows, the control connection is silent, so a stopped peer, or one on a stopped machine,
//! looks like a healthy one.
//!
//! Two ends of this program agree to send a byte at intervals ([`SIGN`]). An end that reads nothing ends the test.

use std::time::{Duration, Instant};

/// The heartbeat's byte. iperf3 has no such state and never gets it.
pub const SIGN: u8 = 65;

/// Time between two heartbeats.
pub const PERIOD: Duration = Duration::from_secs(5);

/// How long a peer that sends heartbeats may be silent.
pub const SILENCE: Duration = Duration::from_secs(40);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// This end's heartbeat.
    Sign,
    /// The end of the test: the peer is silent.
    End,
}

/// The heartbeats of one test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alive {
    /// When this end sends its next heartbeat.
    next: Instant,
    /// When something last arrived from the peer.
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

    /// Something arrived from the peer.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When to poll.
    pub(crate) fn deadline(&self) -> Instant {
        self.next.min(self.heard + SILENCE)
    }

    /// What is due at `now`. An end that was itself stopped notices that its own heartbeat is overdue too: it gets
    /// another chance to read what the peer has sent meanwhile.
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

    /// Polls each second; returns when the first heartbeat and the end were due.
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

//! Estimates the offset between the clocks of two ends from the times in probes and their answers.
//!
//! ```text
//! client   sent ─────────┐              ┌──────► received       upper = arrived − sent       ≥ offset
//! server                 └► arrived … answered                  lower = answered − received  ≤ offset
//! ```
//!
//! No delay is negative, so each exchange proves that the offset (the server's time less the client's) is in an
//! interval as long as its round trip. The estimate is the intersection of all of them, which widens with time because
//! clocks drift. Under load round trips are long and prove little, and the earlier estimate stays.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use iperf_model::ClockRelation;

/// The fastest drift between two clocks, in parts per million.
const MOST_DRIFT: u64 = 100;

/// The times of an exchange, in nanoseconds of the clock of the end that read them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) sent: u64,
    pub(super) arrived: u64,
    pub(super) answered: u64,
    pub(super) received: u64,
}

/// `a − b`; an absurd difference of a peer's time stays in range.
fn difference(a: u64, b: u64) -> i64 {
    let most = i64::MAX / 4;
    i64::try_from(i128::from(a) - i128::from(b)).map_or(most, |d| d.clamp(-most, most))
}

impl Times {
    /// The offset is between these two.
    fn bounds(&self) -> (i64, i64) {
        let lower = difference(self.answered, self.received);
        (lower, difference(self.arrived, self.sent))
    }

    /// Both times are those of this end.
    pub(super) fn round_trip(&self) -> u64 {
        self.received.saturating_sub(self.sent)
    }

    /// How long the ways to the server and back were, in nanoseconds. They are never negative, and neither is longer than
    /// the round trip, whatever the peer claims.
    pub(super) fn ways(&self, offset: i64) -> (u64, u64) {
        let up = difference(self.arrived, self.sent).saturating_sub(offset);
        let down = difference(self.received, self.answered).saturating_add(offset);
        let possible = |nanos: i64| u64::try_from(nanos).unwrap_or(0).min(self.round_trip());
        (possible(up), possible(down))
    }
}

/// What is known of the offset at a time.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    lower: i64,
    upper: i64,
    at: u64,
}

impl Bounds {
    fn of(times: &Times) -> Self {
        let (lower, upper) = times.bounds();
        Self {
            lower,
            upper: upper.max(lower),
            at: times.received,
        }
    }

    /// The same bounds later.
    fn aged(&self, now: u64) -> Self {
        let passed = now.saturating_sub(self.at) / 1_000_000;
        let widening = i64::try_from(passed.saturating_mul(MOST_DRIFT)).unwrap_or(i64::MAX / 4);
        Self {
            lower: self.lower.saturating_sub(widening),
            upper: self.upper.saturating_add(widening),
            at: now.max(self.at),
        }
    }

    fn middle(&self) -> i64 {
        self.lower + (self.upper - self.lower) / 2
    }

    fn error(&self) -> u64 {
        (self.upper - self.lower).unsigned_abs().div_ceil(2)
    }
}

/// The estimate of a client. Times are those of its clock.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    same: bool,
    now: Option<Bounds>,
    /// The narrowest bounds of the first second, and of the last.
    first: Option<Bounds>,
    last: Option<Bounds>,
    begun: u64,
    /// The largest error while anything was counted.
    worst: u64,
}

/// Time for the first and the last bounds of a drift, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

impl Clocks {
    /// `same`: both ends report the same clock.
    pub(super) fn new(same: bool) -> Self {
        Self {
            same,
            ..Self::default()
        }
    }

    /// Takes the times of an exchange.
    pub(super) fn learn(&mut self, times: &Times) {
        let new = Bounds::of(times);
        if new.lower > 0 || new.upper < 0 {
            // The clocks differ after all: one of the ends is in another time namespace.
            self.same = false;
        }
        let known = self.now.map(|known| known.aged(times.received));
        self.now = Some(match known {
            Some(known) if known.lower <= new.upper && new.lower <= known.upper => Bounds {
                lower: known.lower.max(new.lower),
                upper: known.upper.min(new.upper),
                at: times.received,
            },
            // The first, or a clock has jumped: its machine was suspended.
            _ => new,
        });
        self.learn_drift(new);
    }

    fn learn_drift(&mut self, new: Bounds) {
        let Some(first) = self.first else {
            self.first = Some(new);
            self.begun = new.at;
            return;
        };
        if new.at.saturating_sub(self.begun) <= SECOND {
            if new.error() < first.error() {
                self.first = Some(new);
            }
            return;
        }
        let outdated = |last: &Bounds| new.at.saturating_sub(last.at) > SECOND;
        if self
            .last
            .is_none_or(|last| outdated(&last) || new.error() <= last.error())
        {
            self.last = Some(new);
        }
    }

    /// The offset and how far it may be off; `None` before the first exchange.
    pub(super) fn offset(&self) -> Option<(i64, u64)> {
        if self.same {
            return self.now.map(|_| (0, 0));
        }
        self.now.map(|now| (now.middle(), now.error()))
    }

    /// Delays are counted with the present offset.
    pub(super) fn is_used(&mut self) {
        if let Some((_, error)) = self.offset() {
            self.worst = self.worst.max(error);
        }
    }

    /// Growth of the offset in parts per million, if it could be measured.
    fn drift(&self) -> Option<f64> {
        let (first, last) = (self.first?, self.last?);
        let passed = last.at.saturating_sub(first.at);
        // Where the bounds could as well be of clocks that do not drift, nothing is known.
        let known = passed > 2 * SECOND && first.error().saturating_add(last.error()) < SECOND;
        known.then(|| (last.middle() - first.middle()) as f64 / passed as f64 * 1e6)
    }

    pub(super) fn relation(&self) -> Option<ClockRelation> {
        let (offset, error) = self.offset()?;
        Some(ClockRelation {
            exact: self.same,
            offset,
            error: error.max(self.worst),
            drift_ppm: self.drift().filter(|_| !self.same),
        })
    }
}

/// What an end that receives datagrams needs: the peer's clock in terms of its own. One thread writes it, others read.
#[derive(Debug)]
pub struct PeerClock {
    /// To be added to the peer's time, in nanoseconds.
    ahead: AtomicI64,
    error: AtomicU64,
    is_known: AtomicBool,
}

impl Default for PeerClock {
    fn default() -> Self {
        Self {
            ahead: AtomicI64::new(0),
            error: AtomicU64::new(u64::MAX),
            is_known: AtomicBool::new(false),
        }
    }
}

impl PeerClock {
    /// `ahead` has to be added to the peer's time.
    pub(super) fn set(&self, ahead: i64, error: u64) {
        self.ahead.store(ahead, Ordering::Relaxed);
        self.error.store(error, Ordering::Relaxed);
        self.is_known.store(true, Ordering::Release);
    }

    /// The time from the peer's `sent` to `arrived`, both since the beginning of their clocks; `None` as long as nothing
    /// is known. It is never negative.
    pub(crate) fn delay(&self, sent: Duration, arrived: Duration) -> Option<Duration> {
        if !self.is_known.load(Ordering::Acquire) {
            return None;
        }
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let raw = difference(nanos(arrived), nanos(sent));
        let delay = raw.saturating_sub(self.ahead.load(Ordering::Relaxed));
        Some(Duration::from_nanos(u64::try_from(delay).unwrap_or(0)))
    }

    /// The relation, from the server's side.
    pub fn relation(&self) -> Option<ClockRelation> {
        if !self.is_known.load(Ordering::Acquire) {
            return None;
        }
        let error = self.error.load(Ordering::Relaxed);
        Some(ClockRelation {
            exact: error == 0,
            offset: self.ahead.load(Ordering::Relaxed),
            error,
            drift_ppm: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: u64 = 1000;

    /// Clocks that differ by `offset` and drift apart by `ppm`, and ways of these lengths in microseconds.
    fn exchange(at: u64, offset: i64, ppm: i64, up: u64, down: u64) -> Times {
        let server = |client: u64| {
            let drift = i64::try_from(client).unwrap() / 1_000_000 * ppm;
            client.checked_add_signed(offset + drift).unwrap()
        };
        let (arrived, answered) = (at + up * MICRO, at + (up + 5) * MICRO);
        Times {
            sent: at,
            arrived: server(arrived),
            answered: server(answered),
            received: answered + down * MICRO,
        }
    }

    fn distance(clocks: &Clocks, true_offset: i64) -> (u64, u64) {
        let (offset, error) = clocks.offset().unwrap();
        (offset.abs_diff(true_offset), error)
    }

    #[test]
    fn the_offset_is_known_to_half_of_the_shortest_round_trip() {
        let mut clocks = Clocks::new(false);
        let offset = 123_456_789_012;
        for (number, (up, down)) in [(900, 100), (50, 60), (40, 700)].into_iter().enumerate() {
            let at = SECOND + number as u64 * 1_000_000;
            clocks.learn(&exchange(at, offset, 0, up, down));
            let (distance, error) = distance(&clocks, offset);
            assert!(distance <= error, "{distance} {error}");
        }
        assert!(clocks.offset().unwrap().1 <= 60 * MICRO, "{clocks:?}");
    }

    #[test]
    fn a_drift_is_followed_and_measured() {
        let (offset, ppm) = (-5_000_000_000, 40);
        let mut clocks = Clocks::new(false);
        for number in 0..500 {
            let at = 100 * SECOND + number * SECOND / 50;
            // From second 2 to second 8 a queue of one second delays one direction; then it drains.
            let up = match number {
                100..400 => 1_000_000,
                400..450 => 1_000_000 - (number - 400) * 20_000,
                _ => 30,
            };
            let times = exchange(at, offset, ppm, up, 30);
            clocks.learn(&times);
            let now = i64::try_from(times.received).unwrap() / 1_000_000 * ppm + offset;
            let (distance, error) = distance(&clocks, now);
            assert!(distance <= error + 100, "{number}: {distance} {error}");
            assert!(error < 800 * MICRO, "{number}: {error}");
        }
        let drift = clocks.relation().unwrap().drift_ppm.unwrap();
        assert!((drift - 40.0).abs() < 10.0, "{drift}");
    }

    #[test]
    fn one_clock_is_exact_unless_its_times_contradict() {
        let mut clocks = Clocks::new(true);
        assert_eq!(clocks.offset(), None);
        clocks.learn(&exchange(SECOND, 0, 0, 900, 100));
        assert_eq!(clocks.offset(), Some((0, 0)));
        // A time namespace.
        clocks.learn(&exchange(2 * SECOND, 3_600_000_000_000, 0, 20, 20));
        let (distance, error) = distance(&clocks, 3_600_000_000_000);
        assert!(distance <= error && error < 30 * MICRO, "{clocks:?}");
        assert!(!clocks.relation().unwrap().exact);
    }

    #[test]
    fn times_of_a_hostile_peer_are_only_wrong() {
        for (arrived, answered) in [(0, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX), (0, 0)] {
            let mut clocks = Clocks::new(false);
            for at in [SECOND, 5 * SECOND, u64::MAX / 2] {
                clocks.learn(&Times {
                    sent: at,
                    arrived,
                    answered,
                    received: at + 1,
                });
                clocks.is_used();
                let _ = (clocks.offset(), clocks.relation());
            }
        }
    }

    #[test]
    fn a_delay_is_in_terms_of_one_clock_and_never_negative() {
        let clock = PeerClock::default();
        let seconds = Duration::from_secs;
        assert_eq!(clock.delay(seconds(1), seconds(2)), None);
        clock.set(-3_000_000_000, 1000);
        assert_eq!(clock.delay(seconds(10), seconds(8)), Some(seconds(1)));
        assert_eq!(clock.delay(seconds(10), seconds(6)), Some(seconds(0)));
        assert_eq!(clock.relation().unwrap().error, 1000);
    }
}

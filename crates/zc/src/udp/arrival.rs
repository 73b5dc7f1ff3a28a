//! The arrival time of a datagram: when the kernel got it (`SO_TIMESTAMPNS`, socket(7)), not when it was read. So a
//! receiver may sleep, be busy or read many in one call without adding jitter.
//!
//! The kernel reports wall clock time, and the wall clock may be set at any time; streams use the monotonic clock. The
//! time that a datagram waited in its socket is the difference of two wall clock readings:
//!
//! ```text
//! arrival = monotonic now - (wall now - wall arrival)
//! ```

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The longest plausible time in a socket; if it is longer, the wall clock was set meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Both clocks at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    monotonic: Duration,
    wall: Duration,
}

/// The monotonic clock, as both ends write and read it.
pub fn monotonic() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

fn read(clock: ClockId) -> Duration {
    // The clocks exist on every Linux, and are not negative.
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

/// How far apart the two readings may be before they are repeated: a thread may be preempted in between.
const APART: Duration = Duration::from_micros(20);

/// How often the clocks are read again.
const REPEATS: usize = 4;

impl Clocks {
    pub(super) fn now() -> Self {
        let mut before = monotonic();
        let mut clocks = Self::between(before);
        for _ in 0..REPEATS {
            if clocks.monotonic.saturating_sub(before) <= APART {
                break;
            }
            before = clocks.monotonic;
            clocks = Self::between(before);
        }
        clocks
    }

    /// The wall clock, and the monotonic clock just after it.
    fn between(before: Duration) -> Self {
        let wall = read(ClockId::CLOCK_REALTIME);
        Self {
            monotonic: monotonic().max(before),
            wall,
        }
    }

    /// The arrival, by the monotonic clock, of what the kernel got at `wall`; now if that is unknown.
    pub(super) fn arrival(self, wall: Option<Duration>) -> Duration {
        let waited = wall.and_then(|wall| self.wall.checked_sub(wall));
        let waited = waited.filter(|waited| *waited <= LONGEST_WAIT);
        self.monotonic.saturating_sub(waited.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONOTONIC: Duration = Duration::from_secs(100);
    const WAITED: Duration = Duration::from_millis(3);
    const ARRIVAL: Duration = Duration::from_secs(1_000_000);

    fn clocks(since_arrival: Duration) -> Clocks {
        Clocks {
            monotonic: MONOTONIC,
            wall: ARRIVAL + since_arrival,
        }
    }

    #[test]
    fn the_time_in_the_socket_does_not_count_as_transit_time() {
        let arrival = clocks(WAITED).arrival(Some(ARRIVAL));
        assert_eq!(arrival + WAITED, MONOTONIC);
        assert_eq!(clocks(Duration::ZERO).arrival(Some(ARRIVAL)), MONOTONIC);
    }

    #[test]
    fn a_wall_clock_that_was_set_is_not_trusted() {
        let hour = Duration::from_secs(3600);
        assert_eq!(clocks(hour).arrival(Some(ARRIVAL)), MONOTONIC);
        assert_eq!(clocks(hour).arrival(Some(ARRIVAL + 2 * hour)), MONOTONIC);
        assert_eq!(clocks(hour).arrival(None), MONOTONIC);
    }
}

//! The interval clock: when to report, when the omitted period ends, when the test is over.
//!
//! Time is an argument. Ticks lie on a grid that starts at the start of the test and again at the end of the
//! omitted period, so they do not drift, however late they are handled. Where several things are due together, an
//! interval comes before what ends it: with a report each second, `omit` seconds have exactly `omit` intervals.

use std::time::{Duration, Instant};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// Report an interval.
    Interval,
    /// The omitted period ends now: everything counts from zero.
    OmitEnd,
    /// The time limit is reached.
    End,
}

/// Knows when the next [`Tick`] is due, and which it is.
#[derive(Clone, Debug)]
pub struct IntervalClock {
    /// Start of the present grid.
    base: Instant,
    interval: Option<Duration>,
    /// Interval ticks since `base`.
    ticks: u32,
    omit: Option<Duration>,
    limit: Option<Duration>,
    ended: bool,
}

impl IntervalClock {
    /// A clock for a test that starts at `start`. `omit` comes before `limit`, which is `None` for a test that
    /// time does not end.
    pub fn new(
        start: Instant,
        interval: Option<Duration>,
        omit: Duration,
        limit: Option<Duration>,
    ) -> Self {
        let omit = Some(omit).filter(|omit| !omit.is_zero());
        Self {
            base: start,
            interval,
            ticks: 0,
            omit,
            limit,
            ended: false,
        }
    }

    /// Whether the omitted period is still running.
    pub fn omitting(&self) -> bool {
        self.omit.is_some()
    }

    /// Where times of the present period count from.
    pub fn base(&self) -> Instant {
        self.base
    }

    /// When to call [`Self::poll`] next; `None` when nothing will ever be due.
    pub fn deadline(&self) -> Option<Instant> {
        self.next().map(|(offset, _)| self.base + offset)
    }

    /// The next thing that is due at `now`, if any. Call it until it returns `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Tick> {
        let (offset, tick) = self.next()?;
        if now < self.base + offset {
            return None;
        }
        match tick {
            Tick::Interval => {
                self.ticks += 1;
                // Ticks that were slept through are one report, not a burst of empty ones; but the number of
                // omitted reports is a promise.
                while !self.omitting() && self.next_is_missed(now) {
                    self.ticks += 1;
                }
            }
            Tick::OmitEnd => {
                self.base = now;
                self.ticks = 0;
                self.omit = None;
            }
            Tick::End => self.ended = true,
        }
        Some(tick)
    }

    /// Offset of the next interval tick from the base.
    fn interval_offset(&self) -> Option<Duration> {
        Some(self.interval? * (self.ticks + 1))
    }

    /// Whether another interval of this period should have ended by `now`, too.
    fn next_is_missed(&self, now: Instant) -> bool {
        self.interval_offset().is_some_and(|next| {
            self.base + next <= now && self.period_end().is_none_or(|end| next < end)
        })
    }

    /// Offset of the end of the present period from the base.
    fn period_end(&self) -> Option<Duration> {
        self.omit.or(self.limit)
    }

    fn next(&self) -> Option<(Duration, Tick)> {
        if self.ended {
            return None;
        }
        let end = self.period_end().map(|end| {
            (
                end,
                if self.omitting() {
                    Tick::OmitEnd
                } else {
                    Tick::End
                },
            )
        });
        let interval = self
            .interval_offset()
            .map(|offset| (offset, Tick::Interval));
        match (interval, end) {
            // The last interval of the test is cut by its end, which takes the last sample itself.
            (Some(interval), Some(end)) if end.1 == Tick::End => {
                Some(if interval.0 < end.0 { interval } else { end })
            }
            (Some(interval), Some(end)) => Some(if interval.0 <= end.0 { interval } else { end }),
            (interval, end) => interval.or(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Runs a clock that is polled `late` after each deadline, and returns the ticks with their times in ms.
    fn run(mut clock: IntervalClock, start: Instant, late: Duration) -> Vec<(u128, Tick)> {
        let mut ticks = Vec::new();
        while let Some(deadline) = clock.deadline() {
            let now = deadline + late;
            assert_eq!(
                clock.poll(deadline.checked_sub(Duration::from_nanos(1)).unwrap()),
                None
            );
            while let Some(tick) = clock.poll(now) {
                ticks.push(((deadline - start).as_millis(), tick));
            }
        }
        ticks
    }

    #[test]
    fn the_end_takes_the_last_interval() {
        let start = Instant::now();
        let clock = IntervalClock::new(start, Some(SECOND), Duration::ZERO, Some(3 * SECOND));
        let ticks = run(clock, start, Duration::ZERO);
        assert_eq!(
            ticks,
            [
                (1000, Tick::Interval),
                (2000, Tick::Interval),
                (3000, Tick::End)
            ]
        );
    }

    #[test]
    fn omit_has_exactly_its_own_intervals_however_late() {
        for late in [0, 1, 300, 999] {
            let start = Instant::now();
            let clock = IntervalClock::new(start, Some(SECOND), 3 * SECOND, Some(2 * SECOND));
            let kinds: Vec<_> = run(clock, start, Duration::from_millis(late))
                .into_iter()
                .map(|t| t.1)
                .collect();
            assert_eq!(
                kinds,
                [
                    Tick::Interval,
                    Tick::Interval,
                    Tick::Interval,
                    Tick::OmitEnd,
                    Tick::Interval,
                    Tick::End
                ],
                "{late} ms late"
            );
        }
    }

    #[test]
    fn the_grid_does_not_drift() {
        let start = Instant::now();
        let clock = IntervalClock::new(start, Some(SECOND / 2), Duration::ZERO, Some(2 * SECOND));
        let times: Vec<_> = run(clock, start, Duration::from_millis(100))
            .into_iter()
            .map(|t| t.0)
            .collect();
        assert_eq!(times, [500, 1000, 1500, 2000]);
    }

    #[test]
    fn without_reports_only_the_period_ends() {
        let start = Instant::now();
        let clock = IntervalClock::new(start, None, SECOND, Some(SECOND));
        let ticks = run(clock, start, Duration::ZERO);
        assert_eq!(ticks, [(1000, Tick::OmitEnd), (2000, Tick::End)]);
    }

    #[test]
    fn an_endless_test_without_reports_has_no_deadline() {
        let clock = IntervalClock::new(Instant::now(), None, Duration::ZERO, None);
        assert_eq!(clock.deadline(), None);
    }

    #[test]
    fn slept_through_ticks_are_one_report() {
        let start = Instant::now();
        let mut clock = IntervalClock::new(start, Some(SECOND), Duration::ZERO, None);
        let now = start + Duration::from_millis(5500);
        assert_eq!(clock.poll(now), Some(Tick::Interval));
        assert_eq!(clock.poll(now), None);
        assert_eq!(clock.deadline(), Some(start + 6 * SECOND));
    }
}

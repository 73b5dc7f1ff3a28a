//! The limits of `--server-bitrate-limit` and `--client-bitrate-limit` on what tests move. Time is an argument.
//!
//! A window belongs to the server, or to a client, and not to a test: many short tests count as one long one does, and
//! so do tests that run at the same time. The time between tests counts too, with nothing moved.
//!
//! When concurrent tests together exceed a limit, those that moved more than an equal share end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use iperf_model::RateLimit;

/// A window of 0 is the whole of a test, from this time on.
const LEAST_TIME: Duration = Duration::from_millis(100);

/// Samples in quicker succession count as one, so that no peer can make them many.
const LEAST_APART: Duration = Duration::from_millis(10);

/// A watch that a server and tests share.
#[derive(Clone, Debug)]
pub(crate) struct SharedRateWatch(Arc<Mutex<RateWatch>>);

impl SharedRateWatch {
    /// Watches from `start` on.
    pub(crate) fn new(limit: RateLimit, start: Instant) -> Self {
        Self(Arc::new(Mutex::new(RateWatch::new(limit, start))))
    }

    /// A test starts, and counts from now on. With a window of 0 the average begins with the first of the tests that run.
    pub(crate) fn begin(&self, now: Instant) -> TestRate {
        let mut watch = self.look();
        watch.begin(now);
        let limit = watch.limit;
        drop(watch);
        TestRate {
            watch: self.clone(),
            own: RateWatch::new(limit, now),
            counted: 0,
        }
    }

    /// The watch. The lock is held only for one check.
    pub(crate) fn look(&self) -> MutexGuard<'_, RateWatch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one test adds to what a server, or a client, moves.
#[derive(Debug)]
pub(crate) struct TestRate {
    watch: SharedRateWatch,
    /// What the test itself moves.
    own: RateWatch,
    /// Bytes of the test that are counted already.
    counted: u64,
}

impl TestRate {
    /// Whether the test has to end at `now`, when it has moved `bytes` in both directions: the average is above the
    /// limit, and no concurrent test is the reason.
    pub(crate) fn exceeded(&mut self, now: Instant, bytes: u64) -> bool {
        let moved = bytes.saturating_sub(self.counted);
        self.counted = bytes;
        let mut watch = self.watch.look();
        watch.add(now, moved);
        self.own.add(now, moved);
        if !watch.is_above(now, 1) {
            return false;
        }
        watch.shared < 2 || self.own.is_above(now, watch.shared)
    }
}

impl Drop for TestRate {
    fn drop(&mut self) {
        self.watch.look().end();
    }
}

/// Averages what is moved over the time of a limit.
#[derive(Debug)]
pub(crate) struct RateWatch {
    limit: RateLimit,
    /// Bytes that all tests had moved by then, oldest first. Only the first is as old as the window.
    samples: VecDeque<(Instant, u64)>,
    /// Bytes that all tests have moved.
    total: u64,
    /// Tests that run.
    running: u64,
    /// The most that ran at the same time since one ran alone.
    shared: u64,
}

impl RateWatch {
    /// Watches from `start` on.
    fn new(limit: RateLimit, start: Instant) -> Self {
        Self {
            limit,
            samples: VecDeque::from([(start, 0)]),
            total: 0,
            running: 0,
            shared: 0,
        }
    }

    /// A test starts.
    fn begin(&mut self, now: Instant) {
        if self.running == 0 {
            self.shared = 0;
            if self.limit.window.is_zero() {
                self.samples.clear();
            }
        }
        if !self.limit.window.is_zero() || self.running == 0 {
            self.samples.push_back((now, self.total));
        }
        self.running += 1;
        self.shared = self.shared.max(self.running);
    }

    /// A test ends.
    fn end(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Whether nothing is left to know: no test runs, and the window is over.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let last = self.samples.back().map(|(at, _)| now.duration_since(*at));
        self.running == 0 && last.is_none_or(|age| age >= self.limit.window)
    }

    /// Tests have moved `bytes` more at `now`.
    fn add(&mut self, now: Instant, bytes: u64) {
        self.total += bytes;
        let sample = (now, self.total);
        let mut latest = self.samples.iter_mut().rev();
        match (latest.next(), latest.next()) {
            (Some(last), Some(previous)) if last.0.duration_since(previous.0) < LEAST_APART => {
                *last = sample;
            }
            _ => self.samples.push_back(sample),
        }
    }

    /// Whether the tests until `now` have used up the window, so that there is room for none.
    pub(crate) fn used_up(&mut self, now: Instant) -> bool {
        !self.limit.window.is_zero() && self.is_above(now, 1)
    }

    /// Whether the average is above an equal share of the limit.
    fn is_above(&mut self, now: Instant, shares: u64) -> bool {
        let window = self.limit.window;
        let (bytes, time) = if window.is_zero() {
            self.of_test(now)
        } else {
            (self.of_window(now), window)
        };
        8.0 * bytes * shares as f64 > self.limit.rate.bits() as f64 * time.as_secs_f64()
    }

    /// Bytes of the running test, and its time.
    fn of_test(&mut self, now: Instant) -> (f64, Duration) {
        let last = self.samples.pop_back();
        self.samples.truncate(1);
        self.samples.extend(last);
        let (Some((since, first)), Some((_, last))) = (self.samples.front(), self.samples.back())
        else {
            return (0.0, LEAST_TIME);
        };
        let time = now.duration_since(*since);
        if time < LEAST_TIME {
            return (0.0, LEAST_TIME);
        }
        ((last - first) as f64, time)
    }

    /// Bytes of the window that ends at `now`. Between two samples they are taken to have come evenly.
    fn of_window(&mut self, now: Instant) -> f64 {
        let age = |sample: &(Instant, u64)| now.duration_since(sample.0);
        let window = self.limit.window;
        while self.samples.get(1).is_some_and(|next| age(next) >= window) {
            self.samples.pop_front();
        }
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return 0.0;
        };
        let bytes = (last.1 - first.1) as f64;
        let outside = age(first).saturating_sub(window);
        match self.samples.get(1) {
            Some(next) if !outside.is_zero() => {
                let span = next.0.duration_since(first.0);
                bytes - (next.1 - first.1) as f64 * outside.as_secs_f64() / span.as_secs_f64()
            }
            Some(_) => bytes,
            None => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use iperf_model::BitRate;

    use super::*;

    fn watch(window: u64) -> (SharedRateWatch, Instant) {
        let limit = RateLimit {
            rate: BitRate::new(8000),
            window: Duration::from_secs(window),
        };
        let start = Instant::now();
        (SharedRateWatch::new(limit, start), start)
    }

    /// Seconds after which a test is stopped that moves this many bytes in each second.
    fn stopped_after(window: u64, rates: &[u64]) -> Option<usize> {
        let (watch, start) = watch(window);
        let mut test = watch.begin(start);
        let mut bytes = 0;
        (1..).zip(rates).find_map(|(second, rate)| {
            bytes += rate;
            let now = start + Duration::from_secs(second);
            test.exceeded(now, bytes)
                .then_some(usize::try_from(second).unwrap())
        })
    }

    #[test]
    fn a_test_at_the_limit_continues() {
        assert_eq!(stopped_after(5, &[1000; 60]), None);
    }

    #[test]
    fn one_that_is_always_faster_is_stopped_after_the_first_window() {
        assert_eq!(stopped_after(5, &[1001; 60]), Some(5));
    }

    #[test]
    fn what_fills_the_window_sooner_is_stopped_sooner() {
        assert_eq!(stopped_after(5, &[2501; 60]), Some(2));
        assert_eq!(stopped_after(5, &[5001; 60]), Some(1));
    }

    #[test]
    fn a_peak_counts_as_part_of_its_window() {
        let mut rates = [900; 30];
        rates[10] = 1400;
        assert_eq!(stopped_after(5, &rates), None);
        rates[12] = 1400;
        assert_eq!(stopped_after(5, &rates), Some(13));
    }

    #[test]
    fn without_a_window_the_whole_test_is_averaged() {
        let mut rates = [500; 30];
        rates[9] = 6000;
        assert_eq!(stopped_after(0, &rates), Some(10));
        rates[9] = 5000;
        assert_eq!(stopped_after(0, &rates), None);
    }

    #[test]
    fn without_a_window_each_test_counts_for_itself() {
        let (watch, start) = watch(0);
        let mut test = watch.begin(start);
        let second = Duration::from_secs(1);
        assert!(test.exceeded(start + second, 1001));
        assert!(!watch.look().used_up(start + second));
        drop(test);
        let mut test = watch.begin(start + 2 * second);
        assert!(!test.exceeded(start + 3 * second, 1000));
        assert!(test.exceeded(start + 4 * second, 2001));
    }

    /// The window holds 5000 bytes.
    #[test]
    fn short_tests_add_up() {
        let (watch, start) = watch(5);
        let second = Duration::from_secs(1);
        let mut now = start;
        for _ in 0..2 {
            let mut test = watch.begin(now);
            now += second / 2;
            assert!(!test.exceeded(now, 2500), "5000 bytes have room");
            assert!(!watch.look().used_up(now));
        }
        let mut test = watch.begin(now);
        assert!(test.exceeded(now + second / 10, 1));
        assert!(watch.look().used_up(now + second));
        // The first test has left the window.
        let later = now + 5 * second;
        assert!(!watch.look().used_up(later));
        let mut test = watch.begin(later);
        assert!(!test.exceeded(later + second, 2499));
    }

    /// The window holds 5000 bytes.
    #[test]
    fn tests_that_run_together_share_the_limit_and_the_fastest_ends() {
        let (watch, start) = watch(5);
        let second = Duration::from_secs(1);
        let mut fast = watch.begin(start);
        let mut slow = watch.begin(start);
        assert!(!slow.exceeded(start + second, 400));
        assert!(!fast.exceeded(start + second, 4600));
        assert!(
            !slow.exceeded(start + 2 * second, 800),
            "less than its share"
        );
        assert!(fast.exceeded(start + 2 * second, 4601));
        drop(fast);
        assert!(!slow.exceeded(start + 3 * second, 1200));
        drop(slow);
        assert!(watch.look().used_up(start + 3 * second));
        assert!(!watch.look().is_idle(start + 3 * second));
        assert!(watch.look().is_idle(start + 9 * second));
    }

    #[test]
    fn without_a_window_tests_that_run_together_are_averaged_together() {
        let (watch, start) = watch(0);
        let second = Duration::from_secs(1);
        let mut one = watch.begin(start);
        let mut two = watch.begin(start + second / 2);
        assert!(!one.exceeded(start + second, 600));
        assert!(
            two.exceeded(start + second, 600),
            "1200 in a second, and more than half"
        );
        drop((one, two));
        let mut next = watch.begin(start + 2 * second);
        assert!(
            !next.exceeded(start + 3 * second, 1000),
            "what was before is over"
        );
    }

    #[test]
    fn a_long_pause_leaves_the_whole_window() {
        let (watch, start) = watch(5);
        let hour = Duration::from_secs(3600);
        let mut test = watch.begin(start + hour);
        let end = start + hour + Duration::from_secs(1);
        assert!(
            !test.exceeded(end, 5000),
            "the pause does not count for more"
        );
        assert!(test.exceeded(end, 5001));
    }

    #[test]
    fn frequent_looks_keep_few_samples() {
        let (watch, start) = watch(1);
        let mut test = watch.begin(start);
        for millisecond in 0..3000 {
            assert!(!test.exceeded(start + Duration::from_millis(millisecond), millisecond));
        }
        assert!(
            watch.look().samples.len() < 200,
            "{}",
            watch.look().samples.len()
        );
        assert!(test.exceeded(start + Duration::from_millis(3001), 3010));
    }
}

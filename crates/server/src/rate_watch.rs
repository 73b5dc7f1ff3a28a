//! The limit of `--server-bitrate-limit` on a running test. Time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use iperf_model::RateLimit;

/// Averages what a test moves over the time of the limit.
#[derive(Debug)]
pub(crate) struct RateWatch {
    limit: RateLimit,
    /// Bytes moved by then, oldest first. The first is never younger than the window, once there is one that old.
    samples: VecDeque<(Instant, u64)>,
}

impl RateWatch {
    /// Watches a test that starts at `start`.
    pub(crate) fn new(limit: RateLimit, start: Instant) -> Self {
        Self {
            limit,
            samples: VecDeque::from([(start, 0)]),
        }
    }

    /// Whether the average at `now`, when `bytes` have been moved in both directions, is above the limit. The first
    /// full window must have passed; a window of 0 is the whole test.
    pub(crate) fn exceeded(&mut self, now: Instant, bytes: u64) -> bool {
        let window = self.limit.window;
        self.samples.push_back((now, bytes));
        if window.is_zero() {
            self.samples.truncate(1);
        } else {
            let is_old = |sample: &(Instant, u64)| now.duration_since(sample.0) >= window;
            while self.samples.get(1).is_some_and(is_old) {
                self.samples.pop_front();
            }
        }
        let Some((since, before)) = self.samples.front() else {
            return false;
        };
        let elapsed = now.duration_since(*since);
        if elapsed < window.max(Duration::from_millis(100)) {
            return false;
        }
        let bits = 8.0 * (bytes - before) as f64;
        bits / elapsed.as_secs_f64() > self.limit.rate as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds after which a test is stopped that moves so many bytes in each second.
    fn stopped_after(window: u64, rates: &[u64]) -> Option<usize> {
        let limit = RateLimit {
            rate: 8000,
            window: Duration::from_secs(window),
        };
        let start = Instant::now();
        let mut watch = RateWatch::new(limit, start);
        let mut bytes = 0;
        (1..).zip(rates).find_map(|(second, rate)| {
            bytes += rate;
            let now = start + Duration::from_secs(second);
            watch
                .exceeded(now, bytes)
                .then_some(usize::try_from(second).unwrap())
        })
    }

    #[test]
    fn a_test_at_the_limit_goes_on() {
        assert_eq!(stopped_after(5, &[1000; 60]), None);
    }

    #[test]
    fn one_that_is_always_faster_is_stopped_after_the_first_window() {
        assert_eq!(stopped_after(5, &[1001; 60]), Some(5));
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
}

//! When requests of an open loop are due: the k-th at start + k / rate, however late the one before it was.

use std::time::{Duration, Instant};

use iperf_model::Exchange;

/// The schedule of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start: Instant,
    rate: u32,
    /// The number of the next request.
    next: u64,
}

impl Schedule {
    /// The schedule of a test that has begun, if it is one at a rate. The calling thread wakes on time from now on: the
    /// default timer slack would make each request 50 µs late.
    pub(crate) fn begin(start: Instant, exchange: Exchange) -> Option<Self> {
        let rate = exchange.rate?;
        let _ = nix::sys::prctl::set_timerslack(1);
        Some(Self::new(start, rate))
    }

    /// `rate` requests per second from `start` on.
    pub(crate) fn new(start: Instant, rate: u32) -> Self {
        Self {
            start,
            rate: rate.max(1),
            next: 0,
        }
    }

    /// When the next request is due.
    pub(crate) fn due(&self) -> Instant {
        let rate = u64::from(self.rate);
        let rest = u128::from(self.next % rate) * 1_000_000_000 / u128::from(rate);
        let offset = Duration::from_secs(self.next / rate)
            + Duration::from_nanos(u64::try_from(rest).unwrap_or(0));
        self.start + offset
    }

    /// It is sent.
    pub(crate) fn advance(&mut self) {
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_do_not_drift() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 3);
        let mut due = Vec::new();
        for _ in 0..7 {
            due.push((schedule.due() - start).as_nanos());
            schedule.advance();
        }
        let third = 333_333_333;
        let second = 1_000_000_000;
        let expected = [0, third, 2 * third, second, second + third];
        assert_eq!(due[..5], expected);
        assert_eq!(due[6], 2 * second);
    }
}

//! CPU time of one end of a test: the driver's thread and the worker threads that it ran.
//!
//! Counted by thread and not by process, so that the two ends of `--loopback`, which share a process, each
//! report their own.

use std::time::{Duration, Instant};

use iperf_model::CpuUsage;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// User and system time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    user: Duration,
    system: Duration,
}

impl CpuTime {
    /// The CPU time that the calling thread has used so far.
    pub(crate) fn of_this_thread() -> Self {
        // getrusage only fails for an unknown `who`, and Linux has RUSAGE_THREAD since 2.6.26.
        getrusage(UsageWho::RUSAGE_THREAD).map_or_else(
            |_| Self::default(),
            |usage| Self {
                user: duration(usage.user_time()),
                system: duration(usage.system_time()),
            },
        )
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    /// User and system time together.
    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }

    /// An equal part of it.
    pub(crate) fn divided(self, parts: u32) -> Self {
        Self {
            user: self.user / parts.max(1),
            system: self.system / parts.max(1),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            system: self.system + other.system,
        }
    }
}

/// How long the calling thread was ready to run and had no processor (`schedstat` of proc(5)); `None` where the kernel
/// does not count it.
pub(crate) fn waited_for_processor() -> Option<Duration> {
    parse_waited(&std::fs::read_to_string("/proc/thread-self/schedstat").ok()?)
}

/// Reads `on-processor waiting timeslices`, times in nanoseconds. A kernel that does not count has zeros.
fn parse_waited(text: &str) -> Option<Duration> {
    let mut fields = text.split_whitespace();
    let worked: u64 = fields.next()?.parse().ok()?;
    let waited = fields.next()?.parse().ok()?;
    (worked > 0).then(|| Duration::from_nanos(waited))
}

fn duration(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// Measures from its creation on. It must stay on the thread that drives the test.
#[derive(Debug)]
pub struct CpuMeter {
    started: Instant,
    driver: CpuTime,
}

impl CpuMeter {
    /// Starts to measure.
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            driver: CpuTime::of_this_thread(),
        }
    }

    /// The driver's own time so far plus what its workers used, in percent of one CPU.
    pub(crate) fn usage(&self, workers: CpuTime) -> CpuUsage {
        let used = CpuTime::of_this_thread().since(self.driver).plus(workers);
        let elapsed = self.started.elapsed().as_secs_f64();
        let percent = |time: Duration| {
            if elapsed > 0.0 {
                100.0 * time.as_secs_f64() / elapsed
            } else {
                0.0
            }
        };
        CpuUsage {
            total: percent(used.user + used.system),
            user: percent(used.user),
            system: percent(used.system),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_the_second_figure() {
        let waited = parse_waited("1500 2000000 7\n");
        assert_eq!(waited, Some(Duration::from_millis(2)));
        for none in ["", "0 0 0", "5", "a b c"] {
            assert_eq!(parse_waited(none), None, "{none}");
        }
    }

    #[test]
    fn work_of_the_driver_and_of_its_workers_is_counted() {
        let meter = CpuMeter::start();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(30) {
            std::hint::black_box(0);
        }
        let alone = meter.usage(CpuTime::default());
        assert!(alone.total > 0.0 && (alone.total - alone.user - alone.system).abs() < 1e-9);
        let with = meter.usage(CpuTime {
            user: Duration::from_secs(100),
            system: Duration::ZERO,
        });
        assert!(with.total > alone.total);
    }
}

//! Steal time: the time that the hypervisor gave to others while this machine was ready to run.

use iperf_zc::proc_stat::{Processors, Times};

/// The processors' times since the machine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steal(Times);

impl Steal {
    /// The current times. `None` where the system does not report them.
    pub fn now() -> Option<Self> {
        Processors::now().map(|processors| Self(processors.all))
    }

    /// What was stolen since `before`, in percent of all processors' time.
    pub fn percent_since(self, before: Self) -> Option<f64> {
        let times = self.0.since(before.0);
        times.share(times.stolen).map(|share| 100.0 * share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_a_share_of_all_time() {
        let at = |all, stolen| {
            Steal(Times {
                all,
                stolen,
                ..Times::default()
            })
        };
        let percent = at(200, 20).percent_since(at(100, 10)).unwrap();
        assert!((percent - 10.0).abs() < 1e-9, "{percent}");
        assert_eq!(at(1, 1).percent_since(at(1, 1)), None, "no time has passed");
        assert_eq!(at(9, 0).percent_since(at(1, 5)), Some(0.0), "backwards");
    }

    #[test]
    fn this_system_reports_its_counters() {
        assert!(Steal::now().is_some());
    }
}

//! Steal time: what the hypervisor gave to others while this machine wanted to run.

use super::files::Files;

/// The processors' times since the machine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steal {
    stolen: u64,
    all: u64,
}

impl Steal {
    /// The times of now. `None` where the system does not tell.
    pub fn now() -> Option<Self> {
        Self::parse(&Files::of_system().line("proc/stat")?)
    }

    /// Reads `cpu user nice system idle iowait irq softirq steal …` (proc(5)). Guests' times are part of user and nice.
    fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("cpu ")?;
        let times: Vec<u64> = rest
            .split_whitespace()
            .take(8)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let stolen = *times.get(7)?;
        let all = times.into_iter().try_fold(0, u64::checked_add)?;
        Some(Self { stolen, all })
    }

    /// What was stolen since `before`, in percent of all processors' time. Counters may go backwards by some ticks.
    pub fn percent_since(self, before: Self) -> Option<f64> {
        let all = self.all.saturating_sub(before.all);
        let stolen = self.stolen.saturating_sub(before.stolen).min(all);
        (all > 0).then(|| 100.0 * stolen as f64 / all as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_a_share_of_all_time() {
        let before = Steal::parse("cpu  10 0 10 70 0 0 0 10 0 0").unwrap();
        let after = Steal::parse("cpu  30 0 10 140 0 0 0 20 5 0").unwrap();
        let percent = after.percent_since(before).unwrap();
        assert!((percent - 10.0).abs() < 1e-9, "{percent}");
        assert_eq!(before.percent_since(before), None, "no time has passed");
        let backwards = Steal { stolen: 9, ..after };
        assert_eq!(backwards.percent_since(before), Some(0.0));
    }

    #[test]
    fn what_does_not_tell_of_steal_is_no_figure() {
        for line in [
            "",
            "cpu",
            "cpu  1 2 3 4",
            "cpu0 1 2 3 4 5 6 7 8",
            "cpu  1 2 3 4 5 6 7 x",
        ] {
            assert_eq!(Steal::parse(line), None, "{line}");
        }
    }

    #[test]
    fn this_system_tells() {
        assert!(Steal::now().is_some());
    }
}

//! What the processors did since the machine started: the lines `cpu` and `cpuN` of `/proc/stat` (proc(5)).

use std::fs::File;
use std::io::Read;

/// The lines of the processors come first. Those of interrupts, which may be long, are not read.
const MOST: u64 = 128 << 10;

/// Times in the system's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// All of it. Guests' times are part of those of user and nice.
    pub all: u64,
    /// With nothing to do, or waiting for a disk.
    pub idle: u64,
    /// In interrupts and softirqs, where packets are handled.
    pub interrupts: u64,
    /// The hypervisor gave them to others.
    pub stolen: u64,
}

impl Times {
    /// Reads `user nice system idle iowait irq softirq steal …`.
    fn parse(times: &str) -> Option<Self> {
        let times: Vec<u64> = times
            .split_whitespace()
            .take(8)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let [_, _, _, idle, iowait, irq, softirq, stolen] = times[..] else {
            return None;
        };
        Some(Self {
            all: times.iter().copied().try_fold(0, u64::checked_add)?,
            idle: idle.checked_add(iowait)?,
            interrupts: irq.checked_add(softirq)?,
            stolen,
        })
    }

    /// Growth since `before`. Counters may go backwards by some ticks.
    pub fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            idle: self.idle.saturating_sub(before.idle),
            interrupts: self.interrupts.saturating_sub(before.interrupts),
            stolen: self.stolen.saturating_sub(before.stolen),
        }
    }

    /// What the hypervisor left to this machine.
    #[must_use]
    pub fn without_stolen(self) -> Self {
        Self {
            all: self.all.saturating_sub(self.stolen),
            stolen: 0,
            ..self
        }
    }

    /// A part of all time, from 0 to 1; `None` if no time has passed.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a share needs fewer digits than a double has"
    )]
    pub fn share(self, part: u64) -> Option<f64> {
        (self.all > 0).then(|| part.min(self.all) as f64 / self.all as f64)
    }
}

/// The times of all processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processors {
    /// Their sum.
    pub all: Times,
    /// Each that is online, by its number.
    pub each: Vec<(usize, Times)>,
}

impl Processors {
    /// The current times. `None` where the system does not report them.
    pub fn now() -> Option<Self> {
        let mut text = Vec::new();
        let file = File::open("/proc/stat").ok()?;
        file.take(MOST).read_to_end(&mut text).ok()?;
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map_while(|line| line.strip_prefix("cpu"));
        let all = Times::parse(lines.next()?.strip_prefix(' ')?)?;
        let each = lines.filter_map(|line| {
            let (number, times) = line.split_once(' ')?;
            Some((number.parse().ok()?, Times::parse(times)?))
        });
        Some(Self {
            all,
            each: each.collect(),
        })
    }

    /// What each did since `before`. Those that were not online then are left out.
    pub fn since(&self, before: &Self) -> Self {
        let each = self.each.iter().filter_map(|(number, times)| {
            let (_, earlier) = before.each.iter().find(|(other, _)| other == number)?;
            Some((*number, times.since(*earlier)))
        });
        Self {
            all: self.all.since(before.all),
            each: each.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "cpu  10 0 10 70 0 0 0 10 0 0\ncpu0 1 0 1 7 0 0 0 1 0 0\n";
    const AFTER: &str = "cpu  30 0 10 140 0 0 0 20 5 0\n\
        cpu0 1 0 1 9 1 2 3 3 0 0\ncpu8 1 0 1 9 1 2 3 3 0 0\nintr 5 cpu1\n";

    #[test]
    fn times_are_differences_of_two_readings() {
        let [before, after] = [BEFORE, AFTER].map(|text| Processors::parse(text).unwrap());
        assert_eq!((before.each.len(), after.each.len()), (1, 2));
        let passed = after.since(&before);
        let stolen = passed.all.share(passed.all.stolen).unwrap();
        assert!((stolen - 0.1).abs() < 1e-9, "{stolen}");
        let [(0, times)] = passed.each[..] else {
            panic!("{passed:?}");
        };
        assert_eq!((times.idle, times.interrupts, times.stolen), (3, 5, 2));
        assert_eq!((times.all, times.share(5)), (10, Some(0.5)));
        assert_eq!(after.since(&after).all.share(0), None, "no time has passed");
        assert_eq!(
            before.since(&after).all.stolen,
            0,
            "counters went backwards"
        );
    }

    #[test]
    fn incomplete_or_broken_lines_are_refused() {
        for text in [
            "",
            "cpu",
            "cpu  1 2 3 4",
            "cpu0 1 2 3 4 5 6 7 8",
            "cpu  1 2 3 4 5 6 7 x",
        ] {
            assert_eq!(Processors::parse(text), None, "{text}");
        }
    }

    #[test]
    fn this_system_reports_each_processor() {
        let now = Processors::now().unwrap();
        assert!(now.all.all > 0 && !now.each.is_empty());
    }
}

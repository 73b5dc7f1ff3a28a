//! Where the threads of a test run (`-A`).
//!
//! ```text
//! 3           CPU 3 for everything
//! 0-3+6       these CPUs for the process; its data threads are bound to one each, in turn
//! incoming    each data thread on the CPU that handles the packets of its connection
//! ```

use std::fmt;
use std::str::FromStr;

/// The highest number of a CPU that can be asked for, as in iperf3.
pub const MAX_CPU: u16 = 1024;

/// Where the threads of an end run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On these CPUs.
    Cpus(CpuList),
    /// Data threads run where the packets of their connections arrive (`SO_INCOMING_CPU`).
    Incoming,
}

impl Placement {
    /// One CPU for everything.
    pub fn on(cpu: u16) -> Self {
        Self::Cpus(CpuList(vec![cpu]))
    }

    /// The number for a peer that takes only one; `None` where packets decide.
    pub fn first(&self) -> Option<u16> {
        match self {
            Self::Cpus(cpus) => cpus.iter().next(),
            Self::Incoming => None,
        }
    }

    /// Whether iperf3 has it: one CPU for everything.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Cpus(CpuList(cpus)) if cpus.len() == 1)
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpus(cpus) => cpus.fmt(f),
            Self::Incoming => f.write_str("incoming"),
        }
    }
}

/// The text names no CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPlacement;

impl FromStr for Placement {
    type Err = NoPlacement;

    fn from_str(text: &str) -> Result<Self, NoPlacement> {
        match text {
            "incoming" => Ok(Self::Incoming),
            list => list.parse().map(Self::Cpus),
        }
    }
}

/// CPUs without repetition, at least one, in the order in which threads are bound to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(Vec<u16>);

impl CpuList {
    /// The CPUs in their order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().copied()
    }

    /// The CPU of the `index`-th thread: each in turn.
    pub fn in_turn(&self, index: usize) -> u16 {
        self.0[index % self.0.len()]
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for run in self.0.chunk_by(|before, after| before + 1 == *after) {
            match run {
                [first, .., last] => write!(f, "{separator}{first}-{last}")?,
                [only] => write!(f, "{separator}{only}")?,
                [] => {}
            }
            separator = "+";
        }
        Ok(())
    }
}

impl FromStr for CpuList {
    type Err = NoPlacement;

    fn from_str(text: &str) -> Result<Self, NoPlacement> {
        let mut cpus = Vec::new();
        for part in text.split('+') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(NoPlacement);
            }
            for cpu in first..=last {
                if !cpus.contains(&cpu) {
                    cpus.push(cpu);
                }
            }
        }
        Ok(Self(cpus))
    }
}

fn number(text: &str) -> Result<u16, NoPlacement> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|cpu| is_plain && *cpu <= MAX_CPU);
    number.ok_or(NoPlacement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_lists_are_read_and_written() {
        for (text, cpus, written) in [
            ("3", &[3][..], "3"),
            ("0-3", &[0, 1, 2, 3], "0-3"),
            ("0+2-4", &[0, 2, 3, 4], "0+2-4"),
            ("7+1+1", &[7, 1], "7+1"),
            ("5-5", &[5], "5"),
            ("0-1+1-2", &[0, 1, 2], "0-2"),
            ("1024", &[1024], "1024"),
        ] {
            let list: CpuList = text.parse().unwrap();
            assert_eq!(list.iter().collect::<Vec<_>>(), cpus, "{text}");
            assert_eq!(list.to_string(), written);
            assert_eq!(written.parse(), Ok(list));
        }
    }

    #[test]
    fn what_names_no_cpus_is_refused() {
        for text in [
            "", "x", "-1", "1-", "3-1", "0,1", "1++2", "0-1025", "70000", "+1", "0x1-2",
        ] {
            assert_eq!(text.parse::<Placement>(), Err(NoPlacement), "{text}");
        }
    }

    #[test]
    fn threads_take_the_cpus_in_turn() {
        let list: CpuList = "4+0-1".parse().unwrap();
        assert_eq!([0, 1, 2, 3].map(|index| list.in_turn(index)), [4, 0, 1, 4]);
    }

    #[test]
    fn only_a_single_cpu_is_known_to_iperf3() {
        for (text, first, single) in [
            ("2", Some(2), true),
            ("2-3", Some(2), false),
            ("incoming", None, false),
        ] {
            let placement: Placement = text.parse().unwrap();
            assert_eq!((placement.first(), placement.is_single()), (first, single));
            assert_eq!(placement.to_string(), text);
        }
    }
}

//! What is compared, and how far ours has to be.

use crate::run::Run;

/// One of the figures of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Bits per second that receivers took out of their sockets, over all streams and both directions.
    Throughput,
    /// Datagrams per second that receivers took.
    Datagrams,
    /// CPU seconds of both processes for 10⁹ received bytes.
    Cpu,
    /// CPU seconds of the receiving process for 10⁹ received bytes.
    ReceiverCpu,
    /// Largest resident memory of the client plus that of the server, in bytes.
    Memory,
    /// Datagrams that did not arrive, in percent of those sent.
    Loss,
    /// Seconds from the start of the client to its end.
    Wall,
    /// Transactions per second.
    Transactions,
    /// The median of the round trips, in seconds; the mean where a tool has no median.
    Latency,
    /// The 99th percentile of the round trips, in seconds.
    Tail,
}

/// Every figure, in the order of the table.
pub const FIGURES: [Figure; 10] = [
    Figure::Throughput,
    Figure::Datagrams,
    Figure::Cpu,
    Figure::ReceiverCpu,
    Figure::Memory,
    Figure::Loss,
    Figure::Wall,
    Figure::Transactions,
    Figure::Latency,
    Figure::Tail,
];

/// What the median of a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The comparison is at least this.
    AtLeast(f64),
    /// The comparison is at most this.
    AtMost(f64),
    /// The ratio is 1 give or take this.
    Within(f64),
    /// Our own value is at most this, whatever the peer's.
    OursAtMost(f64),
}

impl Figure {
    /// Its value in a run, if that kind of run has it.
    pub fn of(self, run: &Run) -> Option<f64> {
        match self {
            Self::Throughput => Some(run.bits_per_second),
            Self::Datagrams => run.datagrams_per_second,
            Self::Cpu => run.per_gb(run.client.cpu + run.server.cpu),
            Self::ReceiverCpu => run.receiver().and_then(|process| run.per_gb(process.cpu)),
            Self::Memory => {
                let memory = run.client.memory + run.server.memory;
                (memory > 0).then_some(memory as f64)
            }
            Self::Loss => run.loss_percent,
            Self::Wall => Some(run.wall),
            Self::Transactions => run.exchanges.map(|exchanges| exchanges.per_second),
            Self::Latency => run.exchanges.map(|exchanges| exchanges.median),
            Self::Tail => run.exchanges.and_then(|exchanges| exchanges.tail),
        }
    }

    /// The name in tables and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Datagrams => "datagrams",
            Self::Cpu => "CPU",
            Self::ReceiverCpu => "receiver's CPU",
            Self::Memory => "memory",
            Self::Loss => "loss",
            Self::Wall => "wall time",
            Self::Transactions => "transactions",
            Self::Latency => "p50",
            Self::Tail => "p99",
        }
    }

    /// The unit of values that are shown, and the factor that leads to it.
    pub fn unit(self) -> (&'static str, f64) {
        match self {
            Self::Throughput => ("Gbit/s", 1e-9),
            Self::Datagrams | Self::Transactions => ("k/s", 1e-3),
            Self::Cpu | Self::ReceiverCpu => ("s/GB", 1.0),
            Self::Memory => ("MB", 1e-6),
            Self::Loss => ("%", 1.0),
            Self::Wall => ("ms", 1e3),
            Self::Latency | Self::Tail => ("µs", 1e6),
        }
    }

    /// Whether two values are compared by their difference: a ratio of losses is meaningless if one of them is 0.
    pub fn is_difference(self) -> bool {
        self == Self::Loss
    }

    /// Ours compared with the peer's.
    pub fn compare(self, ours: f64, peer: f64) -> f64 {
        if self.is_difference() {
            ours - peer
        } else {
            ours / peer
        }
    }
}

impl Goal {
    /// Whether it is met by the medians of the comparison and of our own values.
    pub fn is_met(self, comparison: f64, ours: f64) -> bool {
        match self {
            Self::AtLeast(limit) => comparison >= limit,
            Self::AtMost(limit) => comparison <= limit,
            Self::Within(limit) => (comparison - 1.0).abs() <= limit,
            Self::OursAtMost(limit) => ours <= limit,
        }
    }

    /// As the table shows it.
    pub fn text(self, figure: Figure) -> String {
        match self {
            Self::AtLeast(limit) => format!("≥ {limit}"),
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::Within(limit) => format!("1 ± {limit}"),
            Self::OursAtMost(limit) => {
                let (unit, factor) = figure.unit();
                format!("ours ≤ {} {unit}", limit * factor)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_have_two_sides() {
        assert!(Goal::AtLeast(1.3).is_met(1.3, 0.0) && !Goal::AtLeast(1.3).is_met(1.29, 9.0));
        assert!(Goal::AtMost(0.6).is_met(0.6, 9.0) && !Goal::AtMost(0.6).is_met(0.61, 0.0));
        assert!(Goal::Within(0.001).is_met(0.9991, 0.0));
        assert!(!Goal::Within(0.001).is_met(1.002, 0.0));
        assert!(Goal::OursAtMost(1.0).is_met(50.0, 0.9) && !Goal::OursAtMost(1.0).is_met(0.0, 1.1));
    }

    #[test]
    fn losses_are_subtracted() {
        assert!((Figure::Loss.compare(0.5, 0.0) - 0.5).abs() < 1e-9);
        assert!((Figure::Cpu.compare(0.5, 2.0) - 0.25).abs() < 1e-9);
    }
}

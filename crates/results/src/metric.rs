//! Figures of a run. A metric's name defines its unit and which way is better, so that figures of different tools
//! fit into one column.

use serde::{Deserialize, Serialize};

/// A figure of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The name, which [`definition`] knows.
    pub name: String,
    /// The value, always finite, in the unit of the name.
    pub value: f64,
}

impl Metric {
    /// The unit of the value.
    pub fn unit(&self) -> Unit {
        Unit::of(&self.name)
    }

    /// Which way the metric is better.
    pub fn better(&self) -> Better {
        Better::of(&self.name)
    }
}

/// What a value counts. Always base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bits per second.
    BitsPerSecond,
    /// Events per second: transactions, operations, messages.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Seconds of CPU time per 10⁹ bytes.
    SecondsPerGigabyte,
    /// 0 to 1.
    Ratio,
    /// A count, which may be 0.
    Count,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// The unit of a metric; of an unknown one it is a count.
    pub fn of(metric: &str) -> Self {
        definition(metric).map_or(Self::Count, |(unit, _)| unit)
    }

    /// The unit's symbol, as in `9.41 Gbit/s`; empty for counts and ratios.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::BitsPerSecond => "bit/s",
            Self::PerSecond => "/s",
            Self::Seconds => "s",
            Self::SecondsPerGigabyte => "s/GB",
            Self::Ratio | Self::Count => "",
            Self::Bytes => "B",
        }
    }
}

/// Which way a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// Neither: the figure describes the run.
    Neither,
}

impl Better {
    /// Which way a metric is better.
    pub fn of(metric: &str) -> Self {
        definition(metric).map_or(Self::Neither, |(_, better)| better)
    }
}

/// The metrics with fixed names, in the order in which reports show them.
const DEFINITIONS: &[(&str, Unit, Better)] = &[
    // What the receiver got. The reverse half of a bidirectional test has its own.
    ("throughput", Unit::BitsPerSecond, Better::Higher),
    ("throughput.reverse", Unit::BitsPerSecond, Better::Higher),
    ("throughput.sent", Unit::BitsPerSecond, Better::Neither),
    (
        "throughput.sent.reverse",
        Unit::BitsPerSecond,
        Better::Neither,
    ),
    // Both directions of a request/response test together.
    ("throughput.both", Unit::BitsPerSecond, Better::Neither),
    ("transactions", Unit::PerSecond, Better::Higher),
    ("operations", Unit::PerSecond, Better::Neither),
    ("messages", Unit::PerSecond, Better::Neither),
    // Probes beside a test: before the load, and how much longer they take during it.
    ("latency.idle", Unit::Seconds, Better::Lower),
    ("latency.increase", Unit::Seconds, Better::Lower),
    ("loss", Unit::Ratio, Better::Lower),
    ("loss.reverse", Unit::Ratio, Better::Lower),
    ("jitter", Unit::Seconds, Better::Lower),
    ("jitter.reverse", Unit::Seconds, Better::Lower),
    ("retransmits", Unit::Count, Better::Lower),
    ("retransmits.reverse", Unit::Count, Better::Lower),
    ("lost", Unit::Count, Better::Lower),
    ("lost.reverse", Unit::Count, Better::Lower),
    ("rtt", Unit::Seconds, Better::Lower),
    // Jain's index of what the streams received.
    ("fairness", Unit::Ratio, Better::Higher),
    ("fairness.reverse", Unit::Ratio, Better::Higher),
    ("cpu.sender", Unit::SecondsPerGigabyte, Better::Lower),
    ("cpu.receiver", Unit::SecondsPerGigabyte, Better::Lower),
    // Of all processes of a command or its server, counted by `iperf bench`.
    ("cpu.command", Unit::SecondsPerGigabyte, Better::Lower),
    ("cpu.server", Unit::SecondsPerGigabyte, Better::Lower),
    ("cpu.transaction.local", Unit::Seconds, Better::Lower),
    ("cpu.transaction.remote", Unit::Seconds, Better::Lower),
    ("zerocopy.tx.uncopied", Unit::Ratio, Better::Higher),
    ("zerocopy.rx.mapped", Unit::Ratio, Better::Higher),
    ("zerocopy.rx.spliced", Unit::Ratio, Better::Higher),
    ("bytes", Unit::Bytes, Better::Neither),
    ("seconds", Unit::Seconds, Better::Neither),
];

/// Unit and better direction of the metric `name`, or `None` if there is no such metric.
///
/// Besides the fixed names there are the latencies: `latency.` or `latency.call.` (the time in one call) followed by
/// `min`, `mean`, `max`, `stddev` or a percentile such as `p50` or `p99.9`; with `one_way.` the one-way delays; and with `connect.` and
/// `close.` how long a transaction's connection took to open and to close.
pub fn definition(name: &str) -> Option<(Unit, Better)> {
    let fixed = DEFINITIONS.iter().find(|(known, _, _)| *known == name);
    if let Some(&(_, unit, better)) = fixed {
        return Some((unit, better));
    }
    for (prefix, better) in [
        ("latency.call.", Better::Neither),
        ("latency.", Better::Lower),
        ("one_way.", Better::Lower),
        ("connect.", Better::Lower),
        ("close.", Better::Lower),
    ] {
        if let Some(figure) = name.strip_prefix(prefix) {
            let better = if figure == "stddev" {
                Better::Neither
            } else {
                better
            };
            return is_figure(figure).then_some((Unit::Seconds, better));
        }
    }
    None
}

/// What is wrong with a name that [`definition`] does not know: the message has those that it does.
pub fn unknown_metric(name: &str) -> String {
    let fixed: Vec<&str> = DEFINITIONS.iter().map(|(name, _, _)| *name).collect();
    format!(
        "no metric '{name}': there are {}, and min, mean, p50, p99.9, max… of latency, one_way, connect and close, such as \
         latency.p99",
        fixed.join(", ")
    )
}

/// The position of a metric in reports: the fixed ones in order, then latencies by rank.
pub(crate) fn order(name: &str) -> (usize, String) {
    let fixed = DEFINITIONS.iter().position(|(known, _, _)| *known == name);
    let seconds = DEFINITIONS.len();
    let (group, rest) = match fixed {
        Some(at) if at >= seconds - 2 => return (seconds + 10 + at, String::new()),
        Some(at) => return (at, String::new()),
        None => name.split_once('.').unwrap_or(("", name)),
    };
    // Latencies follow the transactions, from the least to the greatest.
    let rank = match rest {
        "min" => "0".into(),
        "mean" => "1".into(),
        "stddev" => "2".into(),
        "max" => "4".into(),
        percentile => format!("3{:0>8}", percentile.trim_start_matches('p')),
    };
    (8, format!("{group}{rank}"))
}

/// `min`, `mean`, `max`, `stddev`, or `p` and a percentile above 0 and at most 100.
fn is_figure(figure: &str) -> bool {
    matches!(figure, "min" | "mean" | "max" | "stddev")
        || figure
            .strip_prefix('p')
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
            .and_then(|digits| digits.parse::<f64>().ok())
            .is_some_and(|percent| percent > 0.0 && percent <= 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_defines_unit_and_direction() {
        assert_eq!(
            definition("throughput"),
            Some((Unit::BitsPerSecond, Better::Higher))
        );
        assert_eq!(
            definition("latency.p99.9"),
            Some((Unit::Seconds, Better::Lower))
        );
        assert_eq!(
            definition("latency.call.mean"),
            Some((Unit::Seconds, Better::Neither))
        );
        for unknown in [
            "",
            "latency",
            "latency.",
            "latency.p",
            "latency.p101",
            "latency.pinf",
            "thoughput",
        ] {
            assert_eq!(definition(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn reports_show_throughput_first_and_percentiles_by_rank() {
        let mut names = [
            "seconds",
            "latency.max",
            "latency.p99.9",
            "latency.p50",
            "latency.min",
            "throughput",
        ];
        names.sort_by_key(|name| order(name));
        let sorted = [
            "throughput",
            "latency.min",
            "latency.p50",
            "latency.p99.9",
            "latency.max",
            "seconds",
        ];
        assert_eq!(names, sorted);
    }
}

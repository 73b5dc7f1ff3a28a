//! From events to the members of a document: rates, sums over streams, and which end is the sender. Every derived number
//! is computed here, once, for text and JSON.
//!
//! A test has one or two *groups* of streams, one per direction of data. On both ends the group that carries the
//! client's data comes first:
//!
//! ```text
//!             client           server
//! forward     [sends]          [receives]
//! reverse     [receives]       [sends]
//! bidir       [sends] [rec.]   [receives] [sends]
//! ```

mod end;
pub(crate) mod exchange;
mod fairness;
mod interval;
mod start;
mod totals;

use std::time::Duration;

use iperf_model::{Direction, Role, TestConfig, Transport};

pub use fairness::jain_index;
pub(crate) use totals::{CopyReports, EndGroup, EndRow, EndTotals, FileRow};

/// Seconds with the resolution of output, a microsecond.
pub(crate) fn seconds(time: Duration) -> f64 {
    // Added in this order the sum is the same double as iperf3's, so rates agree to the last digit.
    time.as_secs() as f64 + f64::from(time.subsec_micros()) / 1e6
}

/// Bits per second; 0 if no time passed.
fn rate(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        bytes as f64 * 8.0 / seconds
    } else {
        0.0
    }
}

/// Lost datagrams in percent of all; 0 when there are none.
fn percent(lost: i64, all: u64) -> f64 {
    if all > 0 {
        100.0 * lost as f64 / all as f64
    } else {
        0.0
    }
}

/// A sum of counts. A peer's counts can be any number, so it stays at the largest one instead of overflowing.
fn total(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// A sum of losses, likewise.
fn total_lost(counts: impl Iterator<Item = i64>) -> i64 {
    counts.fold(0, i64::saturating_add)
}

/// A jitter in milliseconds. A peer's can be any number, and JSON has none beyond the largest one.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1000.0).clamp(f64::MIN, f64::MAX)
}

/// The mean of some jitters; 0 when there are none.
fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len();
    if count > 0 {
        (values.sum::<f64>() / count as f64).clamp(f64::MIN, f64::MAX)
    } else {
        0.0
    }
}

/// Which way data goes that this end has in a role.
pub(crate) fn direction_of(role: Role, is_client: bool) -> &'static str {
    if role.sends() == is_client {
        "client to server"
    } else {
        "server to client"
    }
}

/// Whether the streams of a test are rows of datagrams. Those of a request/response test are rows of bytes.
fn counts_datagrams(config: &TestConfig) -> bool {
    config.transport == Transport::Udp && config.exchange.is_none()
}

/// Whether this end sends, for each group of a test in the order of output.
fn roles(config: &TestConfig, is_client: bool) -> Vec<Role> {
    let sends = match config.direction {
        Direction::Forward => vec![is_client],
        Direction::Reverse => vec![!is_client],
        Direction::Bidirectional => vec![is_client, !is_client],
    };
    sends.into_iter().map(Role::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_divided_by_nothing_is_zero() {
        assert_eq!(rate(0, 0.0).to_bits(), 0);
        assert_eq!(rate(100, 0.0).to_bits(), 0);
        assert_eq!(percent(-3, 0).to_bits(), 0);
        assert_eq!(mean([].into_iter()).to_bits(), 0);
    }

    #[test]
    fn no_jitter_is_infinite() {
        for jitter in [f64::MAX, f64::MIN] {
            assert_eq!(milliseconds(jitter).to_bits(), jitter.to_bits());
            assert_eq!(mean([jitter; 2].into_iter()).to_bits(), jitter.to_bits());
        }
    }

    #[test]
    fn seconds_have_microseconds() {
        assert_eq!(
            seconds(Duration::from_nanos(2_003_071_999)).to_bits(),
            (2.0_f64 + 0.003_071).to_bits()
        );
    }
}

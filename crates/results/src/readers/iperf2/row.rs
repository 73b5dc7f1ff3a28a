//! A line of figures: `[  1] 0.0000-2.0298 sec   654 MBytes  2.70 Gbits/sec  …`. iperf3's have the same form.

use crate::figures::{amount, binary, decimal, leading};

/// The figures that all kinds of lines begin with, and the rest.
#[derive(Debug, PartialEq)]
pub(in crate::readers) struct Row<'a> {
    /// `1`, `*1`, `SUM`, `FD1`.
    pub(in crate::readers) id: &'a str,
    /// iperf3's role in a bidirectional test, `TX-C`.
    pub(in crate::readers) role: &'a str,
    pub(in crate::readers) start: f64,
    pub(in crate::readers) end: f64,
    pub(in crate::readers) bytes: f64,
    /// Bits per second.
    pub(in crate::readers) rate: f64,
    pub(in crate::readers) rest: &'a str,
}

/// The row in a line, after a stamp or title.
pub(in crate::readers) fn row(line: &str) -> Option<Row<'_>> {
    let (_, after) = line.split_once('[')?;
    let (id, after) = after.split_once(']')?;
    let (role, after) = match after.strip_prefix('[') {
        Some(role) => role.split_once(']')?,
        None => ("", after),
    };
    let (times, after) = after.split_once(" sec ")?;
    let (start, end) = times.trim().split_once('-')?;
    let (bytes, after) = figure(after)?;
    let (rate, rest) = figure(after)?;
    Some(Row {
        id: id.trim(),
        role,
        start: amount(start)?,
        end: amount(end)?,
        bytes: bytes.0
            * binary(
                bytes
                    .1
                    .strip_suffix("Bytes")
                    .or_else(|| bytes.1.strip_suffix("Byte"))?,
            )?,
        rate: rate_of(rate.0, rate.1)?,
        rest: rest.trim(),
    })
}

/// A number and its unit, and what follows.
fn figure(text: &str) -> Option<((f64, &str), &str)> {
    let (value, rest) = leading(text)?;
    let (unit, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    (value >= 0.0).then_some(((value, unit), rest))
}

/// Bits are 1000-based, bytes 1024-based.
fn rate_of(value: f64, unit: &str) -> Option<f64> {
    let unit = unit.strip_suffix("/sec")?;
    match unit.strip_suffix("bits") {
        Some(prefix) => Some(value * decimal(prefix)?),
        None => Some(value * 8.0 * binary(unit.strip_suffix("Bytes")?)?),
    }
}

/// `a/b/c/d` in milliseconds, as seconds.
pub(super) fn four_times(text: &str) -> Option<[f64; 4]> {
    let mut four = [0.0; 4];
    let mut parts = text.split('/');
    for value in &mut four {
        *value = amount(parts.next()?)? * 1e-3;
    }
    parts.next().is_none().then_some(four)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_programs_are_read() {
        let two =
            row("[ *1] 0.0000-2.0045 sec   568 MBytes  2.38 Gbits/sec  4546/0          9").unwrap();
        assert_eq!(
            (two.id, two.start, two.end, two.rate, two.rest),
            ("*1", 0.0, 2.0045, 2.38e9, "4546/0          9")
        );
        assert!((two.bytes - 568.0 * 1_048_576.0).abs() < 1.0);
        let three =
            row("t:  [  5][TX-C]   0.00-1.02   sec  5.06 KBytes  41.8 MBytes/sec    0   sender")
                .unwrap();
        assert_eq!(
            (three.id, three.role, three.rate),
            ("5", "TX-C", 41.8 * 8.0 * 1_048_576.0)
        );
    }

    #[test]
    fn other_lines_are_no_rows() {
        for line in [
            "[ ID] Interval       Transfer     Bandwidth",
            "[  1] Sent 17836 datagrams",
            "[  1] local 127.0.0.1 port 44296 connected with 127.0.0.1 port 5301",
            "[  1] 0.0000-2.0049 sec BB8(f)-PDF: bin(w=100us):cnt(20)=1:16",
            "[  1] -1-2 sec 1 MBytes 1 Mbits/sec",
            "",
        ] {
            assert_eq!(row(line), None, "{line}");
        }
    }
}

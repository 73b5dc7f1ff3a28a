//! The progress lines of a run: `Txn2  1.60GB / 3.20(s) = 4.28Gb/s 8175op/s`, or with `-R`
//! `timestamp_ms:T name:Txn2 nr_bytes:B nr_ops:O`.

use crate::figures::{amount, binary, decimal, leading};
use crate::record::MAX_SAMPLES;

/// The phases of a run, one a `<transaction>`.
#[derive(Default)]
pub(super) struct Phases {
    phases: Vec<Phase>,
}

/// The progress lines of a phase.
#[derive(Debug)]
pub(super) struct Phase {
    /// The transaction's number, from 1.
    pub(super) number: u64,
    /// With `-R` the figures are exact.
    pub(super) exact: bool,
    /// When it began, in seconds since 1970; only with `-R`.
    pub(super) began: Option<f64>,
    /// The points, cumulative: the first and the last always, and those between that fit.
    pub(super) points: Vec<Point>,
    pub(super) last: Point,
}

/// What had been done at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) seconds: f64,
    pub(super) bytes: f64,
    pub(super) operations: f64,
}

/// At most this many phases are distinguished; a profile has a handful.
const MAX_PHASES: usize = 1000;

impl Phases {
    pub(super) fn line(&mut self, text: &str) {
        // With -v other output shares the line.
        let text = &text[text
            .find("timestamp_ms:")
            .or_else(|| text.find("Txn"))
            .unwrap_or(text.len())..];
        if let Some((number, at, bytes, operations)) = exact(text) {
            let phase = self.phase(number, true);
            let began = *phase.began.get_or_insert(at);
            phase.add(Point {
                seconds: at - began,
                bytes,
                operations,
            });
        } else if let Some((number, point)) = rounded(text) {
            self.phase(number, false).add(point);
        }
    }

    /// The phase in which most operations were made.
    pub(super) fn busy(&self) -> Option<&Phase> {
        self.phases
            .iter()
            .max_by(|a, b| a.last.operations.total_cmp(&b.last.operations))
    }

    fn phase(&mut self, number: u64, exact: bool) -> &mut Phase {
        let same = self
            .phases
            .last()
            .is_some_and(|phase| phase.number == number);
        if !same {
            if self.phases.len() == MAX_PHASES {
                self.phases.remove(0);
            }
            let last = Point {
                seconds: 0.0,
                bytes: 0.0,
                operations: 0.0,
            };
            self.phases.push(Phase {
                number,
                exact,
                began: None,
                points: Vec::new(),
                last,
            });
        }
        self.phases.last_mut().expect("one was just added")
    }
}

impl Phase {
    fn add(&mut self, point: Point) {
        if self.points.len() < MAX_SAMPLES {
            self.points.push(point);
        }
        self.last = point;
    }

    /// Bits per second over the whole phase.
    pub(super) fn rate(&self) -> f64 {
        self.last.bytes * 8.0 / self.last.seconds
    }
}

/// Number, time in seconds, bytes and operations of a line of `-R`.
fn exact(text: &str) -> Option<(u64, f64, f64, f64)> {
    let mut fields = text.strip_prefix("timestamp_ms:")?.split(' ');
    let at = amount(fields.next()?)? / 1e3;
    let number = fields.next()?.strip_prefix("name:Txn")?.parse().ok()?;
    let bytes = amount(fields.next()?.strip_prefix("nr_bytes:")?)?;
    let operations = amount(fields.next()?.strip_prefix("nr_ops:")?)?;
    Some((number, at, bytes, operations))
}

/// Number and figures of a line for people. Its rate has three digits, its time two decimals; the bytes may have
/// lost their unit, so that bytes are the rate times the time.
fn rounded(text: &str) -> Option<(u64, Point)> {
    let (name, rest) = text.strip_prefix("Txn")?.split_once(char::is_whitespace)?;
    let number = name.parse().ok()?;
    let (_, rest) = rest.split_once('/')?;
    let (time, rest) = rest.split_once("(s)")?;
    let seconds = amount(time.trim())?;
    let mut figures = rest.trim_start().strip_prefix('=')?.split_whitespace();
    let bits = figures.next().and_then(rate)?;
    let operations = figures.next()?.split("op/s").next().and_then(amount)?;
    Some((
        number,
        Point {
            seconds,
            bytes: bits * seconds / 8.0,
            operations: operations * seconds,
        },
    ))
}

/// Bits per second of `4.28Gb/s`, 1000-based, or of a bare 0.
pub(super) fn rate(text: &str) -> Option<f64> {
    let (value, unit) = leading(text)?;
    if unit.is_empty() {
        return (value == 0.0).then_some(0.0);
    }
    Some(value * decimal(unit.strip_suffix("b/s")?)?)
}

/// Bytes of `1.60GB` or of `1020.00MB`, 1024-based, as the run table prints them.
pub(super) fn bytes(text: &str) -> Option<f64> {
    let (value, unit) = leading(text)?;
    Some(value * binary(unit.strip_suffix('B')?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_rate_times_the_time_where_the_unit_was_cut_off() {
        let (number, point) =
            rounded("Txn2     1020.00 /   2.01(s) =     4.26Gb/s         507op/s").unwrap();
        assert_eq!((number, point.seconds), (2, 2.01));
        assert!(
            (point.bytes - 1_069_547_520.0).abs() < 0.003 * point.bytes,
            "{point:?}"
        );
    }

    #[test]
    fn the_busy_phase_is_the_one_with_most_operations() {
        let mut phases = Phases::default();
        phases.line("Txn1          0 /   1.00(s) =            0           1op/s");
        phases.line("Txn2     1.60GB /   3.20(s) =     4.28Gb/s        8175op/s");
        // A short phase at a high rate does not count.
        phases.line("Txn3          0 /   0.00(s) =            0       50000op/s");
        assert_eq!(phases.busy().unwrap().number, 2);
    }

    #[test]
    fn exact_lines_are_measured_from_the_first_of_the_phase() {
        let mut phases = Phases::default();
        phases.line("timestamp_ms:1000.0000 name:Txn2 nr_bytes:0 nr_ops:0");
        phases.line("timestamp_ms:3000.0000 name:Txn2 nr_bytes:1000 nr_ops:10");
        let phase = phases.busy().unwrap();
        assert_eq!(
            (phase.last.seconds, phase.rate(), phase.began),
            (2.0, 4000.0, Some(1.0))
        );
    }
}

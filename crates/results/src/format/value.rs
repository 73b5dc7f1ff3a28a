//! Values for people: scaled, with three or four digits and their unit.

use std::fmt::{Arguments, Write as _};

use crate::metric::Unit;

/// `9.41 Gbit/s`, `12.3 µs`, `95.0 %`, `1234`.
pub(crate) fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::BitsPerSecond | Unit::PerSecond => scaled(value, unit.symbol()),
        Unit::Seconds => time(value),
        Unit::SecondsPerGigabyte => format!("{} {}", digits(value), unit.symbol()),
        Unit::Ratio => format!("{} %", digits(value * 100.0)),
        Unit::Count => digits(value),
        Unit::Bytes => scaled(value, "B"),
    }
}

fn scaled(value: f64, unit: &str) -> String {
    let prefixes = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (scale, prefix) = prefixes
        .into_iter()
        .find(|(scale, _)| value.abs() >= *scale)
        .unwrap_or((1.0, ""));
    format!("{} {prefix}{unit}", digits(value / scale))
}

fn time(seconds: f64) -> String {
    let units = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
    let size = seconds.abs();
    let (scale, unit) = units
        .into_iter()
        .find(|(scale, _)| size >= *scale)
        .unwrap_or((1.0, "s"));
    format!("{} {unit}", digits(seconds / scale))
}

/// Three significant digits, four below 10 000, and no decimals where the value has none.
fn digits(value: f64) -> String {
    if !value.is_finite() {
        return if value > 0.0 {
            "∞".into()
        } else {
            "-∞".into()
        };
    }
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e6 {
        return format!("{value:.0}");
    }
    match size {
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.2e}"),
    }
}

/// A change in percent with its sign, or a difference in the metric's unit.
pub(crate) fn change(value: f64, difference: bool, unit: Unit) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    if difference {
        return format!("{sign}{}", show(value, unit));
    }
    if value.is_infinite() {
        return format!("{sign}∞");
    }
    format!("{sign}{:.1} %", value * 100.0)
}

/// p with two digits.
pub(crate) fn p(value: f64) -> String {
    if value < 0.001 {
        format!("{value:.1e}")
    } else {
        format!("{value:.3}")
    }
}

/// Appends what was formatted.
pub(crate) fn push(out: &mut String, text: Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "a string takes every write");
}

/// Text without what a terminal, a table or XML would take for more than text.
pub(crate) fn plain(text: &str) -> String {
    let harmless = |c: char| {
        let turns = matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { ' ' } else { c }
    };
    text.chars().map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_scaled_to_what_people_read() {
        for (value, unit, shown) in [
            (9.412e9, Unit::BitsPerSecond, "9.41 Gbit/s"),
            (43_969_949.4, Unit::BitsPerSecond, "44.0 Mbit/s"),
            (0.0, Unit::BitsPerSecond, "0 bit/s"),
            (0.000_012_34, Unit::Seconds, "12.3 µs"),
            (2.0, Unit::Seconds, "2 s"),
            (0.0, Unit::Seconds, "0 s"),
            (0.951, Unit::Ratio, "95.1 %"),
            (14.0, Unit::Count, "14"),
            (28_818.4, Unit::PerSecond, "28.8 k/s"),
            (0.2226, Unit::SecondsPerGigabyte, "0.22 s/GB"),
        ] {
            assert_eq!(show(value, unit), shown);
        }
        assert_eq!(change(-0.2, false, Unit::Seconds), "-20.0 %");
        assert_eq!(change(3.0, true, Unit::Count), "+3");
        assert_eq!(change(f64::INFINITY, false, Unit::Count), "+∞");
    }

    #[test]
    fn text_of_others_cannot_steer_a_terminal() {
        assert_eq!(plain("a\x1b[31m\u{202e}b\n"), "a [31m b ");
    }
}

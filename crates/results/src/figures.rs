//! Numbers in texts, with the units that tools glue to them.

use std::fmt;

/// A number that is finite: `nan`, `-nan` and `inf` are how C prints what was not measured.
pub(crate) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    plain
        .then(|| text.parse().ok())
        .flatten()
        .filter(|value: &f64| value.is_finite())
}

/// A number that is 0 or more.
pub(crate) fn amount(text: &str) -> Option<f64> {
    number(text).filter(|value| *value >= 0.0)
}

/// The number at the beginning of `text`, and what follows it.
pub(crate) fn leading(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+'))
        .unwrap_or(text.len());
    Some((number(&text[..end])?, text[end..].trim()))
}

/// The first number behind `key` in `text`, as in `cpu = 12 %`.
pub(crate) fn after(text: &str, key: &str) -> Option<f64> {
    let at = text.find(key)? + key.len();
    leading(&text[at..]).map(|(value, _)| value)
}

/// Seconds of a number with `s`, `ms`, `us`, `ns` or `sec`, `msec`, `usec`, `nsec`.
pub(crate) fn seconds(text: &str) -> Option<f64> {
    let (value, unit) = leading(text)?;
    let scale = match unit {
        "s" | "sec" => 1.0,
        "ms" | "msec" => 1e-3,
        "us" | "usec" => 1e-6,
        "ns" | "nsec" => 1e-9,
        _ => return None,
    };
    Some(value * scale)
}

/// The factor of a 1000-based prefix.
pub(crate) fn decimal(prefix: &str) -> Option<f64> {
    Some(match prefix {
        "" => 1.0,
        "k" | "K" => 1e3,
        "m" | "M" => 1e6,
        "g" | "G" => 1e9,
        "t" | "T" => 1e12,
        _ => return None,
    })
}

/// The factor of a 1024-based prefix.
pub(crate) fn binary(prefix: &str) -> Option<f64> {
    Some(match prefix {
        "" => 1.0,
        "k" | "K" => 1024.0,
        "m" | "M" => 1_048_576.0,
        "g" | "G" => 1_073_741_824.0,
        "t" | "T" => 1_099_511_627_776.0,
        _ => return None,
    })
}

/// A whole number that fits, for counts that were read as floats.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked before"
)]
pub(crate) fn whole(value: f64) -> Option<u64> {
    (0.0..9e18).contains(&value).then_some(value.round() as u64)
}

/// The quantile `share` (0 to 1) of values in order, between two of them by linear interpolation. There must be one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index into the slice"
)]
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() - 1) as f64 * share;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Text cut to what an error message can hold.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown: String = self
            .0
            .trim()
            .chars()
            .filter(|c| !c.is_control())
            .take(61)
            .collect();
        if shown.chars().count() > 60 {
            shown = shown.chars().take(57).chain("...".chars()).collect();
        }
        write!(f, "\"{shown}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_no_number() {
        for text in [
            "nan",
            "-nan",
            "inf",
            "",
            "-",
            "0xffffffff",
            "1e999",
            "Deprecated",
            "1 2",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number(" -0.5 "), Some(-0.5));
        assert_eq!(amount("-1"), None);
    }

    #[test]
    fn units_are_glued_or_not() {
        assert_eq!(seconds("306.51us"), Some(306.51 * 1e-6));
        assert_eq!(seconds("29 us"), Some(29.0 * 1e-6));
        assert_eq!(seconds("3"), None);
        assert_eq!(leading("3.20(s) ="), Some((3.2, "(s) =")));
        assert_eq!(after("a = 5 b = 7x", "b ="), Some(7.0));
    }
}

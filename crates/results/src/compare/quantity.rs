//! Values as people write them on a command line: `9.4G`, `200us`, `95%`.

use crate::figures::{decimal, leading};
use crate::metric::Unit;

/// A value in the unit of a metric.
pub(super) fn value(text: &str, unit: Unit) -> Result<f64, String> {
    let wrong = || format!("'{text}' must be {}", expected(unit));
    let (number, suffix) = leading(text).ok_or_else(wrong)?;
    let scale = match unit {
        Unit::BitsPerSecond => {
            let prefix = ["bit/s", "bits/s", "bps"]
                .iter()
                .find_map(|end| suffix.strip_suffix(end))
                .unwrap_or(suffix);
            decimal(prefix.trim())
        }
        Unit::PerSecond | Unit::Count => decimal(suffix.strip_suffix("/s").unwrap_or(suffix)),
        Unit::Bytes => decimal(suffix.strip_suffix('B').unwrap_or(suffix)),
        Unit::Ratio => match suffix {
            "%" => Some(0.01),
            "" => Some(1.0),
            _ => None,
        },
        Unit::Seconds => match suffix {
            "s" => Some(1.0),
            "ms" => Some(1e-3),
            "us" | "µs" => Some(1e-6),
            "ns" => Some(1e-9),
            _ => None,
        },
        Unit::SecondsPerGigabyte => matches!(suffix, "" | "s" | "s/GB").then_some(1.0),
    };
    scale.map(|scale| number * scale).ok_or_else(wrong)
}

fn expected(unit: Unit) -> &'static str {
    match unit {
        Unit::BitsPerSecond => "a rate, such as 9.4G or 500Mbit/s",
        Unit::PerSecond => "a rate, such as 20k",
        Unit::Count => "a count",
        Unit::Bytes => "a size, such as 10G",
        Unit::Ratio => "a share, such as 95% or 0.95",
        Unit::Seconds => "a time, such as 200us, 1.5ms or 2s",
        Unit::SecondsPerGigabyte => "a CPU time, such as 0.2 or 0.2s/GB",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_units_of_their_metric() {
        for (text, unit, expected) in [
            ("9.4G", Unit::BitsPerSecond, Some(9.4e9)),
            ("500Mbit/s", Unit::BitsPerSecond, Some(5e8)),
            ("200us", Unit::Seconds, Some(2e-4)),
            ("200", Unit::Seconds, None),
            ("95%", Unit::Ratio, Some(0.95)),
            ("20k", Unit::PerSecond, Some(2e4)),
            ("fast", Unit::BitsPerSecond, None),
            ("", Unit::Count, None),
        ] {
            let read = value(text, unit);
            match expected {
                Some(expected) => assert!(
                    (read.unwrap() - expected).abs() < expected * 1e-12,
                    "{text}"
                ),
                None => assert!(read.is_err(), "{text}: {read:?}"),
            }
        }
    }
}

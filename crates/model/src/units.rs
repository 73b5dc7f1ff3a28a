//! Numbers with a unit letter, as iperf3 writes them on the command line.

use thiserror::Error;

/// Why a text is no number with a unit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid unit value or suffix: '{0}'")]
pub struct UnitError(pub String);

/// Parses a size: the letters k, m, g and t (of either case) mean 2^10, 2^20, 2^30 and 2^40. As in iperf3, what
/// follows the letter does not count (`10MB` is `10M`); it is returned too.
pub fn parse_binary(text: &str) -> Result<(f64, &str), UnitError> {
    parse(text, 1024.0)
}

/// Parses a rate: the letters k, m, g and t (of either case) mean 10^3, 10^6, 10^9 and 10^12. What follows the letter
/// is returned too.
pub fn parse_decimal(text: &str) -> Result<(f64, &str), UnitError> {
    parse(text, 1000.0)
}

/// A leading float, then at most one unit letter.
fn parse(text: &str, base: f64) -> Result<(f64, &str), UnitError> {
    let error = || UnitError(text.to_owned());
    let (number, rest) = split_float(text).ok_or_else(error)?;
    let power = match rest.chars().next().map(|c| c.to_ascii_lowercase()) {
        None => 0,
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some(_) => return Err(error()),
    };
    let letter = usize::from(power > 0);
    Ok((number * base.powi(power), &rest[letter..]))
}

/// Splits a text into the number that C's `strtod` finds at its start and the rest: a decimal float, a hexadecimal
/// whole number, `inf`, `infinity` or `nan`.
pub fn split_float(text: &str) -> Option<(f64, &str)> {
    let trimmed = text.trim_start();
    split_special(trimmed).or_else(|| split_decimal(trimmed))
}

/// What is not written in decimal digits.
fn split_special(text: &str) -> Option<(f64, &str)> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (-1.0, unsigned),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let words = [
        ("infinity", f64::INFINITY),
        ("inf", f64::INFINITY),
        ("nan", f64::NAN),
    ];
    for (word, number) in words {
        if let Some((start, rest)) = unsigned.split_at_checked(word.len())
            && start.eq_ignore_ascii_case(word)
        {
            return Some((sign * number, rest));
        }
    }
    let digits = unsigned
        .strip_prefix("0x")
        .or_else(|| unsigned.strip_prefix("0X"))?;
    let end = digits.find(|c: char| !c.is_ascii_hexdigit());
    let (digits, rest) = digits.split_at(end.unwrap_or(digits.len()));
    if digits.is_empty() {
        return None;
    }
    let add = |number: f64, digit: char| 16.0 * number + f64::from(digit.to_digit(16).unwrap_or(0));
    Some((sign * digits.chars().fold(0.0, add), rest))
}

fn split_decimal(trimmed: &str) -> Option<(f64, &str)> {
    let bytes = trimmed.as_bytes();
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let mut end = sign + digits(sign);
    let mut any_digit = end > sign;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        any_digit |= fraction > 0;
        end += 1 + fraction;
    }
    if !any_digit {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let number = trimmed[..end].trim_end_matches('.').parse().ok()?;
    Some((number, &trimmed[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_scale_by_their_base() {
        assert_eq!(parse_binary("128K"), Ok((131_072.0, "")));
        assert_eq!(parse_binary("1.5m"), Ok((1_572_864.0, "")));
        assert_eq!(parse_decimal("1g"), Ok((1e9, "")));
        assert_eq!(parse_decimal("2T"), Ok((2e12, "")));
        assert_eq!(parse_decimal("1e6"), Ok((1e6, "")));
        assert_eq!(parse_decimal("-5M"), Ok((-5e6, "")));
        assert_eq!(parse_decimal("5."), Ok((5.0, "")));
        assert_eq!(parse_decimal(".5"), Ok((0.5, "")));
    }

    #[test]
    fn text_behind_the_unit_letter_is_ignored() {
        assert_eq!(parse_decimal("10MB"), Ok((1e7, "B")));
        assert_eq!(parse_binary("1Kx"), Ok((1024.0, "x")));
    }

    #[test]
    fn numbers_are_those_of_strtod() {
        assert_eq!(parse_binary("0x10"), Ok((16.0, "")));
        assert_eq!(parse_decimal("-0X1fk"), Ok((-31_000.0, "")));
        assert_eq!(parse_decimal("inf"), Ok((f64::INFINITY, "")));
        assert_eq!(split_float("-Infinity!"), Some((f64::NEG_INFINITY, "!")));
        let (number, rest) = split_float("NaN").unwrap();
        assert!(number.is_nan() && rest.is_empty());
        assert_eq!(split_float("0x"), Some((0.0, "x")));
        assert_eq!(split_float("infx"), Some((f64::INFINITY, "x")));
    }

    #[test]
    fn other_texts_are_refused_whole() {
        for text in ["", "x", "10X", "abc", "K", ".", "-", "e5"] {
            assert_eq!(parse_binary(text), Err(UnitError(text.to_owned())));
        }
    }
}

//! The text behind an option, and the ways to read it.
//!
//! iperf3 reads a number as far as it goes and takes nothing for 0. Here a number must be one from its first
//! character to its last. Where iperf3 refuses what it would have read, it is refused in the same words; where
//! iperf3 goes on with a number that nobody wrote, it is refused in our own.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use iperf_model::units;

use crate::error::ParameterError;
use crate::options::Spec;

/// The value of an option, or a part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    spec: &'static Spec,
    /// What was written, for messages.
    whole: &'a OsStr,
    /// What is to be read.
    part: &'a OsStr,
}

impl<'a> Value<'a> {
    pub(crate) fn new(spec: &'static Spec, whole: &'a OsStr) -> Self {
        Self {
            spec,
            whole,
            part: whole,
        }
    }

    /// The error that says what the value must be.
    pub(crate) fn refuse(&self, must: impl Into<String>) -> ParameterError {
        ParameterError::value(self.spec, self.whole, must)
    }

    /// The part before a separator and what follows it, if it is there.
    pub(crate) fn split(self, separator: char) -> Result<(Self, Option<Self>), ParameterError> {
        let text = self.str()?;
        let part = |text: &'a str| Self {
            part: OsStr::new(text),
            ..self
        };
        Ok(match text.split_once(separator) {
            Some((first, rest)) => (part(first), Some(part(rest))),
            None => (self, None),
        })
    }

    /// The text as it stands.
    pub(crate) fn str(&self) -> Result<&'a str, ParameterError> {
        self.part
            .to_str()
            .ok_or_else(|| self.refuse("text in UTF-8"))
    }

    /// The text as it stands.
    pub(crate) fn string(&self) -> Result<String, ParameterError> {
        self.str().map(str::to_owned)
    }

    /// The name of a file.
    pub(crate) fn path(&self) -> PathBuf {
        OsString::from(self.part).into()
    }

    /// Whether nothing is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.part.is_empty()
    }

    /// A decimal whole number. `outside` is for what iperf3 would find out of range, which is 0 for no number.
    pub(crate) fn integer<T: TryFrom<i64>>(
        &self,
        range: RangeInclusive<i64>,
        outside: impl Into<ParameterError>,
    ) -> Result<T, ParameterError> {
        let number = leading_integer(self.str()?, false);
        let (read, rest) = number.unwrap_or((0, ""));
        self.whole_number(read, number.is_some() && rest.is_empty(), &range, outside)
    }

    /// A whole number in the notations of C: 10, 0x10 or 010. `outside` is for what iperf3 would refuse, which no
    /// number at all is too.
    pub(crate) fn c_integer<T: TryFrom<i64>>(
        &self,
        range: RangeInclusive<i64>,
        outside: impl Into<ParameterError>,
    ) -> Result<T, ParameterError> {
        match leading_integer(self.str()?, true) {
            Some((read, rest)) => self.whole_number(read, rest.is_empty(), &range, outside),
            None => Err(outside.into()),
        }
    }

    fn whole_number<T: TryFrom<i64>>(
        &self,
        read: i64,
        complete: bool,
        range: &RangeInclusive<i64>,
        outside: impl Into<ParameterError>,
    ) -> Result<T, ParameterError> {
        match T::try_from(read) {
            Ok(number) if range.contains(&read) => {
                if complete {
                    Ok(number)
                } else {
                    Err(self.refuse(between("a whole number", range)))
                }
            }
            _ => Err(outside.into()),
        }
    }

    /// Seconds with a fraction: 0, or within the range.
    pub(crate) fn seconds(
        &self,
        range: &RangeInclusive<f64>,
        outside: impl Into<ParameterError>,
    ) -> Result<Duration, ParameterError> {
        let number = units::split_float(self.str()?);
        let (read, rest) = number.unwrap_or((0.0, ""));
        if read != 0.0 && !range.contains(&read) {
            return Err(outside.into());
        }
        if number.is_none() || !rest.is_empty() {
            return Err(self.refuse(format!("0 or {}", between("a number of seconds", range))));
        }
        Ok(Duration::from_secs_f64(read))
    }

    /// A number whose unit letters are powers of 1024, rounded down.
    pub(crate) fn size<T: TryFrom<i64>>(
        &self,
        range: RangeInclusive<i64>,
        outside: impl Into<ParameterError>,
    ) -> Result<T, ParameterError> {
        self.scaled(units::parse_binary(self.str()?)?, range, outside)
    }

    /// A number whose unit letters are powers of 1000, rounded down.
    pub(crate) fn rate(&self) -> Result<u64, ParameterError> {
        let range = 0..=i64::MAX;
        let outside = self.refuse("from 0 to less than 2^63 bits per second");
        self.scaled(units::parse_decimal(self.str()?)?, range, outside)
    }

    fn scaled<T: TryFrom<i64>>(
        &self,
        number: f64,
        range: RangeInclusive<i64>,
        outside: impl Into<ParameterError>,
    ) -> Result<T, ParameterError> {
        if 0.0 < number && number < 1.0 {
            // Rounded down it would be 0, which means no limit or the default.
            return Err(self.refuse("0, or 1 or more"));
        }
        let read = round_down(number);
        match T::try_from(read) {
            Ok(number) if range.contains(&read) && read != i64::MAX => Ok(number),
            _ => Err(outside.into()),
        }
    }
}

fn between<T: Display>(what: &str, range: &RangeInclusive<T>) -> String {
    format!("{what} from {} to {}", range.start(), range.end())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what is too large becomes i64::MAX"
)]
fn round_down(number: f64) -> i64 {
    number.floor() as i64
}

/// The whole number that a text begins with and what follows it, as strtol reads it: too large a number becomes the
/// largest. With `c_notation` 0x begins a hexadecimal and 0 an octal number.
fn leading_integer(text: &str, c_notation: bool) -> Option<(i64, &str)> {
    let text = text.trim_start();
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (-1, unsigned),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = unsigned
        .strip_prefix("0x")
        .or_else(|| unsigned.strip_prefix("0X"));
    let (radix, digits) = match hexadecimal {
        Some(digits) if c_notation && digits.starts_with(|c: char| c.is_ascii_hexdigit()) => {
            (16, digits)
        }
        _ if c_notation && unsigned.starts_with('0') => (8, unsigned),
        _ => (10, unsigned),
    };
    let end = digits
        .find(|c: char| !c.is_digit(radix))
        .unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).unwrap_or(i64::MAX);
    Some((sign * number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Local, OPTIONS, Opt};
    use iperf_proto::Code;

    fn value(text: &str) -> Value<'_> {
        let port = |spec: &&Spec| spec.opt == Opt::Local(Local::Port);
        Value::new(OPTIONS.iter().find(port).unwrap(), OsStr::new(text))
    }

    fn said<T: std::fmt::Debug>(result: Result<T, ParameterError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn whole_numbers_are_read_to_their_end() {
        let read = |text| value(text).integer::<u16>(0..=100, Code::TOS);
        assert_eq!(read("100").unwrap(), 100);
        assert_eq!(read("+7").unwrap(), 7);
        assert_eq!(read("007").unwrap(), 7);
        for text in ["", "x", "1.9", "2x", "5 ", "0x10", "-", "1e1"] {
            assert_eq!(
                said(read(text)),
                format!(
                    "invalid value '{text}' for -p/--port: must be a whole number from 0 to 100"
                )
            );
        }
        for text in [
            "101",
            "-1",
            "101x",
            "-1.5",
            "99999999999999999999",
            "-99999999999999999999",
        ] {
            assert_eq!(said(read(text)), Code::TOS.text(), "{text}");
        }
    }

    #[test]
    fn no_number_is_out_of_a_range_without_zero() {
        for text in ["", "x", "0", "0x10"] {
            let read = value(text).integer::<u16>(1..=100, Code::PORT);
            assert_eq!(said(read), Code::PORT.text(), "{text}");
        }
    }

    #[test]
    fn numbers_of_c_have_three_notations() {
        let read = |text| value(text).c_integer::<u32>(0..=255, Code::TOS);
        assert_eq!(read("16").unwrap(), 16);
        assert_eq!(read("0x1F").unwrap(), 31);
        assert_eq!(read("0XfF").unwrap(), 255);
        assert_eq!(read("010").unwrap(), 8);
        assert_eq!(read("0").unwrap(), 0);
        for text in ["", "x", "256", "-1", "0x100"] {
            assert_eq!(said(read(text)), Code::TOS.text(), "{text}");
        }
        for text in ["0x", "0x1g", "08", "5x"] {
            assert!(said(read(text)).starts_with("invalid value"), "{text}");
        }
    }

    #[test]
    fn a_type_narrower_than_its_range_cannot_wrap() {
        assert_eq!(
            said(value("70000").integer::<u16>(0..=100_000, Code::TOS)),
            Code::TOS.text()
        );
        assert_eq!(
            said(value("1G").size::<u16>(0..=i64::MAX, Code::TOS)),
            Code::TOS.text()
        );
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        let read = |text| value(text).seconds(&(0.1..=60.0), Code::INTERVAL);
        assert_eq!(read("0.1").unwrap(), Duration::from_millis(100));
        assert_eq!(read("0").unwrap(), Duration::ZERO);
        assert_eq!(read("-0").unwrap(), Duration::ZERO);
        assert_eq!(read("6e1").unwrap(), Duration::from_mins(1));
        for text in ["0.05", "61", "-1", "1e99", "70x"] {
            assert_eq!(said(read(text)), Code::INTERVAL.text(), "{text}");
        }
        for text in ["", "abc", "nan", "inf", "1x"] {
            assert!(said(read(text)).ends_with("must be 0 or a number of seconds from 0.1 to 60"));
        }
    }

    #[test]
    fn units_scale_and_are_rounded_down() {
        let size = |text| value(text).size::<u32>(0..=4096, Code::BLOCK_SIZE);
        assert_eq!(size("1.5k").unwrap(), 1536);
        assert_eq!(size("1.9").unwrap(), 1);
        assert_eq!(size("0").unwrap(), 0);
        assert_eq!(said(size("5K")), Code::BLOCK_SIZE.text());
        assert_eq!(said(size("-1")), Code::BLOCK_SIZE.text());
        assert_eq!(said(size("-0.5")), Code::BLOCK_SIZE.text());
        assert_eq!(said(size("1X")), "invalid unit value or suffix: '1X'");
        assert!(said(size("0.5")).ends_with("must be 0, or 1 or more"));
        assert_eq!(value("10M").rate().unwrap(), 10_000_000);
        assert!(said(value("1e30").rate()).starts_with("invalid value '1e30'"));
    }

    #[test]
    fn a_part_is_refused_with_the_whole() {
        let (first, rest) = value("5/x").split('/').unwrap();
        assert_eq!(first.rate().unwrap(), 5);
        let refused = said(rest.unwrap().integer::<u16>(0..=9, Code::BURST));
        assert!(refused.starts_with("invalid value '5/x' for -p/--port"));
        assert!(value("5").split('/').unwrap().1.is_none());
    }
}

//! Reading the value of an option.
//!
//! Numbers are read as iperf3 reads them: trailing text is ignored, and text without a number is 0. When text is
//! ignored, a note states what was understood, and becomes a warning. What iperf3 rejects is rejected in its words;
//! in our own words, so is a mistake that would mean a flood, an endless test or a negative amount.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use iperf_model::{BitRate, units};

use crate::error::ParameterError;
use crate::options::Spec;

/// Notes about values that were not read to their end.
#[derive(Debug, Default)]
pub(crate) struct Notes(RefCell<Vec<String>>);

impl Notes {
    /// One warning each.
    pub(crate) fn into_warnings(self) -> Vec<String> {
        self.0.into_inner()
    }
}

/// The value of an option, or a part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    spec: &'static Spec,
    notes: &'a Notes,
    /// The whole value, for messages.
    whole: &'a OsStr,
    /// The part to read.
    part: &'a OsStr,
}

impl<'a> Value<'a> {
    pub(crate) fn new(spec: &'static Spec, whole: &'a OsStr, notes: &'a Notes) -> Self {
        Self {
            spec,
            notes,
            whole,
            part: whole,
        }
    }

    /// The error that states what the value must be.
    pub(crate) fn refuse(&self, must: impl Into<String>) -> ParameterError {
        ParameterError::value(self.spec, self.whole, must)
    }

    /// The part before a separator, and the part after it if there is a separator.
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

    /// The text itself.
    pub(crate) fn str(&self) -> Result<&'a str, ParameterError> {
        self.part
            .to_str()
            .ok_or_else(|| self.refuse("text in UTF-8"))
    }

    /// The text itself.
    pub(crate) fn string(&self) -> Result<String, ParameterError> {
        self.str().map(str::to_owned)
    }

    /// The name of a file.
    pub(crate) fn path(&self) -> PathBuf {
        OsString::from(self.part).into()
    }

    /// Whether the text is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.part.is_empty()
    }

    /// Adds a note that the text was read as something that the user may not have meant.
    pub(crate) fn note(&self, understood: impl Display) {
        let option = self.spec.name();
        let text = self.part.to_string_lossy();
        let note = format!("{option}: '{text}' is read as {understood}");
        self.notes.0.borrow_mut().push(note);
    }

    /// A decimal whole number, as `atoi` reads it: 0 if there is none. `outside` is the error for a number out of
    /// range.
    pub(crate) fn integer<T: TryFrom<i64> + Display>(
        &self,
        range: RangeInclusive<i64>,
        outside: impl Into<ParameterError>,
    ) -> Result<T, ParameterError> {
        self.whole_number(leading_integer(self.str()?, false), &range, outside)
    }

    /// A whole number in C's notations, as `strtol` reads it: 10, 0x10 or 010. `outside` is the error for a number out
    /// of range, and for text without a number.
    pub(crate) fn c_integer<T: TryFrom<i64> + Display>(
        &self,
        range: RangeInclusive<i64>,
        outside: impl Into<ParameterError>,
    ) -> Result<T, ParameterError> {
        match leading_integer(self.str()?, true) {
            None => Err(outside.into()),
            number => self.whole_number(number, &range, outside),
        }
    }

    /// Whether the text is a whole number in C's notations and nothing else.
    pub(crate) fn is_c_integer(&self) -> bool {
        let number = self.part.to_str().map(|text| leading_integer(text, true));
        matches!(number, Some(Some((_, ""))))
    }

    fn whole_number<T: TryFrom<i64> + Display>(
        &self,
        number: Option<(i64, &str)>,
        range: &RangeInclusive<i64>,
        outside: impl Into<ParameterError>,
    ) -> Result<T, ParameterError> {
        let (read, rest) = number.unwrap_or((0, ""));
        match T::try_from(read) {
            Ok(read_as) if range.contains(&read) => {
                if number.is_none() || !rest.is_empty() {
                    self.note(&read_as);
                }
                Ok(read_as)
            }
            _ => Err(outside.into()),
        }
    }

    /// Whole seconds after which something ends. 0 means never and must be written as `0` or `inf`: a typo must not
    /// become it.
    pub(crate) fn time_limit(
        &self,
        longest: i64,
        outside: impl Into<ParameterError>,
    ) -> Result<u32, ParameterError> {
        let text = self.str()?;
        let endless = ["inf", "infinity"];
        if endless.iter().any(|word| text.eq_ignore_ascii_case(word)) {
            self.note("0, which is without end");
            return Ok(0);
        }
        match self.integer(0..=longest, outside)? {
            0 if !matches!(leading_integer(text, false), Some((0, ""))) => Err(self.refuse(
                format!("a whole number from 1 to {longest}, or 0 or inf for no end"),
            )),
            seconds => Ok(seconds),
        }
    }

    /// Seconds with a fraction, as `atof` reads them: 0, or within the range.
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
            self.note(read);
        }
        Ok(Duration::from_secs_f64(read))
    }

    /// A number and nothing else, for options that iperf3 does not have. `must` states the range.
    pub(crate) fn strict<T: FromStr + PartialOrd>(
        &self,
        range: &RangeInclusive<T>,
        must: &str,
    ) -> Result<T, ParameterError> {
        let number = self.str()?.parse().ok();
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| self.refuse(must))
    }

    /// A number whose unit letters are powers of 1024, rounded down.
    pub(crate) fn size<T: TryFrom<i64> + Display>(
        &self,
        range: RangeInclusive<i64>,
        outside: impl Into<ParameterError>,
    ) -> Result<T, ParameterError> {
        let (number, rest) = units::parse_binary(self.str()?)?;
        self.scaled(
            number,
            rest.is_empty() && !is_fraction(number),
            &range,
            outside,
        )
    }

    /// Bits per second: a number whose unit letters are powers of 1000, rounded down. 0 means no limit.
    pub(crate) fn rate(&self) -> Result<BitRate, ParameterError> {
        let (number, rest) = units::parse_decimal(self.str()?)?;
        if is_fraction(number) {
            // Rounded down it would be 0, which is no limit.
            let allowed = "0 for no limit, or from 1 to 9223372036854775807 bits per second";
            return Err(self.refuse(allowed));
        }
        let outside = self.refuse("from 0 to 9223372036854775807 bits per second");
        let bits = self.scaled(number, rest.is_empty(), &(0..=i64::MAX), outside)?;
        Ok(BitRate::new(bits))
    }

    fn scaled<T: TryFrom<i64> + Display>(
        &self,
        number: f64,
        exact: bool,
        range: &RangeInclusive<i64>,
        outside: impl Into<ParameterError>,
    ) -> Result<T, ParameterError> {
        let read = round_down(number);
        match T::try_from(read) {
            Ok(read_as) if range.contains(&read) && number <= LARGEST => {
                if !exact {
                    self.note(&read_as);
                }
                Ok(read_as)
            }
            _ => Err(outside.into()),
        }
    }
}

/// The largest whole number, 2^63 - 1, as it is read: there is no nearer floating-point number.
const LARGEST: f64 = 9_223_372_036_854_775_808.0;

/// Whether a number becomes 0 when it is rounded down, though it is not.
fn is_fraction(number: f64) -> bool {
    0.0 < number && number < 1.0
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

    /// Reads a text as the value of an option, and returns the notes too.
    fn read<T>(
        text: &str,
        read: impl FnOnce(Value<'_>) -> Result<T, ParameterError>,
    ) -> (Result<T, String>, Vec<String>) {
        let port = |spec: &&Spec| spec.opt == Opt::Local(Local::Port);
        let spec = OPTIONS.iter().find(port).unwrap();
        let notes = Notes::default();
        let result = read(Value::new(spec, OsStr::new(text), &notes));
        (
            result.map_err(|error| error.to_string()),
            notes.into_warnings(),
        )
    }

    /// What a text that is read whole means.
    fn exact<T>(text: &str, by: impl FnOnce(Value<'_>) -> Result<T, ParameterError>) -> T {
        let (result, notes) = read(text, by);
        assert!(notes.is_empty(), "{text}: {notes:?}");
        result.unwrap()
    }

    /// What another text is taken to mean, with the note about it.
    fn noted<T: Display>(text: &str, by: impl FnOnce(Value<'_>) -> Result<T, ParameterError>) -> T {
        let (result, notes) = read(text, by);
        let result = result.unwrap();
        assert_eq!(notes, [format!("-p/--port: '{text}' is read as {result}")]);
        result
    }

    fn refused<T: std::fmt::Debug>(
        text: &str,
        by: impl FnOnce(Value<'_>) -> Result<T, ParameterError>,
    ) -> String {
        let (result, _) = read(text, by);
        result.unwrap_err()
    }

    #[test]
    fn whole_numbers_are_those_of_atoi() {
        let by = |value: Value<'_>| value.integer::<u16>(0..=100, Code::TOS);
        for (text, number) in [("100", 100), ("+7", 7), ("007", 7), (" 5", 5), ("-0", 0)] {
            assert_eq!(exact(text, by), number, "{text}");
        }
        for (text, number) in [
            ("", 0),
            ("x", 0),
            ("-", 0),
            ("1.9", 1),
            ("2x", 2),
            ("5 ", 5),
            ("0x10", 0),
            ("1e1", 1),
        ] {
            assert_eq!(noted(text, by), number, "{text}");
        }
        for text in ["101", "-1", "101x", "-1.5", "99999999999999999999"] {
            assert_eq!(refused(text, by), Code::TOS.text(), "{text}");
        }
    }

    #[test]
    fn no_number_is_out_of_a_range_without_zero() {
        for text in ["", "x", "0", "0x10"] {
            let by = |value: Value<'_>| value.integer::<u16>(1..=100, Code::PORT);
            assert_eq!(refused(text, by), Code::PORT.text(), "{text}");
        }
    }

    #[test]
    fn numbers_of_c_have_three_notations() {
        let by = |value: Value<'_>| value.c_integer::<u32>(0..=255, Code::TOS);
        for (text, number) in [
            ("16", 16),
            ("0x1F", 31),
            ("0XfF", 255),
            ("010", 8),
            ("0", 0),
        ] {
            assert_eq!(exact(text, by), number, "{text}");
        }
        for (text, number) in [("0x", 0), ("0x1g", 1), ("08", 0), ("5x", 5), ("2/2", 2)] {
            assert_eq!(noted(text, by), number, "{text}");
        }
        for text in ["", "x", "256", "-1", "0x100"] {
            assert_eq!(refused(text, by), Code::TOS.text(), "{text}");
        }
    }

    #[test]
    fn an_endless_test_has_to_be_meant() {
        let by = |value: Value<'_>| value.time_limit(86_400, Code::DURATION);
        assert_eq!(exact("0", by), 0);
        assert_eq!(exact("86400", by), 86_400);
        assert_eq!(noted("10s", by), 10);
        assert_eq!(noted("1.9", by), 1);
        for text in ["inf", "INF", "Infinity"] {
            let (result, notes) = read(text, by);
            assert_eq!(result, Ok(0));
            let note = format!("-p/--port: '{text}' is read as 0, which is without end");
            assert_eq!(notes, [note]);
        }
        for text in ["abc", "", "0.5", "0x5", "0s", "=5"] {
            assert_eq!(
                refused(text, by),
                format!(
                    "invalid value '{text}' for -p/--port: must be a whole number from 1 to 86400, or 0 or inf for \
                     no end"
                )
            );
        }
        for text in ["-1", "86401", "-1s"] {
            assert_eq!(refused(text, by), Code::DURATION.text(), "{text}");
        }
    }

    #[test]
    fn a_type_narrower_than_its_range_cannot_wrap() {
        let integer = |value: Value<'_>| value.integer::<u16>(0..=100_000, Code::TOS);
        assert_eq!(refused("70000", integer), Code::TOS.text());
        let size = |value: Value<'_>| value.size::<u16>(0..=i64::MAX, Code::TOS);
        assert_eq!(refused("1G", size), Code::TOS.text());
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        let by = |value: Value<'_>| value.seconds(&(0.1..=60.0), Code::INTERVAL);
        for (text, ms) in [
            ("0.1", 100),
            ("0", 0),
            ("-0", 0),
            ("6e1", 60_000),
            ("0x10", 16_000),
        ] {
            assert_eq!(exact(text, by), Duration::from_millis(ms), "{text}");
        }
        for (text, ms, note) in [
            ("", 0, "0"),
            ("abc", 0, "0"),
            ("1x", 1000, "1"),
            ("0.5s", 500, "0.5"),
        ] {
            let (result, notes) = read(text, by);
            assert_eq!(result, Ok(Duration::from_millis(ms)));
            assert_eq!(notes, [format!("-p/--port: '{text}' is read as {note}")]);
        }
        for text in ["0.05", "61", "-1", "1e99", "70x", "inf", "nan"] {
            assert_eq!(refused(text, by), Code::INTERVAL.text(), "{text}");
        }
    }

    #[test]
    fn units_scale_and_are_rounded_down() {
        let size = |value: Value<'_>| value.size::<u32>(0..=4096, Code::BLOCK_SIZE);
        for (text, bytes) in [("1.5k", 1536), ("1.9", 1), ("0", 0), ("0x10", 16)] {
            assert_eq!(exact(text, size), bytes, "{text}");
        }
        for (text, bytes) in [("1KB", 1024), ("3Kx", 3072), ("0.5", 0), ("0.5K", 512)] {
            if text == "0.5K" {
                assert_eq!(exact(text, size), bytes);
            } else {
                assert_eq!(noted(text, size), bytes, "{text}");
            }
        }
        for text in ["5K", "-1", "-0.5", "inf", "nan", "1e30"] {
            assert_eq!(refused(text, size), Code::BLOCK_SIZE.text(), "{text}");
        }
        assert_eq!(refused("1X", size), "invalid unit value or suffix: '1X'");
    }

    #[test]
    fn a_rate_that_would_become_no_limit_is_refused() {
        let rate = |value: Value<'_>| value.rate().map(BitRate::bits);
        assert_eq!(exact("10M", rate), 10_000_000);
        assert_eq!(exact("0", rate), 0);
        assert_eq!(exact("9223372036854775807", rate), i64::MAX as u64);
        assert_eq!(noted("10Mbit", rate), 10_000_000);
        for text in ["1e30", "inf", "nan", "-5M", "-0.1", "9223372036854777856"] {
            assert_eq!(
                refused(text, rate),
                format!(
                    "invalid value '{text}' for -p/--port: must be from 0 to 9223372036854775807 bits per second"
                )
            );
        }
        assert!(
            refused("0.5", rate).ends_with(
                "must be 0 for no limit, or from 1 to 9223372036854775807 bits per second"
            )
        );
    }

    #[test]
    fn a_part_is_refused_with_the_whole_and_noted_alone() {
        let burst = |value: Value<'_>| {
            let (rate, burst) = value.split('/')?;
            rate.rate()?;
            burst.unwrap().integer::<u16>(0..=9, value.refuse("R/B"))
        };
        assert!(refused("5/10", burst).starts_with("invalid value '5/10' for -p/--port"));
        let (result, notes) = read("5/7x", burst);
        assert_eq!(result, Ok(7));
        assert_eq!(notes, ["-p/--port: '7x' is read as 7"]);
    }
}

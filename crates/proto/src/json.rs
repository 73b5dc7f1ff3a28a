//! Peers' JSON, read as leniently as iperf3 reads it.
//!
//! serde_json checks the syntax and cuts an object into pairs of key and raw text; what a text means is decided
//! where a key is read. So unknown keys cost nothing, and these habits of real peers are understood:
//!
//! * keys are compared without case, and the first of several wins;
//! * what follows the first complete value is ignored; a value that is no object acts as an empty one;
//! * numbers may carry a fraction (dropped) or an exponent; 3.12 and 3.13 write −1 as 18446744073709551615;
//! * a value of the wrong type acts as if the key were absent.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::shown;

/// Why a JSON message can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// It is not JSON.
    #[error("malformed JSON: {0}")]
    Syntax(String),
    /// A required member is missing.
    #[error("no \"{0}\"")]
    Missing(&'static str),
    /// Only one of the two counters of the omitted period is present.
    #[error("omitted_errors and omitted_packets come only together")]
    HalfOmitted,
}

/// The text of a message. Invalid UTF-8 is replaced: it can only be in free text.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The members of an object in their order, unread.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, ParseError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // The rest of the text does not matter and is not checked.
        Self::deserialize(&mut serde_json::Deserializer::from_str(text))
            // It may quote the text.
            .map_err(|e| ParseError::Syntax(shown::line(&e.to_string())))
    }

    fn raw(&self, key: &str) -> Option<&'a str> {
        let (_, value) = self.0.iter().find(|(k, _)| k.eq_ignore_ascii_case(key))?;
        Some(value.get())
    }

    /// Whether a flag is set: its presence counts, and `false` is as good as `true`.
    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.raw(key), Some("true" | "false"))
    }

    /// A number, unless it is too large for a double.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        let number: f64 = self.raw(key).filter(|t| is_number(t))?.parse().ok()?;
        number.is_finite().then_some(number)
    }

    pub(crate) fn integer(&self, key: &str) -> Option<i64> {
        let text = self.raw(key).filter(|t| is_number(t))?;
        text.parse().ok().or_else(|| text.parse().ok().map(narrow))
    }

    /// A text as it may be shown within a line.
    pub(crate) fn string(&self, key: &str) -> Option<String> {
        self.secret(key).map(|text| shown::line(&text))
    }

    /// A text as it may be shown, of several lines.
    pub(crate) fn block(&self, key: &str) -> Option<String> {
        self.secret(key).map(|text| shown::block(&text))
    }

    /// A text that is never shown, as it is.
    pub(crate) fn secret(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.raw(key)?).ok()
    }

    /// The text of a member that is an object, as the peer wrote it.
    pub(crate) fn object(&self, key: &str) -> Option<&'a str> {
        self.raw(key).filter(|t| t.starts_with('{'))
    }

    /// A boolean that is `true`.
    pub(crate) fn truth(&self, key: &str) -> bool {
        self.raw(key) == Some("true")
    }

    /// The members of a member that is an object.
    pub(crate) fn member(&self, key: &str) -> Option<Fields<'a>> {
        serde_json::from_str(self.object(key)?).ok()
    }

    /// The objects of a member that is an array; an element of another type acts as an empty object.
    pub(crate) fn objects(&self, key: &str) -> Option<Vec<Fields<'a>>> {
        serde_json::from_str(self.raw(key).filter(|t| t.starts_with('['))?).ok()
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// A number that is no plain 64-bit integer, as one. Real peers end up with −1 for anything from 2^63 on.
#[expect(
    clippy::cast_possible_truncation,
    reason = "fractions are dropped and what is too small saturates, as peers do"
)]
fn narrow(number: f64) -> i64 {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if number >= TWO_TO_63 {
        -1
    } else {
        number as i64
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Fields(pairs))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Fields::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Fields::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Fields::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Fields::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Fields::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Fields::default())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Fields::default())
    }
}

/// The members of an object under construction, in their order. What is absent is left out.
#[derive(Default)]
pub(crate) struct Members(Map<String, Value>);

impl Members {
    /// `true`, or nothing.
    pub(crate) fn flag(&mut self, key: &str, on: bool) {
        self.put(key, on.then_some(Value::Bool(true)));
    }

    pub(crate) fn int(&mut self, key: &str, value: Option<i64>) {
        self.put(key, value.map(Value::from));
    }

    pub(crate) fn string(&mut self, key: &str, value: Option<&str>) {
        self.put(key, value.map(Value::from));
    }

    pub(crate) fn put(&mut self, key: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.0.insert(key.to_owned(), value);
        }
    }

    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// A number for the wire: without a fraction where it has none, as peers write it; never `null`, which they refuse.
pub(crate) fn wire_number(number: f64) -> serde_json::Number {
    /// Up to here a double holds every integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the value is integral and in range"
    )]
    let integer = |number: f64| serde_json::Number::from(number as i64);
    if number.fract() == 0.0 && number.abs() <= EXACT {
        integer(number)
    } else {
        serde_json::Number::from_f64(number).unwrap_or_else(|| 0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(value: &str) -> Option<i64> {
        let text = format!(r#"{{"n":{value}}}"#);
        Fields::parse(&text).unwrap().integer("n")
    }

    #[test]
    fn numbers_are_taken_leniently() {
        assert_eq!(integer("5"), Some(5));
        assert_eq!(integer("2.7"), Some(2));
        assert_eq!(integer("-2.7"), Some(-2));
        assert_eq!(integer("1e3"), Some(1000));
        assert_eq!(integer("1.5E+1"), Some(15));
        assert_eq!(integer("-0"), Some(0));
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
    }

    #[test]
    fn minus_one_may_be_an_unsigned_number() {
        assert_eq!(integer("18446744073709551615"), Some(-1));
        assert_eq!(integer("9223372036854775808"), Some(-1));
        assert_eq!(integer("1e400"), Some(-1));
    }

    #[test]
    fn numbers_out_of_range_saturate() {
        assert_eq!(integer("-9223372036854775809"), Some(i64::MIN));
        assert_eq!(integer("-1e400"), Some(i64::MIN));
    }

    #[test]
    fn fractions_are_kept_where_they_are_wanted() {
        let fields = Fields::parse(r#"{"a":2.5,"b":-3,"c":1e400,"d":5e-324}"#).unwrap();
        let number = |key| fields.number(key);
        assert_eq!((number("a"), number("b")), (Some(2.5), Some(-3.0)));
        assert_eq!((number("c"), number("d")), (None, Some(5e-324)));
    }

    #[test]
    fn a_wrong_type_acts_as_absent() {
        for value in ["null", "true", "\"5\"", "[5]", "{}"] {
            assert_eq!(integer(value), None, "{value}");
        }
        let fields = Fields::parse(r#"{"t":5,"f":1,"o":[],"a":{},"x":null}"#).unwrap();
        assert_eq!(fields.string("t"), None);
        assert!(!fields.flag("f"));
        assert_eq!(fields.object("o"), None);
        assert!(fields.objects("a").is_none());
        assert_eq!(fields.number("x"), None);
    }

    #[test]
    fn keys_ignore_case_and_the_first_duplicate_wins() {
        let fields = Fields::parse(r#"{"Time":3,"TIME":4,"time":"x"}"#).unwrap();
        assert_eq!(fields.integer("time"), Some(3));
        let fields = Fields::parse(r#"{"time":"x","time":4}"#).unwrap();
        assert_eq!(fields.integer("time"), None);
    }

    #[test]
    fn flags_are_set_by_their_presence() {
        let fields = Fields::parse(r#"{"on":true,"off":false}"#).unwrap();
        assert!(fields.flag("on") && fields.flag("off"));
        assert!(!fields.flag("absent"));
    }

    #[test]
    fn trailing_text_is_ignored() {
        for tail in ["garbage", "\0", "}", " {\"n\":2}"] {
            let text = format!("\u{feff} {{\"n\":1}}{tail}");
            assert_eq!(Fields::parse(&text).unwrap().integer("n"), Some(1));
        }
    }

    #[test]
    fn other_values_act_as_an_empty_object() {
        for text in [
            "[]",
            "[1,{\"n\":1}]",
            "5",
            "-5",
            "5.5",
            "\"n\"",
            "true",
            "null",
        ] {
            assert!(Fields::parse(text).unwrap().0.is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for text in ["", " ", "{", "{\"n\"}", "{\"n\":1", "[1", "nul", "{n:1}"] {
            assert!(
                matches!(Fields::parse(text), Err(ParseError::Syntax(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn deep_nesting_is_no_recursion() {
        let deep = format!(
            "{{\"x\":{}1{},\"n\":7}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(Fields::parse(&deep).unwrap().integer("n"), Some(7));
        assert!(Fields::parse(&"[".repeat(100_000)).is_err());
        let streams = format!(
            "{{\"s\":[{}1{}]}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let _ = Fields::parse(&streams).unwrap().objects("s");
    }

    #[test]
    fn numbers_for_the_wire_have_a_fraction_only_if_needed() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (2.0, "2"),
            (-1.0, "-1"),
            (1.001_866, "1.001866"),
            (0.409_387_839_555_437_34, "0.40938783955543734"),
            (f64::NAN, "0"),
            (f64::INFINITY, "0"),
        ] {
            assert_eq!(wire_number(number).to_string(), text);
        }
    }
}

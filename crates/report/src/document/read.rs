//! Reads documents of all versions, and what else prints them.
//!
//! A document of today has the types of [`Document`](super::Document) and is read straight into them. Others are read
//! as plain JSON first, and their differences are corrected there:
//!
//! - A repeated key: a second `sum`, `sum_sent` or `sum_received` is that of the reverse direction (3.9, 3.10).
//!   Of any other key the last value counts.
//! - `null`: a rate over no time, before 3.20. The key reads as absent, so the number is 0.
//! - −1 in place of a count that is not known: the key reads as absent. `lost_packets` may be negative, and 3.12 and
//!   3.13 print that as a number near 2⁶⁴.
//! - A count with a fraction part of 0, or with an exponent.

use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Number, Value};

/// The longest text that is read as plain JSON, in bytes. That takes many times its size.
const LONGEST_REPAIRED: usize = 64 << 20;

/// Why text is not a document or a line of one.
#[derive(Debug, thiserror::Error)]
#[error("not an iperf3 result: {}{kind}", in_line(*.line))]
pub struct ReadError {
    line: Option<usize>,
    #[source]
    kind: Kind,
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("an array, not an object")]
    Array,
    #[error("no line of JSON")]
    NoLines,
}

fn in_line(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!("line {line}: "))
}

impl ReadError {
    pub(super) fn no_lines() -> Self {
        Kind::NoLines.into()
    }

    pub(super) fn in_line(self, line: usize) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }
}

impl From<Kind> for ReadError {
    fn from(kind: Kind) -> Self {
        Self { line: None, kind }
    }
}

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> Self {
        Kind::from(error).into()
    }
}

/// Reads a document or a line.
pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, ReadError> {
    // An array would be read as the members of a document without their names.
    if text.trim_start().starts_with('[') {
        return Err(Kind::Array.into());
    }
    let error = match serde_json::from_str(text) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    if !error.is_data() || text.len() > LONGEST_REPAIRED {
        return Err(error.into());
    }
    let Repaired(value) = serde_json::from_str(text)?;
    // The first error knows its place in the text.
    serde_json::from_value(value).map_err(|second| {
        let repaired = error.to_string().starts_with("duplicate field");
        if repaired { second } else { error }.into()
    })
}

/// Reads a document that is plain JSON already.
pub(super) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ReadError> {
    let Repaired(value) = Repaired::deserialize(value)?;
    Ok(serde_json::from_value(value)?)
}

/// Plain JSON in which nothing is written as only some versions do.
struct Repaired(Value);

impl<'de> Deserialize<'de> for Repaired {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RepairedVisitor).map(Self)
    }
}

struct RepairedVisitor;

impl<'de> Visitor<'de> for RepairedVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(integer(value).map_or_else(|| value.into(), Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Repaired(value)) = elements.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((key, Repaired(value))) = entries.next_entry::<String, _>()? {
            insert(&mut members, key, value);
        }
        Ok(members.into())
    }
}

fn insert(members: &mut Map<String, Value>, key: String, value: Value) {
    let value = match value {
        Value::Null => return,
        Value::Number(number) if key == "lost_packets" => signed(&number).into(),
        // Times may precede the start by a rounding error, and then have a fraction.
        Value::Number(number) if number.as_i64().is_some_and(|n| n < 0) => return,
        other => other,
    };
    let repeated = matches!(key.as_str(), "sum" | "sum_sent" | "sum_received");
    if repeated && members.contains_key(&key) {
        members.insert(key + "_bidir_reverse", value);
    } else {
        members.insert(key, value);
    }
}

/// A number of losses; one near 2⁶⁴ is negative.
fn signed(number: &Number) -> Number {
    match number.as_u64() {
        Some(unsigned) => unsigned.cast_signed().into(),
        None => number.clone(),
    }
}

/// A float that is a whole number as an integer, if it fits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is whole and within the type"
)]
fn integer(value: f64) -> Option<Number> {
    const END_OF_U64: f64 = 18_446_744_073_709_551_616.0;
    const END_OF_I64: f64 = 9_223_372_036_854_775_808.0;
    if value.fract() != 0.0 {
        None
    } else if (0.0..END_OF_U64).contains(&value) {
        Some((value as u64).into())
    } else if (-END_OF_I64..0.0).contains(&value) {
        Some((value as i64).into())
    } else {
        None
    }
}

//! Reading JSON outputs without ceremony.

use std::fmt;

use serde::de::{self, Deserialize, MapAccess, SeqAccess, Visitor};
use serde_json::{Deserializer, Map, Number, Value};

static NOTHING: Value = Value::Null;

/// Parses a document. Of a key that occurs twice, which real programs write, the last one counts.
pub fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str::<LastWins>(text).map(|LastWins(value)| value)
}

/// The value at a JSON pointer; `null` if there is none.
pub fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&NOTHING)
}

/// The integer at a pointer. 3.12 writes −1 as an unsigned 64-bit number.
pub fn int(value: &Value, pointer: &str) -> Option<i64> {
    let number = at(value, pointer);
    number
        .as_i64()
        .or_else(|| number.as_u64().map(u64::cast_signed))
}

/// The number at a pointer.
pub fn float(value: &Value, pointer: &str) -> Option<f64> {
    at(value, pointer).as_f64()
}

/// How many seconds the intervals of a document stand for together, to the nearest whole number.
pub fn seconds(intervals: &[Value]) -> f64 {
    let time = |interval, key: &str| float(interval, &format!("/sum/{key}")).unwrap_or(0.0);
    let lengths = intervals
        .iter()
        .map(|interval| time(interval, "end") - time(interval, "start"));
    lengths.sum::<f64>().round()
}

/// The string at a pointer.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    at(value, pointer).as_str()
}

/// The elements of the array at a pointer; none if there is no array.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer).as_array().map_or(&[], Vec::as_slice)
}

/// The whole documents in a text that holds one after another; an unfinished last one is left out.
pub fn documents(text: &str) -> Vec<Value> {
    Deserializer::from_str(text)
        .into_iter::<LastWins>()
        .map_while(Result::ok)
        .map(|LastWins(value)| value)
        .collect()
}

/// A value in which the last of two equal keys counts, and its place too.
struct LastWins(Value);

impl<'de> Deserialize<'de> for LastWins {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(LastWins(value)) = elements.next_element()? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, LastWins(value))) = members.next_entry::<String, _>()? {
            object.shift_remove(&key);
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pointers_find_values_and_miss_quietly() {
        let value = json!({"a": {"b": [1, 2.5, "x", 18_446_744_073_709_551_615_u64]}});
        assert_eq!(int(&value, "/a/b/0"), Some(1));
        assert_eq!(float(&value, "/a/b/1"), Some(2.5));
        assert_eq!(text(&value, "/a/b/2"), Some("x"));
        assert_eq!(int(&value, "/a/b/3"), Some(-1));
        assert_eq!(list(&value, "/a/b").len(), 4);
        assert_eq!(int(&value, "/a/c"), None);
        assert!(list(&value, "/nothing").is_empty());
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        let value = parse(r#"{"a": 1, "b": [true, null, 2.5, {"x": "y"}], "a": -2}"#).unwrap();
        assert_eq!(
            value.to_string(),
            r#"{"b":[true,null,2.5,{"x":"y"}],"a":-2}"#
        );
        assert!(parse("{\"a\":").is_err());
    }

    #[test]
    fn documents_end_at_the_unfinished_one() {
        assert_eq!(
            documents("{\"a\":1}\n{\"b\":2}\n{\"c\":"),
            [json!({"a":1}), json!({"b":2})]
        );
    }
}

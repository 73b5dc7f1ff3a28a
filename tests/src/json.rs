//! Reading JSON outputs without ceremony.

use serde_json::{Deserializer, Value};

static NOTHING: Value = Value::Null;

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
        .into_iter::<Value>()
        .map_while(Result::ok)
        .collect()
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
    fn documents_end_at_the_unfinished_one() {
        assert_eq!(
            documents("{\"a\":1}\n{\"b\":2}\n{\"c\":"),
            [json!({"a":1}), json!({"b":2})]
        );
    }
}

//! The shape of a JSON document: its keys, their order and the types of their values, without the values.
//!
//! ```text
//! {"a": [{"b": 1}, {"b": 2}, {"c": "x"}]}   ──►   a[0].b: int
//!                                                 a[1].c: string
//! ```
//!
//! The elements of an array that have the same shape are one; so a document with two intervals and one with three
//! have the same shape, and one whose sending and receiving streams were mixed up does not.

use std::fmt::Write as _;

use serde_json::Value;

/// Members that are doubles in iperf3: it prints them without a point when they are whole.
const FLOATS: [&str; 13] = [
    "start",
    "end",
    "seconds",
    "bits_per_second",
    "jitter_ms",
    "lost_percent",
    "interval",
    "host_total",
    "host_user",
    "host_system",
    "remote_total",
    "remote_user",
    "remote_system",
];

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Leaf(&'static str),
    Object(Vec<(String, Shape)>),
    /// The different shapes of the elements, in order of appearance.
    Array(Vec<Shape>),
}

impl Shape {
    fn of(key: &str, value: &Value, leave_out: &[&str]) -> Self {
        match value {
            Value::Null => Self::Leaf("null"),
            Value::Bool(_) => Self::Leaf("bool"),
            Value::String(_) => Self::Leaf("string"),
            Value::Number(_) if FLOATS.contains(&key) => Self::Leaf("float"),
            Value::Number(number) if number.is_f64() => Self::Leaf("float"),
            Value::Number(_) => Self::Leaf("int"),
            Value::Object(members) => Self::Object(
                members
                    .iter()
                    .filter(|(name, _)| !leave_out.contains(&name.as_str()))
                    .map(|(name, member)| (name.clone(), Self::of(name, member, leave_out)))
                    .collect(),
            ),
            Value::Array(elements) => {
                let mut shapes = Vec::new();
                for element in elements {
                    let shape = Self::of(key, element, leave_out);
                    if !shapes.contains(&shape) {
                        shapes.push(shape);
                    }
                }
                Self::Array(shapes)
            }
        }
    }

    fn write(&self, path: &str, lines: &mut Vec<String>) {
        match self {
            Self::Leaf(kind) => lines.push(format!("{path}: {kind}")),
            Self::Object(members) if members.is_empty() => lines.push(format!("{path}: {{}}")),
            Self::Object(members) => {
                for (name, member) in members {
                    let dot = if path.is_empty() { "" } else { "." };
                    member.write(&format!("{path}{dot}{name}"), lines);
                }
            }
            Self::Array(shapes) if shapes.is_empty() => lines.push(format!("{path}: []")),
            Self::Array(shapes) => {
                for (index, shape) in shapes.iter().enumerate() {
                    shape.write(&format!("{path}[{index}]"), lines);
                }
            }
        }
    }
}

/// The shape as lines, one for each value, without the members named in `leave_out`.
pub fn lines(document: &Value, leave_out: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    Shape::of("", document, leave_out).write("", &mut lines);
    lines
}

/// How two lists of lines differ; empty if they do not.
pub fn differences(got: &[String], want: &[String]) -> Vec<String> {
    let missing = want.iter().filter(|line| !got.contains(line));
    let extra = got.iter().filter(|line| !want.contains(line));
    let mut found: Vec<String> = missing.map(|line| format!("missing: {line}")).collect();
    found.extend(extra.map(|line| format!("not in iperf3: {line}")));
    if found.is_empty()
        && let Some(index) = (0..got.len().max(want.len())).find(|&i| got.get(i) != want.get(i))
    {
        found.push(format!(
            "line {index} is {:?}, in iperf3 {:?}",
            got.get(index),
            want.get(index)
        ));
    }
    found
}

/// The document as iperf3's JSON library lays it out, with 0 for every number.
pub fn layout(document: &Value) -> String {
    let mut text = String::new();
    lay_out(document, 0, &mut text);
    text.push('\n');
    text
}

fn lay_out(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Number(_) => text.push('0'),
        Value::Object(members) => {
            text.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let name = Value::String(name.clone());
                let _ = write!(text, "{comma}\n{}{name}:\t", "\t".repeat(depth + 1));
                lay_out(member, depth + 1, text);
            }
            let _ = write!(text, "\n{}}}", "\t".repeat(depth));
        }
        Value::Array(elements) => {
            text.push('[');
            for (index, element) in elements.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                lay_out(element, depth + 1, text);
            }
            text.push(']');
        }
        leaf => {
            let _ = write!(text, "{leaf}");
        }
    }
}

/// The text of a document with 0 for every number; numbers inside strings stay.
pub fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    let (mut in_string, mut escaped) = (false, false);
    while let Some(c) = rest.next() {
        if !in_string && (c == '-' || c.is_ascii_digit()) {
            while rest
                .next_if(|c| c.is_ascii_digit() || "+-.eE".contains(*c))
                .is_some()
            {}
            out.push('0');
            continue;
        }
        if c == '"' && !escaped {
            in_string = !in_string;
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    out
}

/// A whole number written with a point (`1.0`), which iperf3 never does; `None` if there is none.
pub fn dotted_whole_number(text: &str) -> Option<String> {
    let outside_strings = text.split('"').step_by(2).collect::<Vec<_>>().join("\"");
    outside_strings
        .split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .find(|number| {
            number
                .split_once('.')
                .is_some_and(|(_, decimals)| decimals.bytes().all(|c| c == b'0'))
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn elements_of_the_same_shape_are_one() {
        let document =
            json!({"s": [{"b": 1, "end": 1}, {"b": 2, "end": 2.5}, {"c": "x"}], "e": {}, "n": []});
        let want = [
            "s[0].b: int",
            "s[0].end: float",
            "s[1].c: string",
            "e: {}",
            "n: []",
        ];
        assert_eq!(lines(&document, &[]), want);
        assert_eq!(lines(&document, &["s", "e"]), ["n: []"]);
    }

    #[test]
    fn missing_added_retyped_and_moved_keys_are_found() {
        let shape = |value: Value| lines(&value, &[]);
        let want = shape(json!({"a": 1, "b": true}));
        assert!(differences(&want, &want).is_empty());
        assert_eq!(
            differences(&shape(json!({"a": 1})), &want),
            ["missing: b: bool"]
        );
        assert_eq!(
            differences(&shape(json!({"a": 1.5, "b": true})), &want),
            ["missing: a: int", "not in iperf3: a: float"]
        );
        assert_eq!(
            differences(&shape(json!({"b": true, "a": 1})), &want).len(),
            1
        );
    }

    #[test]
    fn the_layout_is_that_of_a_real_document() {
        let sample = include_str!("../../data/samples/tcp-bidir-p2-322.json");
        let document: Value = serde_json::from_str(sample).unwrap();
        assert_eq!(without_numbers(sample), layout(&document));
        assert_eq!(dotted_whole_number(sample), None);
    }

    #[test]
    fn a_point_in_a_whole_number_is_found() {
        let found = |text| dotted_whole_number(text);
        assert_eq!(found("{\"a\":\t1.0}").as_deref(), Some("1.0"));
        assert_eq!(found("{\"a\":\t1.05, \"b\": \"2.0\"}"), None);
    }
}

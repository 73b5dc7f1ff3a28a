//! The layout of JSON: tabs and all as cJSON prints it, with its numbers.
//!
//! An object has each member on a line of its own, `"key":<TAB>value`. An array stays on the line and only deepens
//! the indentation, so a list of objects reads `[{ … }, { … }]`. An empty object still takes two lines.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::number;

/// A value in the layout of a document, without a newline at its end.
pub(crate) fn indented(value: &impl Serialize) -> io::Result<String> {
    formatted(value, Indented::default())
}

/// A value on one line.
pub(crate) fn compact(value: &impl Serialize) -> io::Result<String> {
    formatted(value, Compact)
}

fn formatted(value: &impl Serialize, formatter: impl Formatter) -> io::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn write_float<W: io::Write + ?Sized>(writer: &mut W, value: f64) -> io::Result<()> {
    writer.write_all(number::json(value).as_bytes())
}

struct Compact;

impl Formatter for Compact {
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write_float(writer, value)
    }
}

#[derive(Default)]
struct Indented {
    depth: usize,
    /// Whether the object that was closed or begun last has members.
    has_members: bool,
}

impl Indented {
    fn tabs<W: io::Write + ?Sized>(&self, writer: &mut W) -> io::Result<()> {
        (0..self.depth).try_for_each(|_| writer.write_all(b"\t"))
    }
}

impl Formatter for Indented {
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write_float(writer, value)
    }

    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.has_members = false;
        writer.write_all(b"{\n")
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.has_members {
            writer.write_all(b"\n")?;
        }
        self.tabs(writer)?;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if !first {
            writer.write_all(b",\n")?;
        }
        self.tabs(writer)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b":\t")
    }

    fn end_object_value<W: io::Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_members = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_indented_with_tabs() {
        let value = json!({
            "a": [{"b": 1, "c": []}, {"d": 0.5}],
            "e": {},
            "f": {"g": {}, "h": null},
            "i": [1, 2],
        });
        let text = "{\n\t\"a\":\t[{\n\t\t\t\"b\":\t1,\n\t\t\t\"c\":\t[]\n\t\t}, {\n\t\t\t\"d\":\t0.5\n\t\t}],\n\
                    \t\"e\":\t{\n\t},\n\t\"f\":\t{\n\t\t\"g\":\t{\n\t\t},\n\t\t\"h\":\tnull\n\t},\n\t\"i\":\t[1, 2]\n}";
        assert_eq!(indented(&value).unwrap(), text);
    }

    #[test]
    fn floats_and_integers_keep_their_kinds() {
        let value = json!([1.0, 0.1, 1e20, -0.0, u64::MAX, -1, f64::NAN, f64::INFINITY]);
        assert_eq!(
            compact(&value).unwrap(),
            "[1,0.1,1e+20,0,18446744073709551615,-1,null,null]"
        );
    }

    #[test]
    fn strings_are_escaped() {
        let value = json!("a\"b\\c\n\t\u{1}\u{e9}/");
        assert_eq!(
            compact(&value).unwrap(),
            "\"a\\\"b\\\\c\\n\\t\\u0001\u{e9}/\""
        );
    }
}

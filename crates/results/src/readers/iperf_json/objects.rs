//! The JSON objects of an input, one at a time, without the text around them.

use std::io::ErrorKind;
use std::sync::Arc;

use crate::error::{ReadError, ReadErrorKind};
use crate::input::Input;

/// The longest object that is read. A day of ten streams in intervals of a second has some 200 MiB, an hour 10 MiB.
const MAX_OBJECT: usize = 256 << 20;
/// The part of the text around objects that is kept.
const MAX_STRAY: usize = 1000;

/// An object at the top level.
pub(super) struct Object {
    /// The line in which it begins.
    pub(super) line: u64,
    pub(super) text: String,
}

pub(super) struct Objects<'a> {
    input: Input<'a>,
    line: u64,
    stray: Vec<u8>,
}

/// Where the scanner is.
#[derive(Default)]
struct State {
    depth: usize,
    string: bool,
    escaped: bool,
}

impl State {
    /// Takes a byte of an object. Returns whether it was the last one.
    fn step(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.string => self.escaped = true,
            b'"' => self.string = !self.string,
            b'{' | b'[' if !self.string => self.depth += 1,
            b'}' | b']' if !self.string => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

impl<'a> Objects<'a> {
    pub(super) fn new(input: Input<'a>) -> Self {
        Self {
            input,
            line: 1,
            stray: Vec::new(),
        }
    }

    pub(super) fn file(&self) -> &Arc<str> {
        &self.input.file
    }

    /// The first line of text that is in no object.
    pub(super) fn stray(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.stray);
        let first = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        Some(first.to_owned())
    }

    /// The next object, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Object>, ReadError> {
        let mut bytes = Vec::new();
        let mut state = State::default();
        let mut begin = self.line;
        loop {
            let buffer = match self.input.bytes.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.error(self.line, ReadErrorKind::Io(error))),
            };
            if buffer.is_empty() {
                if bytes.is_empty() {
                    return Ok(None);
                }
                let reason = "the JSON that begins here is cut off";
                return Err(self.error(begin, ReadErrorKind::malformed(reason)));
            }
            let mut taken = 0;
            let mut complete = false;
            for &byte in buffer {
                taken += 1;
                self.line += u64::from(byte == b'\n');
                if bytes.is_empty() && byte != b'{' {
                    if self.stray.len() < MAX_STRAY {
                        self.stray.push(byte);
                    }
                    continue;
                }
                if bytes.is_empty() {
                    begin = self.line;
                }
                bytes.push(byte);
                complete = state.step(byte);
                if complete || bytes.len() > MAX_OBJECT {
                    break;
                }
            }
            self.input.bytes.consume(taken);
            if complete {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                return Ok(Some(Object { line: begin, text }));
            }
            if bytes.len() > MAX_OBJECT {
                let reason = format!("a document of more than {} MiB", MAX_OBJECT >> 20);
                return Err(self.error(begin, ReadErrorKind::Refused(reason)));
            }
        }
    }

    pub(super) fn error(&self, line: u64, kind: ReadErrorKind) -> ReadError {
        ReadError::new(&self.input.file, line, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(bytes: &[u8]) -> (Vec<(u64, String)>, Option<String>, Option<String>) {
        let mut objects = Objects::new(Input {
            file: "t".into(),
            bytes: Box::new(bytes),
        });
        let mut all = Vec::new();
        loop {
            match objects.next() {
                Ok(Some(object)) => all.push((object.line, object.text)),
                Ok(None) => return (all, objects.stray(), None),
                Err(error) => return (all, objects.stray(), Some(error.to_string())),
            }
        }
    }

    #[test]
    fn objects_are_found_among_text_and_braces_in_strings_do_not_count() {
        let (all, stray, error) =
            objects(b"warning: x\n{\"a\": \"}\\\"{\"}\n\n{\n\"b\": [{}]}\nbye\n");
        assert_eq!(
            all,
            [
                (2, "{\"a\": \"}\\\"{\"}".to_owned()),
                (4, "{\n\"b\": [{}]}".to_owned())
            ]
        );
        assert_eq!((stray.as_deref(), error), (Some("warning: x"), None));
    }

    #[test]
    fn an_object_that_is_cut_off_names_the_line_in_which_it_begins() {
        let (all, _, error) = objects(b"{}\n{\"a\": {\n\n");
        assert_eq!(all.len(), 1);
        assert_eq!(
            error.as_deref(),
            Some("t:2: the JSON that begins here is cut off")
        );
    }
}

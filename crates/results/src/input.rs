//! How to read inputs, and their bytes, line by line, in bounded memory.
//!
//! Lines end at `\n` and at `\r`, since progress lines overwrite each other with carriage returns; only `\n` counts
//! as a line of the file. Colour codes are removed, and bytes that are not UTF-8 are replaced.

use std::io::{BufRead, Read};
use std::sync::Arc;

use crate::error::{ReadError, ReadErrorKind};
use crate::record::Record;
use crate::tool::Tool;

/// The part of a line that is kept. Histograms of iperf 2 have some 10 KiB.
const MAX_LINE: usize = 256 * 1024;

/// How to read inputs.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// The tool, instead of the one recognised by the content.
    pub tool: Option<Tool>,
    /// The bytes that each run moved, for tables of seconds.
    pub bytes: Option<u64>,
}

/// Reads bytes as if they were in the named file.
pub(crate) type ReadBytes = fn(&str, &[u8], &ReadOptions) -> Result<Vec<Record>, ReadError>;

/// A buffered input and its name in errors.
pub(crate) struct Input<'a> {
    pub(crate) file: Arc<str>,
    pub(crate) bytes: Box<dyn BufRead + 'a>,
}

/// A piece of a line between line ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u64,
    pub(crate) text: String,
}

/// The lines of an input, with one that was read too far put back.
pub(crate) struct Lines<'a> {
    input: Input<'a>,
    number: u64,
    put_back: Option<Line>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(input: Input<'a>) -> Self {
        Self {
            input,
            number: 1,
            put_back: None,
        }
    }

    pub(crate) fn file(&self) -> &Arc<str> {
        &self.input.file
    }

    /// The next line, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, ReadError> {
        if let Some(line) = self.put_back.take() {
            return Ok(Some(line));
        }
        let number = self.number;
        let mut text = Vec::new();
        let mut any = false;
        loop {
            let buffer = match self.input.bytes.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.error(number, ReadErrorKind::Io(error))),
            };
            if buffer.is_empty() {
                break;
            }
            any = true;
            let end = buffer.iter().position(|&b| b == b'\n' || b == b'\r');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            let room = MAX_LINE.saturating_sub(text.len()).min(piece.len());
            text.extend_from_slice(&piece[..room]);
            let newline = end.is_some_and(|at| buffer[at] == b'\n');
            let taken = end.map_or(buffer.len(), |at| at + 1);
            self.input.bytes.consume(taken);
            if end.is_some() {
                self.number += u64::from(newline);
                break;
            }
        }
        Ok(any.then(|| Line {
            number,
            text: clean(&text),
        }))
    }

    /// Gives `line` out again with the next call.
    pub(crate) fn put_back(&mut self, line: Line) {
        self.put_back = Some(line);
    }

    /// The lines of one run: up to the end, or to a line after the first that begins another run.
    pub(crate) fn run(&mut self, begins: fn(&str) -> bool) -> Run<'_, 'a> {
        Run {
            lines: self,
            begins,
            begun: false,
        }
    }

    pub(crate) fn error(&self, line: u64, kind: ReadErrorKind) -> ReadError {
        ReadError::new(&self.input.file, line, kind)
    }

    pub(crate) fn refuse(&self, line: u64, reason: impl Into<String>) -> ReadError {
        self.error(line, ReadErrorKind::Refused(reason.into()))
    }

    pub(crate) fn malformed(&self, line: u64, reason: impl Into<String>) -> ReadError {
        self.error(line, ReadErrorKind::Malformed(reason.into()))
    }
}

/// The lines of one run of several in a file.
pub(crate) struct Run<'l, 'a> {
    lines: &'l mut Lines<'a>,
    begins: fn(&str) -> bool,
    begun: bool,
}

impl Run<'_, '_> {
    pub(crate) fn next(&mut self) -> Result<Option<Line>, ReadError> {
        let Some(line) = self.lines.next()? else {
            return Ok(None);
        };
        if (self.begins)(&line.text) {
            if self.begun {
                self.lines.put_back(line);
                return Ok(None);
            }
            self.begun = true;
        }
        Ok(Some(line))
    }
}

/// The text of a line: UTF-8, without colour codes and without blanks at its end.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if !text.contains('\x1b') {
        return text.trim_end().to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(at) = rest.find('\x1b') {
        plain.push_str(&rest[..at]);
        let code = &rest[at + 1..];
        rest = match code.strip_prefix('[') {
            Some(code) => code
                .find(|c: char| c.is_ascii_alphabetic())
                .map_or("", |end| &code[end + 1..]),
            None => code,
        };
    }
    plain.push_str(rest);
    plain.trim_end().to_owned()
}

/// The first bytes of `reader`, at most `limit`, and the reader behind them.
pub(crate) fn peek(reader: &mut dyn Read, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(limit).read_to_end(&mut head)?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<(u64, String)> {
        let input = Input {
            file: "t".into(),
            bytes: Box::new(bytes),
        };
        let mut lines = Lines::new(input);
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((line.number, line.text));
        }
        all
    }

    #[test]
    fn a_carriage_return_ends_a_piece_of_the_same_line() {
        let expected = [(1, "a"), (1, "b"), (2, ""), (3, "c")].map(|(n, t)| (n, t.to_owned()));
        assert_eq!(lines(b"a\rb\n\nc"), expected);
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn colour_codes_and_bytes_that_are_not_text_do_not_reach_readers() {
        assert_eq!(
            lines(b"sockperf: \x1b[2;35m== version #3.7 == \x1b[0m")[0].1,
            "sockperf: == version #3.7 =="
        );
        assert_eq!(lines(b"a\xffb")[0].1, "a\u{fffd}b");
        assert_eq!(lines(b"cut \x1b[")[0].1, "cut");
    }

    #[test]
    fn an_endless_line_is_kept_in_part() {
        let long = vec![b'x'; 3 * MAX_LINE];
        let read = lines(&long);
        assert_eq!((read.len(), read[0].1.len()), (1, MAX_LINE));
    }
}

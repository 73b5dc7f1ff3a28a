//! Why an input gave no record: which file, which line, and what is wrong with it.

use std::fmt;
use std::sync::Arc;

use iperf_model::reason;

/// An input that could not be read, or that must not be trusted.
#[derive(Debug, thiserror::Error)]
#[error("{}{kind}", Place(file, *line))]
pub struct ReadError {
    /// The file as it was given, `-` for stdin.
    pub file: Arc<str>,
    /// The line, counted from 1, where one is to blame.
    pub line: Option<u64>,
    /// What is wrong.
    pub kind: ReadErrorKind,
}

/// What is wrong with an input.
#[derive(Debug, thiserror::Error)]
pub enum ReadErrorKind {
    /// The file could not be opened or read.
    #[error("{}", reason(.0))]
    Io(#[from] std::io::Error),
    /// No reader knows the content.
    #[error("unknown format: {0}")]
    Unknown(String),
    /// The content does not agree with its format.
    #[error("{0}")]
    Malformed(String),
    /// The content was understood, and its figures cannot be trusted.
    #[error("refused: {0}")]
    Refused(String),
}

impl ReadError {
    /// What is wrong with a line of `file`, or with all of it.
    pub(crate) fn new(file: &Arc<str>, line: impl Into<Option<u64>>, kind: ReadErrorKind) -> Self {
        Self {
            file: Arc::clone(file),
            line: line.into(),
            kind,
        }
    }
}

impl ReadErrorKind {
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }

    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}

/// `file:line: `, or `file: ` where no line is known.
struct Place<'a>(&'a str, Option<u64>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(line) => write!(f, "{}:{line}: ", self.0),
            None => write!(f, "{}: ", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_file_and_line() {
        let error = |line| ReadError {
            file: "a.txt".into(),
            line,
            kind: ReadErrorKind::Refused("the run failed".into()),
        };
        assert_eq!(
            error(Some(7)).to_string(),
            "a.txt:7: refused: the run failed"
        );
        assert_eq!(error(None).to_string(), "a.txt: refused: the run failed");
    }
}

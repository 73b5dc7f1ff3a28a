//! One line of `--json-stream`: `{"event":NAME,"data":VALUE}`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{End, Interval, ReadError, Start, read};
use crate::json::format::compact;

/// A line by the name of its event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Line {
    /// The test begins: the document's `start`.
    Start(Box<Start>),
    /// One report: an element of the document's `intervals`.
    Interval(Box<Interval>),
    /// Why the test failed.
    Error(String),
    /// The server's document, as it arrived.
    ServerOutputJson(Value),
    /// The server's output, if it was text.
    ServerOutputText(String),
    /// **Own**: lines are missing here.
    Dropped(Dropped),
    /// The test is over: the document's `end`.
    End(Box<End>),
}

/// **Own**: why lines are missing, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dropped {
    /// Lines of intervals.
    pub reports: u64,
    /// Why they were not printed.
    pub reason: String,
}

impl Line {
    /// Reads one line.
    ///
    /// # Errors
    ///
    /// Text that is not one JSON object, an unknown event, or a known key with a value of another type.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        read::from_json(text)
    }

    /// The line as it is printed, without the newline.
    ///
    /// # Errors
    ///
    /// None that is known: every value of the type can be printed.
    pub fn to_json(&self) -> std::io::Result<String> {
        compact(self)
    }
}

//! The result of one test as a value: what `-J` prints, and what can be read back.
//!
//! ```text
//! Document ─┬─ start       the two ends and the test            (start.rs)
//!           ├─ intervals   one element per report               (interval.rs)
//!           ├─ end         the result of the whole test         (end.rs)
//!           └─ error, title, extra_data, the server's output
//! ```
//!
//! Fields have iperf3's names and the order in which it prints them. A key that only some versions,
//! transports or ends have is an `Option`, or absent when its list is empty. A key that a document lacks reads as its
//! default. Unknown keys are ignored, so that documents of later versions can be read; they are not printed again.

mod builder;
mod delays;
mod derive;
mod end;
mod exchange;
mod interval;
mod limit;
mod line;
mod read;
mod start;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

use crate::json::format::indented;

pub use delays::{EndClock, EndLoad, EndOneWay, IntervalLoad, Probes};
pub use derive::jain_index;
pub use end::{
    Copies, CpuUtilization, DiskFile, End, EndEnvironment, EndStream, EndSum, IoUse, StreamSide,
    UdpCopies, UdpStream,
};
pub use exchange::{EndExchanges, Histogram, IntervalExchanges, Latency, Schedule, ShortLatency};
pub use interval::{Interval, IntervalRow};
pub use limit::Limit;
pub use line::{Dropped, Line};
pub use read::ReadError;
pub use start::{Connection, HostPort, Start, TestStart, Timestamp, Vsock};

pub(crate) use builder::Builder;
use derive::direction_of;
pub(crate) use derive::exchange::exchange_seconds;
pub(crate) use derive::{CopyReports, EndGroup, EndRow, EndTotals, FileRow};

/// One test, as one end saw it.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The two ends and the test.
    pub start: Start,
    /// One element per report.
    #[serde(default)]
    pub intervals: Vec<Interval>,
    /// The result of the whole test; empty if it failed.
    #[serde(default)]
    pub end: End,
    /// How many of the first intervals a server has dropped to bound its memory.
    pub intervals_dropped: Option<u64>,
    /// Why the test failed.
    pub error: Option<String>,
    /// The text of `-T`.
    pub title: Option<String>,
    /// The text of `--extra-data`.
    pub extra_data: Option<String>,
    /// The server's document as it arrived (`--get-server-output`). [`server_document`](Self::server_document)
    /// reads it.
    pub server_output_json: Option<Value>,
    /// The server's output, if it was text.
    pub server_output_text: Option<String>,
}

impl Document {
    /// Reads what `-J` printed, of any version of iperf3 and of programs that print the same.
    ///
    /// ```
    /// use iperf_report::document::Document;
    ///
    /// let text = r#"{"start": {"version": "iperf 3.12"}, "intervals": [], "end": {}}"#;
    /// let document = Document::from_json(text)?;
    /// assert_eq!(document.start.version, "iperf 3.12");
    /// # Ok::<_, iperf_report::document::ReadError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Text that is not one JSON object with a member `start`, or a known key with a value of another type.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        read::from_json(text)
    }

    /// Reads what `--json-stream` printed of one test: everything up to the `end` line. Lines after it are ignored.
    ///
    /// # Errors
    ///
    /// A line before `end` that is not a [`Line`], or no line at all.
    pub fn from_json_lines(text: &str) -> Result<Self, ReadError> {
        let mut document = Self::default();
        let mut empty = true;
        for (number, line) in text.lines().enumerate() {
            let line = Line::from_json(line).map_err(|error| error.in_line(number + 1))?;
            empty = false;
            if document.add(line) {
                break;
            }
        }
        if empty {
            return Err(ReadError::no_lines());
        }
        Ok(document)
    }

    /// What `-J` prints: indented by tabs, with iperf3's numbers, and a newline at the end.
    ///
    /// # Errors
    ///
    /// None that is known: every value of the type can be printed.
    pub fn to_json(&self) -> std::io::Result<String> {
        let mut text = indented(self)?;
        text.push('\n');
        Ok(text)
    }

    /// The server's own document, if it was received and can be read.
    pub fn server_document(&self) -> Option<Self> {
        let value = self.server_output_json.as_ref()?;
        read::from_value(value.clone()).ok()
    }

    /// Puts a line where it belongs. Returns whether it was the last one of its test.
    pub fn add(&mut self, line: Line) -> bool {
        match line {
            Line::Start(start) => self.start = *start,
            Line::Interval(interval) => self.intervals.push(*interval),
            // The intervals themselves show where some are missing.
            Line::Dropped(_) => {}
            Line::Error(message) => self.error = Some(message),
            Line::ServerOutputJson(value) => self.server_output_json = Some(value),
            Line::ServerOutputText(text) => self.server_output_text = Some(text),
            Line::End(end) => {
                self.end = *end;
                return true;
            }
        }
        false
    }
}

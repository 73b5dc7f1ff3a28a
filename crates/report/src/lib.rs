//! Output: sinks that turn a driver's events into what iperf3 3.22 prints.
//!
//! ```text
//!                               ┌─► text ───────► lines
//! Event ──► document (derive) ──┼─► json ───────► one document per test, at its end
//!           rates, sums         └─► stream ─────► one object per line, as it happens
//! ```
//!
//! Every derived value is computed in one place (`document::derive`); the sinks decide only how it looks. Nothing
//! here reads a socket or a counter. [`Document`] is public, and what `-J` printed can be read back.

mod beside;
pub mod document;
mod json;
mod number;
mod output;
mod scaled;
mod stamp;
mod stream;
mod text;
mod writer;

use std::io;

use iperf_model::{Event, Sink};

pub use beside::Done;
pub use document::Document;
pub use output::Output;
pub use writer::{Writer, open_log};

/// What decides how output looks, apart from the test itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line, and any combination is valid"
)]
pub struct ReportOptions {
    /// Name of the program, the prefix of error lines.
    pub program: String,
    /// Whether this end is the client of its tests.
    pub is_client: bool,
    /// Name and version, as in `start.version` and in the first line of verbose text.
    pub version: String,
    /// The fields of `uname`, separated by blanks.
    pub system_info: String,
    /// More lines of text (`-V`).
    pub verbose: bool,
    /// Text reports how bytes were moved even without `-V`: the user chose a mode or a check.
    pub copies: bool,
    /// The text shows what limited a test even without `-V` (`--limits`).
    pub limits: bool,
    /// Unit of rates in text (`-f`), one of `kmgtKMGT`; anything else picks a unit for each rate.
    pub format: Option<char>,
    /// `strftime` format of the local time before each line of text (`--timestamps`).
    pub timestamps: Option<String>,
    /// The number of the test, on servers that run several at a time: lines carry it.
    pub test: Option<u64>,
    /// After the lines of [`Format::JsonStream`], the whole document (`--json-stream-full-output`).
    pub json_full: bool,
}

/// The kinds of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// One indented document per test, at its end (`-J`).
    Json,
    /// One object per line, as it happens (`--json-stream`).
    JsonStream,
}

/// A sink of the given kind.
pub fn sink(format: Format, options: ReportOptions, output: Output) -> Box<dyn Sink> {
    match format {
        Format::Text => Box::new(text::TextSink::new(options, output)),
        Format::Json => Box::new(json::DocumentSink::new(options, output)),
        Format::JsonStream => Box::new(stream::StreamSink::new(options, output)),
    }
}

/// `inner`, which also passes each finished test's document to `done`.
pub fn beside(inner: Box<dyn Sink>, options: ReportOptions, done: Done) -> Box<dyn Sink> {
    Box::new(beside::Beside::new(inner, options, done))
}

/// A sink that drops everything.
pub fn null_sink() -> Box<dyn Sink> {
    Box::new(NullSink)
}

struct NullSink;

impl Sink for NullSink {
    fn event(&mut self, _: &Event) -> io::Result<()> {
        Ok(())
    }
}

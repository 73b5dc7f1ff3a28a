//! `--json-stream`: one object per line, `{"event":NAME,"data":VALUE}`, as it happens.
//!
//! ```text
//! start interval… error? server_output_json|server_output_text? end
//! ```
//!
//! `{"event":"dropped","data":{"reports":N,"reason":TEXT}}` stands where lines are missing because nobody read in time.
//!
//! What a test ends with is held back until then, so that the order never depends on how it ended.

use std::io::{self, Write};

use iperf_model::{Event, ServerOutput, Sink};
use serde::Serialize;
use serde_json::{Value, json};

use crate::json::{self, Document, compact};
use crate::{Output, ReportOptions};

/// Writes lines while it collects what they are made of.
pub(crate) struct StreamSink {
    document: Document,
    output: Output,
    /// The whole document follows after the last line.
    full: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    event: &'a str,
    data: Value,
}

impl StreamSink {
    pub(crate) fn new(options: ReportOptions, output: Output) -> Self {
        Self {
            full: options.json_full,
            document: Document::new(options),
            output,
        }
    }

    fn line(&mut self, event: &str, data: Value) -> io::Result<()> {
        let mut text = compact(&Line { event, data })?;
        text.push('\n');
        self.output.write_text(&text)?;
        self.output.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        if !self.document.is_used() {
            return Ok(());
        }
        if let Some(error) = self.document.error() {
            let error = error.to_owned();
            self.line("error", error.into())?;
        }
        if let Some((key, value)) = self.document.server_output() {
            self.line(key, value)?;
        }
        self.line("end", self.document.end())?;
        if self.full {
            json::write_document(&mut self.output, &self.document)?;
        }
        Ok(())
    }
}

impl Sink for StreamSink {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let is_interval = matches!(event, Event::Interval(_));
        if let Some(reports) = self.output.begin(is_interval) {
            self.line(
                "dropped",
                json!({ "reports": reports, "reason": json::NOT_READ }),
            )?;
        }
        self.document.record(event);
        match event {
            Event::TestStarted(_) => self.line("start", self.document.start()),
            Event::Interval(interval) => {
                if self.full || self.document.is_to_be_returned() {
                    self.document.keep_interval(interval);
                }
                match self.document.interval(interval) {
                    Some(value) => self.line("interval", value),
                    None => Ok(()),
                }
            }
            Event::Warning(message) => json::write_warning(&mut self.output, message),
            Event::TestFinished => {
                let result = self.finish();
                self.document.reset();
                result
            }
            _ => Ok(()),
        }
    }

    fn server_output(&mut self) -> Option<ServerOutput> {
        json::server_output(&self.document)
    }
}

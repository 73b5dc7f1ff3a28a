//! `--json-stream`: one object per line, `{"event":NAME,"data":VALUE}`, as it happens.
//!
//! ```text
//! start interval… error? server_output_json|server_output_text? end
//! ```
//!
//! `{"event":"dropped","data":{"reports":N,"reason":TEXT}}` replaces lines that were not read in time.
//!
//! On a server that runs several tests at a time each line has one more member, `test`: the number of its test.
//!
//! What a test ends with is held back until then, so that the order never depends on how it ended.

use std::io;

use iperf_model::{Event, ServerOutput, Sink};

use crate::document::{Builder, Document, Dropped, Line};
use crate::{Output, ReportOptions, json};

/// Writes lines while it collects what they are made of.
pub(crate) struct StreamSink {
    test: Builder,
    output: Output,
    /// The whole document follows after the last line.
    full: bool,
    /// The number of the test, if others may write lines as well.
    number: Option<u64>,
}

impl StreamSink {
    pub(crate) fn new(options: ReportOptions, output: Output) -> Self {
        Self {
            full: options.json_full,
            number: options.test,
            test: Builder::new(options),
            output,
        }
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let mut text = line.to_json()?;
        if let Some(number) = self.number {
            // In place of the brace that ends the object.
            text.pop();
            text = format!("{text},\"test\":{number}}}");
        }
        text.push('\n');
        self.output.write_text(&text);
        Ok(())
    }

    fn start(&mut self) -> io::Result<()> {
        match self.test.document() {
            Some(document) => self.line(&Line::Start(Box::new(document.start.clone()))),
            None => Ok(()),
        }
    }

    fn interval(&mut self, interval: &iperf_model::Interval) -> io::Result<()> {
        let Some(interval) = self.test.interval(interval) else {
            return Ok(());
        };
        if self.full || self.test.is_returned() {
            self.test.keep_interval(interval.clone());
        }
        self.line(&Line::Interval(Box::new(interval)))
    }

    fn finish(&mut self) -> io::Result<()> {
        let document = self.test.document().into_iter();
        let last: Vec<_> = document.flat_map(Document::last_lines).collect();
        for line in &last {
            self.line(line)?;
        }
        if self.full {
            json::write_document(&self.output, &self.test)?;
        }
        Ok(())
    }
}

impl Sink for StreamSink {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let is_interval = matches!(event, Event::Interval(_));
        if let Some(reports) = self.output.begin(is_interval) {
            self.line(&Line::Dropped(Dropped {
                reports,
                reason: json::NOT_READ.to_owned(),
            }))?;
        }
        self.test.record(event);
        match event {
            Event::TestStarted(_) => self.start(),
            Event::Interval(interval) => self.interval(interval),
            Event::Warning(message) => {
                json::write_warning(&self.output, message);
                Ok(())
            }
            Event::TestFinished => {
                let result = self.finish();
                self.test.reset();
                result
            }
            _ => Ok(()),
        }
    }

    fn server_output(&mut self) -> Option<ServerOutput> {
        json::server_output(&self.test)
    }
}

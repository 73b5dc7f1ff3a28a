//! `-J`: nothing while a test runs, one document when it is over.

pub(crate) mod format;

use std::io;

use iperf_model::{Event, ServerOutput, Sink};

pub(crate) use format::{compact, indented};

use crate::document::Builder;
use crate::{Output, ReportOptions};

/// Collects a test and writes its document at the end.
pub(crate) struct DocumentSink {
    test: Builder,
    output: Output,
}

impl DocumentSink {
    pub(crate) fn new(options: ReportOptions, output: Output) -> Self {
        Self {
            test: Builder::new(options),
            output,
        }
    }
}

impl Sink for DocumentSink {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        if matches!(event, Event::Warning(_) | Event::TestFinished)
            && let Some(dropped) = self.output.begin(false)
        {
            let message = format!("{dropped} documents dropped: {NOT_READ}");
            write_warning(&self.output, &message);
        }
        self.test.record_all(event);
        match event {
            Event::Warning(message) => write_warning(&self.output, message),
            Event::TestFinished => {
                let result = write_document(&self.output, &self.test);
                self.test.reset();
                return result;
            }
            _ => {}
        }
        Ok(())
    }

    fn server_output(&mut self) -> Option<ServerOutput> {
        server_output(&self.test)
    }
}

/// Why reports are missing.
pub(crate) const NOT_READ: &str = "the output was read too slowly";

/// Warnings stay out of JSON and its log file, which others parse.
pub(crate) fn write_warning(output: &Output, message: &str) {
    output.write_aside(&format!("warning: {message}\n"));
}

/// The indented document, if there is anything to write.
pub(crate) fn write_document(output: &Output, test: &Builder) -> io::Result<()> {
    if let Some(document) = test.document() {
        // Written at once: other tests write their documents to the same place.
        output.write_text(&(indented(document)? + "\n"));
    }
    Ok(())
}

/// What a server returns to a client that requested its output.
pub(crate) fn server_output(test: &Builder) -> Option<ServerOutput> {
    let measured = test.returned()?;
    compact(&measured).ok().map(ServerOutput::Json)
}

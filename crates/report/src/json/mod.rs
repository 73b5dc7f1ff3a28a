//! `-J`: nothing while a test runs, one document when it is over.

mod document;
mod end;
mod format;
mod interval;
mod start;

use std::io::{self, BufWriter, Write};

use iperf_model::{Event, ServerOutput, Sink};

pub(crate) use document::{Document, Measured};
pub(crate) use format::{compact, indented, write_indented};

use crate::{Output, ReportOptions};

/// Collects a test and writes its document at the end.
pub(crate) struct DocumentSink {
    document: Document,
    output: Output,
}

impl DocumentSink {
    pub(crate) fn new(options: ReportOptions, output: Output) -> Self {
        Self {
            document: Document::new(options),
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
            write_warning(&mut self.output, &message)?;
        }
        self.document.record(event);
        match event {
            Event::Interval(interval) => self.document.keep_interval(interval),
            Event::Warning(message) => write_warning(&mut self.output, message)?,
            Event::TestFinished => {
                let result = write_document(&mut self.output, &self.document);
                self.document.reset();
                return result;
            }
            _ => {}
        }
        Ok(())
    }

    fn server_output(&mut self) -> Option<ServerOutput> {
        server_output(&self.document)
    }
}

/// Why reports are missing.
pub(crate) const NOT_READ: &str = "the output was read too slowly";

/// Warnings stay out of JSON and its log file, which others parse.
pub(crate) fn write_warning(output: &mut Output, message: &str) -> io::Result<()> {
    output.write_aside(&format!("warning: {message}\n"))
}

/// The indented document, if there is something to tell.
pub(crate) fn write_document(output: &mut Output, document: &Document) -> io::Result<()> {
    if !document.is_used() {
        return Ok(());
    }
    // The document is written in many small pieces, and stdout would take each line on its own.
    let mut writer = BufWriter::with_capacity(32 << 10, output);
    write_indented(&mut writer, document)?;
    writer.write_all(b"\n")?;
    writer.flush()
}

/// What a server returns to a client that asked for its output.
pub(crate) fn server_output(document: &Document) -> Option<ServerOutput> {
    if !document.is_to_be_returned() {
        return None;
    }
    compact(&Measured(document)).ok().map(ServerOutput::Json)
}

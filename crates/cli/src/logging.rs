//! Logging on stderr (`-d`, `--debug`).

use std::io::{self, IsTerminal, Write};

use iperf_report::Writer;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts logging at a level of `--debug`: 0 logs warnings only, 1 to 4 more and more.
pub(crate) fn start(level: u8, writer: Writer) {
    let filter = match level {
        0 => LevelFilter::WARN,
        1 | 2 => LevelFilter::INFO,
        3 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let started = tracing_subscriber::fmt()
        .with_writer(Log(writer))
        .with_ansi(io::stderr().is_terminal())
        .with_max_level(filter)
        .with_target(false)
        // It would print them with eprintln!, which panics where stderr can't be written.
        .log_internal_errors(false)
        .try_init();
    // It fails only if this process logs already, and then the lines go there.
    drop(started);
}

/// Lines go through the thread that writes output: logging never waits for a reader and never fails.
struct Log(Writer);

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            text: Vec::new(),
            writer: &self.0,
        }
    }
}

/// One line, written when it is complete.
struct Line<'a> {
    text: Vec<u8>,
    writer: &'a Writer,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.writer.log(&self.text);
    }
}

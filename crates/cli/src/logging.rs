//! Logging on stderr (`-d`, `--debug`).

use std::io::{self, IsTerminal, Write};

use iperf_report::Writer;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Crates whose steps level 2 shows; what the others do is level 3.
const CONTROL_PLANE: [&str; 3] = ["iperf_client", "iperf_control", "iperf_server"];

/// What a level of `--debug` shows: 0 is warnings only, 1 adds logins and ends of tests, 2 the steps of the control
/// connection, 3 those of the data streams, 4 everything.
fn filter(level: u8) -> Targets {
    let all = Targets::new();
    match level {
        0 => all.with_default(LevelFilter::WARN),
        1 => all.with_default(LevelFilter::INFO),
        2 => all
            .with_default(LevelFilter::INFO)
            .with_targets(CONTROL_PLANE.map(|target| (target, LevelFilter::DEBUG))),
        3 => all.with_default(LevelFilter::DEBUG),
        _ => all.with_default(LevelFilter::TRACE),
    }
}

/// Starts logging at a level of `--debug`.
pub(crate) fn start(level: u8, writer: Writer) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(Log(writer))
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        // It would print them with eprintln!, which panics where stderr can't be written.
        .log_internal_errors(false)
        .with_filter(filter(level));
    let started = tracing_subscriber::registry().with(lines).try_init();
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

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn each_level_shows_more_than_the_one_before() {
        let shown = |level| {
            let filter = filter(level);
            ["iperf_server", "iperf_engine"].map(|target| {
                let levels = [Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
                levels.map(|level| filter.would_enable(target, &level))
            })
        };
        let upto = |count: usize| [0, 1, 2, 3].map(|index| index < count);
        assert_eq!(shown(0), [upto(1), upto(1)]);
        assert_eq!(shown(1), [upto(2), upto(2)]);
        assert_eq!(shown(2), [upto(3), upto(2)]);
        assert_eq!(shown(3), [upto(3), upto(3)]);
        assert_eq!(shown(4), [upto(4), upto(4)]);
    }
}

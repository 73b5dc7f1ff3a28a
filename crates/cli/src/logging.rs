//! What the program does, told on stderr for those who ask (`-d`).

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;

/// Starts logging at a level of `--debug`: 0 is warnings only, 1 to 4 tell more and more.
pub(crate) fn start(level: u8) {
    let filter = match level {
        0 => LevelFilter::WARN,
        1 | 2 => LevelFilter::INFO,
        3 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_max_level(filter)
        .with_target(false)
        .init();
}

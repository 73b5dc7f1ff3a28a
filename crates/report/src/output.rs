//! Where lines are written: results, and separately errors and warnings.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::Ordering;

use crate::writer::{Place, Weight, Writer};

/// Two places to write to, which a log file makes one. A thread writes, so that no caller waits.
pub struct Output {
    writer: Writer,
    /// Errors and warnings are written with the output.
    is_log: bool,
    /// The present report is dropped: the output is not read.
    muted: bool,
}

impl Output {
    /// Output to the writer's first place, errors and warnings to its second.
    pub fn queued(writer: Writer) -> Self {
        Self {
            writer,
            is_log: false,
            muted: false,
        }
    }

    /// Output, errors and warnings to a log file.
    pub fn log(writer: Writer) -> Self {
        Self {
            is_log: true,
            ..Self::queued(writer)
        }
    }

    /// Begins the report of an event. While the output is not read, what does not fit is dropped as a whole. Gives the
    /// number of reports that were dropped before this one, when it is the first that fits again.
    pub(crate) fn begin(&mut self, is_interval: bool) -> Option<u64> {
        let weight = if is_interval {
            Weight::Interval
        } else {
            Weight::Result
        };
        self.muted = !self.writer.has_room(weight);
        if self.muted {
            self.writer.dropped().fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let dropped = self.writer.dropped().swap(0, Ordering::Relaxed);
        Some(dropped).filter(|dropped| *dropped > 0)
    }

    /// Whether the present report is dropped.
    pub(crate) fn is_muted(&self) -> bool {
        self.muted
    }

    /// Writes to output proper.
    pub(crate) fn write_text(&self, text: &str) {
        self.push(Place::Main, text.as_bytes());
    }

    /// Writes an error or a warning, after what was output before it.
    pub(crate) fn write_error(&self, text: &str) {
        let place = if self.is_log {
            Place::Main
        } else {
            Place::Errors
        };
        self.push(place, text.as_bytes());
    }

    /// Writes a line that must not mix with the output: in spite of a log file it goes to stderr.
    pub(crate) fn write_aside(&self, text: &str) {
        self.push(Place::Errors, text.as_bytes());
    }

    fn push(&self, place: Place, text: &[u8]) {
        if !self.muted {
            self.writer.push(place, text);
        }
    }
}

/// Output proper. The queue takes everything at once, and the thread flushes it.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(Place::Main, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("is_log", &self.is_log)
            .finish_non_exhaustive()
    }
}

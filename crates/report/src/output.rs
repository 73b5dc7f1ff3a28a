//! Where lines are written: results, and separately errors and warnings.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::writer::{Place, Weight, Writer};

/// Two places to write to, which a log file makes one.
pub struct Output {
    route: Route,
    /// Errors and warnings are written with the output.
    is_log: bool,
    /// The present report is dropped: the output is not read.
    muted: bool,
    /// Reports dropped since the last one that was not.
    dropped: Arc<AtomicU64>,
}

enum Route {
    /// Through a thread, so that no caller waits.
    Queue(Writer),
    /// At once, and with errors.
    Direct {
        main: Box<dyn Write + Send>,
        errors: Box<dyn Write + Send>,
    },
}

impl Output {
    /// Output through a thread, errors and warnings to its second place.
    pub fn queued(writer: Writer) -> Self {
        Self::new(writer.dropped(), Route::Queue(writer), false)
    }

    /// Output, errors and warnings through a thread that writes a log file.
    pub fn log(writer: Writer) -> Self {
        Self::new(writer.dropped(), Route::Queue(writer), true)
    }

    /// Output to the first writer, errors and warnings to the second, each at once.
    pub fn to_writers(main: Box<dyn Write + Send>, errors: Box<dyn Write + Send>) -> Self {
        Self::new(Arc::default(), Route::Direct { main, errors }, false)
    }

    fn new(dropped: Arc<AtomicU64>, route: Route, is_log: bool) -> Self {
        Self {
            route,
            is_log,
            muted: false,
            dropped,
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
        self.muted = match &self.route {
            Route::Queue(writer) => !writer.has_room(weight),
            Route::Direct { .. } => false,
        };
        if self.muted {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.dropped.swap(0, Ordering::Relaxed)).filter(|dropped| *dropped > 0)
    }

    /// As if reports had been dropped.
    #[cfg(test)]
    pub(crate) fn drop_reports(&mut self, reports: u64) {
        self.dropped.fetch_add(reports, Ordering::Relaxed);
    }

    /// Whether the present report is dropped.
    pub(crate) fn is_muted(&self) -> bool {
        self.muted
    }

    /// Writes to output proper.
    pub(crate) fn write_text(&mut self, text: &str) -> io::Result<()> {
        self.write_all(text.as_bytes())
    }

    /// Writes an error or a warning, after what was output before it.
    pub(crate) fn write_error(&mut self, text: &str) -> io::Result<()> {
        if self.is_log {
            return self.write_text(text);
        }
        self.flush()?;
        self.write_aside(text)
    }

    /// Writes a line that must not mix with the output: in spite of a log file it goes to stderr.
    pub(crate) fn write_aside(&mut self, text: &str) -> io::Result<()> {
        match &mut self.route {
            Route::Queue(_) if self.muted => Ok(()),
            Route::Queue(writer) => {
                writer.push(Place::Errors, text.as_bytes());
                Ok(())
            }
            Route::Direct { errors, .. } => {
                errors.write_all(text.as_bytes())?;
                errors.flush()
            }
        }
    }
}

/// Output proper. A queue takes everything at once, and is always flushed.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.route {
            Route::Queue(writer) => {
                if !self.muted {
                    writer.push(Place::Main, bytes);
                }
                Ok(bytes.len())
            }
            Route::Direct { main, .. } => main.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.route {
            Route::Queue(_) => Ok(()),
            Route::Direct { main, .. } => main.flush(),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("is_log", &self.is_log)
            .finish_non_exhaustive()
    }
}

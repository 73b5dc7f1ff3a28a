//! Where lines go: output proper, and beside it errors and warnings.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Two places to write to, which a log file makes one.
pub struct Output {
    main: Box<dyn Write + Send>,
    /// `None` when errors go to `main` as well.
    errors: Option<Box<dyn Write + Send>>,
}

impl Output {
    /// Output to stdout, errors and warnings to stderr.
    pub fn stdio() -> Self {
        Self::to_writers(Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Everything is appended to a file (`--logfile`), and written out after each event.
    pub fn log(path: impl AsRef<Path>) -> io::Result<Self> {
        let file: File = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self {
            main: Box::new(BufWriter::new(file)),
            errors: None,
        })
    }

    /// Output to the first writer, errors and warnings to the second.
    pub fn to_writers(main: Box<dyn Write + Send>, errors: Box<dyn Write + Send>) -> Self {
        Self {
            main,
            errors: Some(errors),
        }
    }

    /// Whether output, errors and warnings share one file.
    pub(crate) fn is_log(&self) -> bool {
        self.errors.is_none()
    }

    /// Writes to output proper.
    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        self.main.write_all(text.as_bytes())
    }

    /// Output proper.
    pub(crate) fn writer(&mut self) -> &mut (dyn Write + Send) {
        &mut *self.main
    }

    /// Writes an error or a warning, after what was output before it.
    pub(crate) fn write_error(&mut self, text: &str) -> io::Result<()> {
        match &mut self.errors {
            Some(errors) => {
                self.main.flush()?;
                errors.write_all(text.as_bytes())?;
                errors.flush()
            }
            None => self.main.write_all(text.as_bytes()),
        }
    }

    /// Writes a line that must not mix with the output: in spite of a log file it goes to stderr.
    pub(crate) fn write_aside(&mut self, text: &str) -> io::Result<()> {
        match &mut self.errors {
            Some(errors) => {
                errors.write_all(text.as_bytes())?;
                errors.flush()
            }
            None => io::stderr().write_all(text.as_bytes()),
        }
    }

    /// Makes output visible to whoever reads it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.main.flush()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("is_log", &self.is_log())
            .finish_non_exhaustive()
    }
}

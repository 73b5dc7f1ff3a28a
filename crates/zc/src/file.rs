//! Errors of the file of `-F`, which would otherwise look like errors of the socket.

use std::io;

use iperf_model::reason;
use thiserror::Error;

/// The file, and not the socket, failed. It is what is inside the [`io::Error`] of a mover.
#[derive(Debug, Error)]
#[error("unable to {operation} the file of -F: {}", reason(.source))]
pub struct FileError {
    operation: &'static str,
    source: io::Error,
}

impl FileError {
    /// Wraps a system error, for `map_err`; `operation` is a verb.
    pub(crate) fn wrap(operation: &'static str) -> impl FnOnce(io::Error) -> io::Error {
        move |source| io::Error::new(source.kind(), Self { operation, source })
    }

    /// Whether an error of a mover is about its file. The error's text is complete then.
    pub fn is(error: &io::Error) -> bool {
        error
            .get_ref()
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }
}

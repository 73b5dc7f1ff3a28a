//! Why something was not built, not started, or failed.

use std::io;

use iperf_client::ClientError;
use iperf_report::Document;
use iperf_server::ServerError;
use thiserror::Error;

/// A value that a builder does not accept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{option} is {value}, and must be {allowed}")]
pub struct BuildError {
    /// The method of the builder that took it.
    pub option: &'static str,
    /// The value.
    pub value: String,
    /// What is allowed.
    pub allowed: &'static str,
}

/// Why there is no result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A builder was given a value that is not allowed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A file with a key cannot be used.
    #[error("{0}")]
    Login(String),
    /// The thread of a test or a server was not started, or has panicked.
    #[error("unable to run a thread: {0}")]
    Thread(#[source] io::Error),
    /// The test failed.
    #[error("{source}")]
    Test {
        /// Why.
        source: ClientError,
        /// What was measured until then; its `error` has the same reason.
        document: Box<Document>,
    },
    /// The server cannot serve.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl Error {
    /// A thread that has ended without a result.
    pub(crate) fn lost() -> Self {
        Self::Thread(io::Error::other("it ended without a result"))
    }
}

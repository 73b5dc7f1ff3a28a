//! Where io_uring may move the bytes of a stream, and why not elsewhere.

use iperf_model::{CopyMode, Io, ReceiveMode, SendMode};
use iperf_zc::probe;

use crate::movers::MoverContext;

/// `None` without a request for io_uring; otherwise why it can't be met.
type IoChoice = Option<Result<(), String>>;

impl MoverContext<'_> {
    /// For a sender that moves bytes in this mode.
    pub(super) fn io_of_sender(&self, mode: SendMode) -> IoChoice {
        self.choose(matches!(mode, SendMode::Copy | SendMode::Msg), mode.into())
    }

    /// For a stream that receives bytes.
    pub(super) fn io_of_receiver(&self) -> IoChoice {
        let mode = self.config.zerocopy.receive;
        self.choose(mode == ReceiveMode::Copy, mode.into())
    }

    /// For streams whose movers make system calls in any case.
    pub(super) fn io_of_others(&self) -> IoChoice {
        let reason = if self.config.transport.is_tcp() {
            "files are read and written by system calls"
        } else {
            "io_uring moves TCP streams only"
        };
        self.refuse(reason)
    }

    /// For requests and responses.
    pub(crate) fn io_of_exchanges(&self) -> IoChoice {
        self.refuse("requests and responses are system calls")
    }

    fn refuse(&self, reason: impl Into<String>) -> IoChoice {
        (self.io == Io::Uring).then(|| Err(reason.into()))
    }

    fn choose(&self, has_mode: bool, mode: CopyMode) -> IoChoice {
        if self.io == Io::Calls {
            return None;
        }
        if !self.config.transport.is_tcp() {
            return self.io_of_others();
        }
        if self.shares_thread {
            return self.refuse("streams that share a thread make system calls");
        }
        if !has_mode {
            return self.refuse(format!("there is no {} through io_uring", mode.name()));
        }
        Some(probe::uring_support().map_err(|reason| reason.to_string()))
    }
}

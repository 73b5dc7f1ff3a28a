//! Whether io_uring may move the bytes of a stream, and if not, why.

use iperf_model::{CopyMode, Io, ReceiveMode, SendMode};
use iperf_zc::probe;

use crate::modes::Modes;
use crate::movers::MoverContext;

/// `None` without a request for io_uring; otherwise why it can't be met.
type IoChoice = Option<Result<(), String>>;

const TCP_ONLY: &str = "io_uring moves TCP streams only";

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

    /// The modes of a mover that makes system calls in any case.
    pub(super) fn by_calls(&self, requested: impl Into<CopyMode>, chosen: CopyMode) -> Modes {
        let reason = if self.config.transport.is_tcp() {
            "files are read and written by system calls"
        } else {
            TCP_ONLY
        };
        Modes::new(requested, chosen).through(self.refuse(reason))
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
            return self.refuse(TCP_ONLY);
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

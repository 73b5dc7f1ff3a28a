//! The requested ways of moving a stream's bytes, and the report at the end.

use std::time::Duration;

use iperf_model::{CopyMode, CopyReport, Io, IoReport};
use iperf_zc::account::{Account, Report};

use crate::run::cpu::CpuTime;

/// What a worker had done when it stopped counting.
#[derive(Clone, Debug)]
pub(crate) struct WorkerReport {
    /// CPU time of its thread.
    pub(crate) cpu: CpuTime,
    /// How long its thread waited for a processor, if the system reports it.
    pub(crate) waited: Option<Duration>,
    /// The processor that it stopped counting on.
    pub(crate) core: Option<usize>,
    /// How its mover moved the bytes.
    pub(crate) report: Report,
}

/// How one end of a stream was to move its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Modes {
    /// What the test requests.
    requested: CopyMode,
    /// What its mover does, unless it falls back.
    chosen: CopyMode,
    /// Why that is another mode.
    reason: Option<String>,
    /// Whether io_uring is to move the bytes, or why not; `None` if nothing but system calls was asked for.
    io: Option<Result<(), String>>,
}

impl Modes {
    /// The requested mode, and the one to use: the same, the one that it resolves to, or another.
    pub(crate) fn new(requested: impl Into<CopyMode>, chosen: CopyMode) -> Self {
        Self {
            requested: requested.into(),
            chosen,
            reason: None,
            io: None,
        }
    }

    /// Gives the reason why it is another mode.
    pub(crate) fn because(self, reason: Option<String>) -> Self {
        Self { reason, ..self }
    }

    /// Takes note of a request for io_uring, and of why it can't be met.
    pub(crate) fn through(self, io: Option<Result<(), String>>) -> Self {
        Self { io, ..self }
    }

    /// What became of a request for io_uring.
    pub(crate) fn io_report(&self, worker: &WorkerReport) -> Option<IoReport> {
        let reason = match self.io.as_ref()? {
            Ok(()) => worker
                .report
                .calls_because
                .as_ref()
                .map(ToString::to_string),
            Err(reason) => Some(reason.clone()),
        };
        let used = match reason {
            None => Io::Uring,
            Some(_) => Io::Calls,
        };
        Some(IoReport { used, reason })
    }

    /// What became of it.
    pub(crate) fn report(&self, worker: &WorkerReport) -> CopyReport {
        let fallback = worker.report.fallback.as_ref();
        let account = worker.report.account;
        CopyReport {
            requested: self.requested,
            used: match fallback {
                Some(fallback) if fallback.ends_the_mode() => CopyMode::Copy,
                _ => self.chosen,
            },
            reason: fallback
                .map(ToString::to_string)
                .or(self.reason.clone())
                .or(copied_after_all(&account)),
            calls: account.calls,
            bytes_not_copied: account.uncopied,
            bytes_copied: account.copied,
            mappings: account.mappings,
            completions: account.completions,
            completions_copied: account.copied_completions,
            cpu: worker.cpu.total(),
        }
    }
}

/// The result of the completions of `MSG_ZEROCOPY`.
fn copied_after_all(account: &Account) -> Option<String> {
    let mostly = 2 * account.copied_completions > account.completions;
    mostly.then(|| "the kernel copied after all, as it does over loopback".to_owned())
}

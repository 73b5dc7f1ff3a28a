//! How a stream was to move its bytes, and what is said of it at the end.

use iperf_model::{CopyMode, CopyReport};

use crate::worker::Tally;

/// How one end of a stream was to move its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Modes {
    /// What the test asks for.
    requested: CopyMode,
    /// What its mover does, unless it falls back.
    chosen: CopyMode,
    /// Why that is another mode.
    reason: Option<String>,
}

impl Modes {
    /// The mode that was asked for, or one that it stands for.
    pub(crate) fn new(requested: impl Into<CopyMode>, chosen: CopyMode) -> Self {
        Self {
            requested: requested.into(),
            chosen,
            reason: None,
        }
    }

    /// Another mode than what was asked for.
    pub(crate) fn instead(
        requested: impl Into<CopyMode>,
        chosen: CopyMode,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::new(requested, chosen)
        }
    }

    /// What became of it.
    pub(crate) fn report(&self, tally: &Tally) -> CopyReport {
        let fallback = tally.fallback.as_ref();
        let account = tally.account;
        CopyReport {
            requested: self.requested,
            used: match fallback {
                Some(fallback) if fallback.ends_the_mode() => CopyMode::Copy,
                _ => self.chosen,
            },
            reason: fallback.map(ToString::to_string).or(self.reason.clone()),
            calls: account.calls,
            uncopied: account.uncopied,
            copied: account.copied,
            mappings: account.mappings,
            completions: account.completions,
            copied_completions: account.copied_completions,
            cpu: tally.cpu.total(),
        }
    }
}

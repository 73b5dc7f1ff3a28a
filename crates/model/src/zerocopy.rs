//! Moving bytes without copying them: what was requested, and what was done.

use std::time::Duration;

/// How a sender hands its bytes to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SendMode {
    /// `send(2)`: one copy into the kernel.
    #[default]
    Copy,
    /// What suits the transport best (`-Z`): `splice` over TCP, `MSG_ZEROCOPY` over vsock.
    Auto,
    /// `sendfile(2)` from a memory file (`--zerocopy=sendfile`).
    Sendfile,
    /// `vmsplice(2)` and `splice(2)` through a pipe (`--zerocopy=splice`).
    Splice,
    /// `send(2)` with `MSG_ZEROCOPY` (`--zerocopy=msg`).
    Msg,
}

/// How a receiver takes its bytes from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ReceiveMode {
    /// `recv(2)`: one copy out of the kernel (`--zerocopy-rx=off`).
    #[default]
    Copy,
    /// `mmap`, `getsockopt` and `madvise`: the pages of the receive queue themselves (`--zerocopy-rx=mmap`).
    Mmap,
    /// The kernel drops the bytes (`--zerocopy-rx=trunc`, `--skip-rx-copy`).
    Trunc,
    /// `splice(2)` to a pipe and on to `/dev/null` (`--zerocopy-rx=splice`).
    Splice,
}

/// How both ends of a test should move their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct ZeroCopy {
    /// The sending ends.
    pub send: SendMode,
    /// The receiving ends.
    pub receive: ReceiveMode,
}

impl ZeroCopy {
    /// Whether a mode was given other than those that `-Z` alone and iperf3's `--skip-rx-copy` imply.
    pub fn names_a_mode(self) -> bool {
        let Self { send, receive } = self;
        match receive {
            ReceiveMode::Splice => true,
            ReceiveMode::Mmap if send == SendMode::Copy => true,
            _ => !matches!(send, SendMode::Copy | SendMode::Auto),
        }
    }
}

/// A way to move bytes in either direction, as reports name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyMode {
    /// A copy by `send(2)` or `recv(2)`.
    Copy,
    /// Whatever suits the transport; only requested, never reported as used.
    Auto,
    /// `sendfile(2)`.
    Sendfile,
    /// `splice(2)`.
    Splice,
    /// `MSG_ZEROCOPY`.
    Msg,
    /// `mmap`, `getsockopt` and `madvise`.
    Mmap,
    /// `MSG_TRUNC`.
    Trunc,
}

impl CopyMode {
    const ALL: [Self; 7] = [
        Self::Copy,
        Self::Auto,
        Self::Sendfile,
        Self::Splice,
        Self::Msg,
        Self::Mmap,
        Self::Trunc,
    ];

    /// The name in JSON, in text, and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Auto => "auto",
            Self::Sendfile => "sendfile",
            Self::Splice => "splice",
            Self::Msg => "msg",
            Self::Mmap => "mmap",
            Self::Trunc => "trunc",
        }
    }

    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

impl From<SendMode> for CopyMode {
    fn from(mode: SendMode) -> Self {
        match mode {
            SendMode::Copy => Self::Copy,
            SendMode::Auto => Self::Auto,
            SendMode::Sendfile => Self::Sendfile,
            SendMode::Splice => Self::Splice,
            SendMode::Msg => Self::Msg,
        }
    }
}

impl From<ReceiveMode> for CopyMode {
    fn from(mode: ReceiveMode) -> Self {
        match mode {
            ReceiveMode::Copy => Self::Copy,
            ReceiveMode::Mmap => Self::Mmap,
            ReceiveMode::Trunc => Self::Trunc,
            ReceiveMode::Splice => Self::Splice,
        }
    }
}

impl TryFrom<CopyMode> for SendMode {
    type Error = CopyMode;

    fn try_from(mode: CopyMode) -> Result<Self, CopyMode> {
        Ok(match mode {
            CopyMode::Copy => Self::Copy,
            CopyMode::Auto => Self::Auto,
            CopyMode::Sendfile => Self::Sendfile,
            CopyMode::Splice => Self::Splice,
            CopyMode::Msg => Self::Msg,
            CopyMode::Mmap | CopyMode::Trunc => return Err(mode),
        })
    }
}

impl TryFrom<CopyMode> for ReceiveMode {
    type Error = CopyMode;

    fn try_from(mode: CopyMode) -> Result<Self, CopyMode> {
        Ok(match mode {
            CopyMode::Copy => Self::Copy,
            CopyMode::Mmap => Self::Mmap,
            CopyMode::Trunc => Self::Trunc,
            CopyMode::Splice => Self::Splice,
            CopyMode::Auto | CopyMode::Sendfile | CopyMode::Msg => return Err(mode),
        })
    }
}

/// How one end moved the bytes of one stream: from the first byte of the test to the last, the omitted period
/// included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// The requested mode.
    pub requested: CopyMode,
    /// The mode in use at the end.
    pub used: CopyMode,
    /// Why that is not the requested mode.
    pub reason: Option<String>,
    /// System calls that moved bytes.
    pub calls: u64,
    /// Bytes that were not copied: sent by reference, mapped, or dropped inside the kernel.
    pub bytes_not_copied: u64,
    /// Bytes that were copied between this program and the kernel, or by the kernel on the way.
    pub bytes_copied: u64,
    /// Calls that mapped something.
    pub mappings: u64,
    /// Sends whose completion was received (`MSG_ZEROCOPY`).
    pub completions: u64,
    /// Those of them that the kernel copied after all.
    pub completions_copied: u64,
    /// CPU time of the stream's thread.
    pub cpu: Duration,
}

impl CopyReport {
    /// All bytes moved.
    pub fn bytes(&self) -> u64 {
        self.bytes_not_copied.saturating_add(self.bytes_copied)
    }

    /// The part of the bytes that was not copied, 0 to 1; `None` when there were no bytes.
    pub fn uncopied_share(&self) -> Option<f64> {
        let bytes = self.bytes();
        (bytes > 0).then(|| self.bytes_not_copied as f64 / bytes as f64)
    }

    /// Bytes per mapping; `None` when nothing was mapped.
    pub fn mean_mapping(&self) -> Option<u64> {
        self.bytes_not_copied.checked_div(self.mappings)
    }

    /// Seconds of CPU time per 10⁹ bytes; `None` when there were no bytes.
    pub fn cpu_per_gigabyte(&self) -> Option<f64> {
        let bytes = self.bytes();
        (bytes > 0).then(|| self.cpu.as_secs_f64() / (bytes as f64 / 1e9))
    }

    /// Whether less was done than requested: another mode, or more than a twentieth of the bytes copied. That much is
    /// tolerated, since the last bytes of a stream seldom fill a page.
    pub fn falls_short(&self) -> bool {
        const ALLOWED: f64 = 0.05;
        if self.requested == CopyMode::Copy {
            return false;
        }
        let other = !matches!(self.requested, CopyMode::Auto) && self.used != self.requested;
        let copied = self
            .uncopied_share()
            .is_some_and(|share| share < 1.0 - ALLOWED);
        other || self.used == CopyMode::Copy || copied
    }

    /// Merges two streams. Where they differ, the worse one counts, and the reason of either is kept: the sum should
    /// show that a stream fell back.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let rank = |report: &Self| (report.used == CopyMode::Copy, report.falls_short());
        let (worse, better) = if rank(self) > rank(other) {
            (self, other)
        } else {
            (other, self)
        };
        Self {
            requested: other.requested,
            used: worse.used,
            reason: worse.reason.clone().or_else(|| better.reason.clone()),
            calls: self.calls.saturating_add(other.calls),
            bytes_not_copied: self.bytes_not_copied.saturating_add(other.bytes_not_copied),
            bytes_copied: self.bytes_copied.saturating_add(other.bytes_copied),
            mappings: self.mappings.saturating_add(other.mappings),
            completions: self.completions.saturating_add(other.completions),
            completions_copied: self
                .completions_copied
                .saturating_add(other.completions_copied),
            cpu: self.cpu.saturating_add(other.cpu),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(used: CopyMode, bytes_not_copied: u64, bytes_copied: u64) -> CopyReport {
        CopyReport {
            requested: CopyMode::Mmap,
            used,
            reason: None,
            calls: 2,
            bytes_not_copied,
            bytes_copied,
            mappings: 4,
            completions: 0,
            completions_copied: 0,
            cpu: Duration::from_millis(500),
        }
    }

    #[test]
    fn names_lead_back_to_their_modes() {
        for mode in CopyMode::ALL {
            assert_eq!(CopyMode::from_name(mode.name()), Some(mode));
        }
        assert_eq!(CopyMode::from_name("MSG"), None);
        for mode in CopyMode::ALL {
            if let Ok(send) = SendMode::try_from(mode) {
                assert_eq!(CopyMode::from(send), mode);
            }
            if let Ok(receive) = ReceiveMode::try_from(mode) {
                assert_eq!(CopyMode::from(receive), mode);
            }
        }
    }

    #[test]
    fn shares_are_unknown_without_bytes() {
        let none = report(CopyMode::Mmap, 0, 0);
        assert_eq!(
            (none.uncopied_share(), none.cpu_per_gigabyte()),
            (None, None)
        );
        let some = report(CopyMode::Mmap, 3_000_000, 1_000_000);
        assert_eq!(some.uncopied_share(), Some(0.75));
        assert_eq!(some.mean_mapping(), Some(750_000));
        assert_eq!(some.cpu_per_gigabyte(), Some(125.0));
    }

    #[test]
    fn falling_short_is_another_mode_or_many_copies() {
        assert!(!report(CopyMode::Mmap, 95, 5).falls_short());
        assert!(report(CopyMode::Mmap, 94, 6).falls_short());
        assert!(report(CopyMode::Copy, 0, 0).falls_short());
        let trunc = report(CopyMode::Trunc, 100, 0);
        assert!(trunc.falls_short());
        let requested = CopyMode::Auto;
        assert!(!CopyReport { requested, ..trunc }.falls_short());
        let requested = CopyMode::Copy;
        let copy = report(CopyMode::Copy, 0, 100);
        assert!(!CopyReport { requested, ..copy }.falls_short());
    }

    #[test]
    fn a_sum_shows_that_a_stream_fell_back() {
        let good = report(CopyMode::Mmap, 100, 0);
        let bad = CopyReport {
            reason: Some("why".to_owned()),
            ..report(CopyMode::Copy, 0, 100)
        };
        for sum in [good.plus(&bad), bad.plus(&good)] {
            assert_eq!(
                (sum.used, sum.reason.as_deref()),
                (CopyMode::Copy, Some("why"))
            );
            assert_eq!(
                (sum.bytes_not_copied, sum.bytes_copied, sum.calls),
                (100, 100, 4)
            );
        }
        let partly = CopyReport {
            reason: Some("something else".to_owned()),
            ..report(CopyMode::Mmap, 50, 50)
        };
        for sum in [partly.plus(&bad), bad.plus(&partly)] {
            assert_eq!(
                (sum.used, sum.reason.as_deref()),
                (CopyMode::Copy, Some("why"))
            );
        }
    }
}

//! What the kernel reports about an SCTP sender: its peer's window at the end of each interval, retransmissions, and the
//! gaps that were reported to it. There are no clocks like those of `tcp_info`.
//!
//! A window that is closed behind a gap for a while proves nothing about the receiver: what arrived waits in its kernel for
//! the missing chunk. But a kernel drops what finds no room, which makes gaps as well: a window that is closed most of the
//! time is the receiver's. And a chunk that is resent while none arrived behind it only shows that an acknowledgement was
//! late: it probed a closed window, or an end lacked a processor.

use iperf_model::{Cause, Limitation, Transport};

use super::{Direction, LOSS, NOTEWORTHY};

/// From which part of the looks on a closed window is the receiver's, gaps or not.
const MOSTLY: f64 = 0.5;

impl Direction<'_> {
    fn sends_over_sctp(&self) -> bool {
        self.role.sends() && self.frame.transport == Transport::Sctp
    }

    /// In which share of the samples the peer's window was closed.
    fn closed(&self) -> Option<f64> {
        self.mean(|stream| stream.window_closed)
            .filter(|_| self.sends_over_sctp())
    }

    /// Packets that were sent, as far as the bytes tell.
    fn sctp_packets(&self) -> Option<f64> {
        let packet = self.tcp_last(|info| (info.pmtu > 0).then(|| f64::from(info.pmtu)))?;
        let bytes: u64 = self.streams.iter().map(|stream| stream.bytes).sum();
        Some((bytes as f64 / packet).max(1.0))
    }

    /// Whether the network lost chunks while others arrived behind them.
    fn has_gaps(&self) -> bool {
        let gaps = self.tcp_sum(|info| info.gaps.unwrap_or(0));
        self.sctp_packets()
            .is_some_and(|packets| gaps / packets >= LOSS)
    }

    pub(super) fn sctp_window(&self) -> Option<Limitation> {
        let share = self.closed()?;
        (share >= MOSTLY || share >= NOTEWORTHY && !self.has_gaps()).then(|| {
            let percent = 100.0 * share;
            let evidence = format!(
                "closed at the end of {percent:.0} % of the intervals: the receiver reads slowly"
            );
            self.limit(Cause::ReceiveWindow, share, evidence)
        })
    }

    pub(super) fn sctp_losses(&self) -> Option<Limitation> {
        let is_mostly_closed = self.closed()? >= MOSTLY;
        let share = self.tcp_sum(|info| info.total_retrans) / self.sctp_packets()?;
        (share >= LOSS && self.has_gaps() && !is_mostly_closed).then(|| {
            let millis = self.mean_rtt().unwrap_or(0.0) / 1e3;
            let evidence = format!(
                "{:.2} % retransmitted, round trip {millis:.0} ms on average",
                100.0 * share
            );
            self.limit(Cause::Congestion, share, evidence)
        })
    }
}

//! What the kernel shows of an SCTP sender: its peer's window at the end of each interval, and what it sent again. There
//! are no clocks, as `tcp_info` has.

use iperf_model::{Cause, Limitation, Transport};

use super::{Direction, LOSS, NOTEWORTHY};

impl Direction<'_> {
    fn sends_over_sctp(&self) -> bool {
        self.role.sends() && self.frame.transport == Transport::Sctp
    }

    /// In which part of the looks at it the peer's window was closed.
    fn closed(&self) -> Option<f64> {
        self.mean(|stream| stream.window_closed)
            .filter(|_| self.sends_over_sctp())
    }

    pub(super) fn sctp_window(&self) -> Option<Limitation> {
        let share = self.closed()?;
        (share >= NOTEWORTHY).then(|| {
            let percent = 100.0 * share;
            let evidence = format!(
                "closed at the end of {percent:.0} % of the intervals: the receiver reads slowly"
            );
            self.limit(Cause::ReceiveWindow, share, evidence)
        })
    }

    /// Chunks were sent again, and not to probe a closed window, nor since an acknowledgement came late for want of a
    /// processor.
    pub(super) fn sctp_losses(&self) -> Option<Limitation> {
        let is_open = self.closed()? == 0.0;
        let lacks_cpu = self
            .threads()
            .is_some_and(|(_, waited)| waited >= NOTEWORTHY);
        let packet = self.tcp_last(|info| (info.pmtu > 0).then(|| f64::from(info.pmtu)))?;
        let bytes: u64 = self.streams.iter().map(|stream| stream.bytes).sum();
        let share = self.tcp_sum(|info| info.total_retrans) / (bytes as f64 / packet).max(1.0);
        (share >= LOSS && is_open && !lacks_cpu).then(|| {
            let millis = self.mean_rtt().unwrap_or(0.0) / 1e3;
            let evidence = format!(
                "{:.2} % retransmitted, round trip {millis:.0} ms in the mean",
                100.0 * share
            );
            self.limit(Cause::Congestion, share, evidence)
        })
    }
}

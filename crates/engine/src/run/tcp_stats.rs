//! Turns snapshots of `tcp_info` into what an interval and a whole test report.

use std::os::fd::AsFd;

use iperf_model::{TcpSample, TcpTotals, Transport};
use iperf_zc::tcp_info::TcpInfo;

use crate::run::kernel_view;

/// The statistics of one sending TCP stream.
#[derive(Debug, Default)]
pub(crate) struct TcpStats {
    /// `total_retrans` at the last sample.
    last_retrans: u32,
    /// `total_retrans` where the test counts from.
    base_retrans: u32,
    totals: TcpTotals,
    /// Where the test counts from, and the last sample.
    base: TcpInfo,
    last: TcpInfo,
    rtt_sum: u64,
    samples: u32,
    /// Samples in which the peer's window was closed.
    closed: u32,
}

impl TcpStats {
    /// Counts from now on, where the kernel has figures of the connection.
    pub(crate) fn begin(transport: Transport, socket: &impl AsFd) -> Option<Self> {
        let info = kernel_view::read(transport, socket.as_fd()).ok()?;
        let mut stats = Self::default();
        stats.restart(&info);
        Some(stats)
    }

    /// Counts from here on: the start of the test, or the end of its omitted period.
    pub(crate) fn restart(&mut self, info: &TcpInfo) {
        *self = Self {
            last_retrans: info.total_retrans,
            base_retrans: info.total_retrans,
            base: *info,
            last: *info,
            ..Self::default()
        };
    }

    /// Takes a snapshot at the end of an interval.
    pub(crate) fn sample(&mut self, info: &TcpInfo) -> TcpSample {
        let sample = TcpSample {
            retransmits: u64::from(info.total_retrans.wrapping_sub(self.last_retrans)),
            snd_cwnd: u64::from(info.snd_cwnd) * u64::from(info.snd_mss),
            snd_wnd: u64::from(info.snd_wnd.unwrap_or(0)),
            rtt: info.rtt,
            rttvar: info.rttvar,
            pmtu: info.pmtu,
            reorder: info.reord_seen.unwrap_or(0),
        };
        self.last_retrans = info.total_retrans;
        self.last = *info;
        let totals = &mut self.totals;
        totals.retransmits = u64::from(info.total_retrans.wrapping_sub(self.base_retrans));
        totals.reorder = sample.reorder;
        totals.max_snd_cwnd = totals.max_snd_cwnd.max(sample.snd_cwnd);
        totals.max_snd_wnd = totals.max_snd_wnd.max(sample.snd_wnd);
        totals.max_rtt = totals.max_rtt.max(sample.rtt);
        totals.min_rtt = if self.samples == 0 {
            sample.rtt
        } else {
            totals.min_rtt.min(sample.rtt)
        };
        self.rtt_sum += u64::from(sample.rtt);
        self.samples += 1;
        self.closed += u32::from(info.probes > 0);
        let mean = self.rtt_sum / u64::from(self.samples);
        totals.mean_rtt = u32::try_from(mean).unwrap_or(u32::MAX);
        sample
    }

    /// The kernel's figures where the test counts from, and at the last sample.
    pub(crate) fn range(&self) -> (TcpInfo, TcpInfo) {
        (self.base, self.last)
    }

    /// In which part of the samples since the last restart the peer's window was closed.
    pub(crate) fn window_closed(&self) -> Option<f64> {
        (self.samples > 0).then(|| f64::from(self.closed) / f64::from(self.samples))
    }

    /// The totals of all samples since the last restart.
    pub(crate) fn totals(&self) -> TcpTotals {
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(total_retrans: u32, rtt: u32, snd_cwnd: u32) -> TcpInfo {
        TcpInfo {
            total_retrans,
            rtt,
            snd_cwnd,
            snd_mss: 1000,
            ..TcpInfo::default()
        }
    }

    #[test]
    fn samples_are_differences_and_totals_count_from_the_restart() {
        let mut stats = TcpStats::default();
        stats.restart(&info(5, 0, 0));
        assert_eq!(stats.sample(&info(7, 100, 10)).retransmits, 2);
        assert_eq!(stats.sample(&info(7, 300, 30)).retransmits, 0);
        let last = stats.sample(&info(8, 201, 20));
        assert_eq!((last.retransmits, last.snd_cwnd), (1, 20_000));
        let totals = stats.totals();
        assert_eq!(totals.retransmits, 3);
        assert_eq!(totals.max_snd_cwnd, 30_000);
        assert_eq!(
            (totals.min_rtt, totals.mean_rtt, totals.max_rtt),
            (100, 200, 300)
        );
        assert_eq!(stats.window_closed(), Some(0.0));
        let probes = 1;
        stats.sample(&TcpInfo {
            probes,
            ..info(8, 0, 0)
        });
        assert_eq!(stats.window_closed(), Some(0.25));
        stats.restart(&info(8, 0, 0));
        assert_eq!(stats.totals(), TcpTotals::default());
        assert_eq!(stats.window_closed(), None);
    }
}

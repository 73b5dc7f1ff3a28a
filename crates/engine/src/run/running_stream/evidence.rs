//! A stream's evidence of what limits it.

use std::net::IpAddr;
use std::time::Duration;

use iperf_model::{Detail, StreamOutcome};

use crate::nearby::is_nearby;
use crate::run::limits::Evidence;
use crate::run::running_stream::RunningStream;
use crate::run::tcp_stats::TcpStats;

impl RunningStream {
    /// The addresses of this end and of the peer, over IP.
    pub(crate) fn route(&self) -> Option<(IpAddr, IpAddr)> {
        let local = self.socket.local_addr().ok()?.as_socket()?;
        let peer = self.socket.peer_addr().ok()?.as_socket()?;
        Some((local.ip(), peer.ip()))
    }

    /// What the stream shows of its limits. `outcome` is its own, complete with what its socket dropped.
    pub(crate) fn evidence(&self, outcome: &StreamOutcome) -> Evidence {
        let report = self.report.get();
        let datagrams = match &outcome.detail {
            Detail::Datagrams(totals) if !self.sends() => Some(totals),
            _ => None,
        };
        let count = |signed: i64| u64::try_from(signed).unwrap_or(0);
        Evidence {
            role: self.info.role,
            bytes: self.last_bytes - self.base_bytes,
            cpu: report.map_or(Duration::ZERO, |report| report.cpu.total()),
            waited: report.and_then(|report| report.waited),
            core: report.and_then(|report| report.core),
            congestion: self.congestion.clone(),
            send_buffer: self.socket.send_buffer_size().ok(),
            nearby: self.sends() && is_nearby(&self.socket),
            tcp: self.tcp.as_ref().map(|stats| {
                let (first, last) = stats.range();
                (first, last, stats.totals())
            }),
            window_closed: self.tcp.as_ref().and_then(TcpStats::window_closed),
            datagrams: datagrams.map(|totals| {
                let lost = totals.counted_lost().map_or(0, count);
                // Those of the omitted period are among the drops.
                let dropped = totals.socket_drops.unwrap_or(0).min(lost);
                (totals.counted_packets(), lost, dropped)
            }),
        }
    }
}

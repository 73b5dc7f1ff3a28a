//! What limited a throughput test, from what this end's kernel and threads know. What needs the other end's knowledge, it
//! finds itself and tells.
//!
//! ```text
//! tcp_info   time for which the receiver's window or the send buffer held the sender back; retransmits; round trips
//! threads    time on a processor, and time spent waiting for one (schedstat)
//! sockets    datagrams that found no room
//! ```

use std::time::Duration;

use iperf_model::{Cause, Limitation, TcpTotals, Transport};
use iperf_zc::tcp_info::TcpInfo;

/// From which part of the time on a cause is named.
const NOTEWORTHY: f64 = 0.2;
/// A thread that is busy for so long does nothing but work.
const BUSY: f64 = 0.9;
/// A rate that is kept to is this near.
const AT_RATE: f64 = 0.95;
/// The part of datagrams or segments whose loss slows a test.
const LOSS: f64 = 0.001;

/// What one stream shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) sending: bool,
    /// Bytes since the omitted period.
    pub(crate) bytes: u64,
    /// Of the worker's thread, from the start on: on a processor, and waiting for one.
    pub(crate) cpu: Duration,
    pub(crate) waited: Option<Duration>,
    /// Sender: the kernel's figures at the end of the omitted period and at the end, and of the intervals.
    pub(crate) tcp: Option<(TcpInfo, TcpInfo, TcpTotals)>,
    /// Receiver of datagrams: how many there were, how many were lost, and how many of those in its socket.
    pub(crate) datagrams: Option<(u64, u64, u64)>,
}

/// What is known of the whole test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) transport: Transport,
    /// `-b`, in bits per second and stream.
    pub(crate) rate: Option<u64>,
    /// Seconds without the omitted period.
    pub(crate) seconds: f64,
    /// Seconds for which the threads ran.
    pub(crate) running: f64,
}

/// All limits that this end knows of, for each direction.
pub(crate) fn find(frame: &Frame, streams: &[Evidence]) -> Vec<Limitation> {
    if frame.seconds <= 0.0 || frame.running <= 0.0 {
        return Vec::new();
    }
    let mut limits = Vec::new();
    for sending in [true, false] {
        let streams = streams.iter().filter(|stream| stream.sending == sending);
        let streams: Vec<_> = streams.collect();
        if streams.is_empty() {
            continue;
        }
        let direction = Direction {
            frame,
            streams,
            sending,
        };
        let found = [
            direction.bitrate(),
            direction.window(),
            direction.send_buffer(),
            direction.congestion(),
            direction.losses(),
            direction.socket_buffer(),
            direction.cpu(),
        ];
        let before = limits.len();
        limits.extend(found.into_iter().flatten());
        if limits.len() == before {
            limits.extend(direction.credit());
        }
    }
    limits
}

/// The streams of one direction.
struct Direction<'a> {
    frame: &'a Frame,
    streams: Vec<&'a Evidence>,
    sending: bool,
}

impl Direction<'_> {
    fn limit(&self, cause: Cause, share: f64, evidence: String) -> Limitation {
        Limitation {
            sending: self.sending,
            cause,
            share: share.clamp(0.0, 1.0),
            evidence,
        }
    }

    fn mean(&self, figure: impl Fn(&Evidence) -> Option<f64>) -> Option<f64> {
        let figures: Option<Vec<f64>> = self.streams.iter().map(|stream| figure(stream)).collect();
        let figures = figures.filter(|figures| !figures.is_empty())?;
        Some(figures.iter().sum::<f64>() / figures.len() as f64)
    }

    /// The mean part of the time that a clock of tcp_info ran.
    fn tcp_share(&self, clock: impl Fn(&TcpInfo) -> Option<u64>) -> Option<f64> {
        let micros = self.mean(|stream| {
            let (first, last, _) = stream.tcp.as_ref()?;
            Some(clock(last)?.saturating_sub(clock(first)?) as f64)
        })?;
        Some(micros / 1e6 / self.frame.seconds)
    }

    fn bitrate(&self) -> Option<Limitation> {
        let rate = self.frame.rate.filter(|_| self.sending)? as f64;
        let sent = self.mean(|stream| Some(stream.bytes as f64 * 8.0 / self.frame.seconds))?;
        let share = sent / rate;
        (share >= AT_RATE).then(|| {
            let evidence = format!("{:.1} % of the rate that was asked for", 100.0 * share);
            self.limit(Cause::Bitrate, share, evidence)
        })
    }

    fn window(&self) -> Option<Limitation> {
        let share = self.tcp_share(|info| info.rwnd_limited_us)?;
        (share >= NOTEWORTHY).then(|| {
            let window = self.mean(|stream| Some(f64::from(stream.tcp.as_ref()?.1.snd_wnd?)));
            let window = window.map_or(String::new(), |bytes| {
                format!("; the last one was {bytes:.0} bytes")
            });
            let percent = 100.0 * share.min(1.0);
            let evidence = format!(
                "{percent:.0} % of the time{window}: the receiver reads slowly, or try -w or its net.ipv4.tcp_rmem"
            );
            self.limit(Cause::ReceiveWindow, share, evidence)
        })
    }

    fn send_buffer(&self) -> Option<Limitation> {
        let share = self.tcp_share(|info| info.sndbuf_limited_us)?;
        (share >= NOTEWORTHY).then(|| {
            let percent = 100.0 * share.min(1.0);
            let evidence = format!("{percent:.0} % of the time: try -w or net.ipv4.tcp_wmem");
            self.limit(Cause::SendBuffer, share, evidence)
        })
    }

    /// Data was there to be sent, and neither end's buffers were in the way: the congestion window was.
    fn congestion(&self) -> Option<Limitation> {
        let busy = self.tcp_share(|info| info.busy_us)?;
        let window = self.tcp_share(|info| info.rwnd_limited_us)?;
        let buffer = self.tcp_share(|info| info.sndbuf_limited_us)?;
        let share = busy - window - buffer;
        let sum = |figure: &dyn Fn(&TcpInfo) -> u64| -> u64 {
            let deltas = self.streams.iter().filter_map(|stream| {
                let (first, last, _) = stream.tcp.as_ref()?;
                Some(figure(last).saturating_sub(figure(first)))
            });
            deltas.sum()
        };
        let again = sum(&|info| info.total_retrans.into());
        let segments = sum(&|info| info.data_segs_out.unwrap_or(0).into());
        let lost = again as f64 / segments.max(1) as f64;
        let least = self.mean(|stream| Some(f64::from(stream.tcp.as_ref()?.1.min_rtt?)))?;
        let mean = self.mean(|stream| Some(f64::from(stream.tcp.as_ref()?.2.mean_rtt)))?;
        // Round trips within a machine are so short that scheduling doubles them.
        let queues = mean > 2.0 * least && mean - least > 2000.0;
        (share >= NOTEWORTHY && (lost >= LOSS || queues)).then(|| {
            let evidence = format!(
                "{:.2} % retransmitted, round trip {:.2} ms at least and {:.2} ms in the mean",
                100.0 * lost,
                least / 1e3,
                mean / 1e3
            );
            self.limit(Cause::Congestion, share, evidence)
        })
    }

    /// Datagrams: all, lost, lost in the socket.
    fn datagrams(&self) -> Option<(u64, u64, u64)> {
        let counts = self.streams.iter().filter_map(|stream| stream.datagrams);
        counts.reduce(|sum, part| (sum.0 + part.0, sum.1 + part.1, sum.2 + part.2))
    }

    fn losses(&self) -> Option<Limitation> {
        let (all, lost, dropped) = self.datagrams()?;
        let share = lost.saturating_sub(dropped) as f64 / all.max(1) as f64;
        (share >= LOSS).then(|| {
            let evidence = format!("{:.2} % of the datagrams lost on the way", 100.0 * share);
            self.limit(Cause::Congestion, share, evidence)
        })
    }

    fn socket_buffer(&self) -> Option<Limitation> {
        let (all, _, dropped) = self.datagrams()?;
        let share = dropped as f64 / all.max(1) as f64;
        (share >= LOSS).then(|| {
            let evidence = format!(
                "{:.2} % of the datagrams found no room: try -w or its net.core.rmem_max",
                100.0 * share
            );
            self.limit(Cause::SocketBuffer, share, evidence)
        })
    }

    fn cpu(&self) -> Option<Limitation> {
        let running = self.frame.running;
        let part = |time: Duration| time.as_secs_f64() / running;
        let busy = self.mean(|stream| Some(part(stream.cpu)))?;
        let waited = self.mean(|stream| stream.waited.map(part)).unwrap_or(0.0);
        // A thread that is held back by its rate waits little and works little.
        let is_busy = busy + waited >= BUSY && self.bitrate().is_none();
        (is_busy || waited >= 2.0 * NOTEWORTHY).then(|| {
            let cause = if self.sending {
                Cause::SenderCpu
            } else {
                Cause::ReceiverCpu
            };
            let evidence = format!(
                "its thread worked {:.0} % of the time and waited {:.0} % for a processor",
                100.0 * busy.min(1.0),
                100.0 * waited.min(1.0)
            );
            self.limit(cause, busy + waited, evidence)
        })
    }

    /// No network lies between the ends of a vsock: a sender that does not work waits for its peer.
    fn credit(&self) -> Option<Limitation> {
        if !self.sending || !self.frame.transport.is_vsock() {
            return None;
        }
        let busy = self.mean(|stream| Some(stream.cpu.as_secs_f64() / self.frame.running))?;
        let share = 1.0 - busy;
        (share >= NOTEWORTHY).then(|| {
            let percent = 100.0 * share;
            let evidence = format!("the sender waited for its peer {percent:.0} % of the time");
            self.limit(Cause::Credit, share, evidence)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame {
        transport: Transport::Tcp,
        rate: None,
        seconds: 10.0,
        running: 10.0,
    };

    fn sender(last: TcpInfo, mean_rtt: u32) -> Evidence {
        let totals = TcpTotals {
            mean_rtt,
            ..TcpTotals::default()
        };
        let first = TcpInfo {
            busy_us: Some(0),
            rwnd_limited_us: Some(0),
            sndbuf_limited_us: Some(0),
            data_segs_out: Some(0),
            ..TcpInfo::default()
        };
        Evidence {
            sending: true,
            bytes: 10_000_000,
            tcp: Some((first, last, totals)),
            ..Evidence::default()
        }
    }

    fn info(busy: u64, rwnd: u64, sndbuf: u64) -> TcpInfo {
        TcpInfo {
            busy_us: Some(busy * 1_000_000),
            rwnd_limited_us: Some(rwnd * 1_000_000),
            sndbuf_limited_us: Some(sndbuf * 1_000_000),
            data_segs_out: Some(10_000),
            min_rtt: Some(20_000),
            ..TcpInfo::default()
        }
    }

    fn causes(frame: Frame, stream: Evidence) -> Vec<Cause> {
        let found = find(&frame, &[stream]);
        found.into_iter().map(|limit| limit.cause).collect()
    }

    #[test]
    fn the_kernels_clocks_tell_what_held_the_sender_back() {
        let cause = |last| causes(FRAME, sender(last, 21_000));
        assert_eq!(cause(info(10, 7, 0)), [Cause::ReceiveWindow]);
        assert_eq!(cause(info(10, 0, 4)), [Cause::SendBuffer]);
        assert_eq!(cause(info(10, 0, 0)), [], "nothing lost, nothing queued");
        let lossy = TcpInfo {
            total_retrans: 80,
            ..info(10, 0, 0)
        };
        assert_eq!(cause(lossy), [Cause::Congestion]);
        let queued = causes(FRAME, sender(info(10, 0, 0), 180_000));
        assert_eq!(queued, [Cause::Congestion]);
    }

    #[test]
    fn a_rate_that_is_kept_is_the_limit_and_no_other() {
        let frame = |rate| Frame {
            rate: Some(rate),
            ..FRAME
        };
        let at = |rate| causes(frame(rate), sender(info(1, 0, 0), 21_000));
        assert_eq!(at(8_000_000), [Cause::Bitrate]);
        assert_eq!(at(16_000_000), []);
    }

    #[test]
    fn threads_that_work_or_wait_for_a_processor_are_the_limit() {
        let thread = |cpu, waited| Evidence {
            cpu: Duration::from_secs(cpu),
            waited: Some(Duration::from_secs(waited)),
            ..Evidence::default()
        };
        assert_eq!(causes(FRAME, thread(10, 0)), [Cause::ReceiverCpu]);
        assert_eq!(causes(FRAME, thread(3, 6)), [Cause::ReceiverCpu]);
        assert_eq!(causes(FRAME, thread(3, 1)), []);
    }

    #[test]
    fn datagrams_are_lost_on_the_way_or_in_the_socket() {
        let lost = |lost, dropped| Evidence {
            datagrams: Some((1000, lost, dropped)),
            ..Evidence::default()
        };
        assert_eq!(causes(FRAME, lost(50, 50)), [Cause::SocketBuffer]);
        assert_eq!(causes(FRAME, lost(50, 0)), [Cause::Congestion]);
        assert_eq!(causes(FRAME, lost(0, 0)), []);
    }

    #[test]
    fn a_vsock_sender_that_does_not_work_waits_for_its_peer() {
        let frame = Frame {
            transport: Transport::Vsock,
            ..FRAME
        };
        let stream = Evidence {
            sending: true,
            cpu: Duration::from_secs(2),
            ..Evidence::default()
        };
        assert_eq!(causes(frame, stream), [Cause::Credit]);
    }
}

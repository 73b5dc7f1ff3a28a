//! What the kernel reports about a TCP sender in `tcp_info`.

use iperf_model::{Cause, Limitation};
use iperf_zc::tcp_info::TcpInfo;

use super::{Direction, LOSS, NOTEWORTHY, bits};

/// A window that was never as large as this is small: with the kernel's defaults it is larger from the start.
const SMALL_WINDOW: f64 = 60_000.0;
/// A window of less than this part of the largest one is as good as closed.
const CLOSED: f64 = 16.0;
/// A send buffer is ample if it could carry this many times what was sent, one buffer per shortest round trip.
const AMPLE: f64 = 10.0;
/// A pacing rate counts the headers of packets, which the data does not.
const AT_PACE: f64 = 0.9;

impl Direction<'_> {
    /// The mean part of the time that a clock of tcp_info ran.
    fn tcp_share(&self, clock: impl Fn(&TcpInfo) -> Option<u64>) -> Option<f64> {
        let micros = self.mean(|stream| {
            let (first, last, _) = stream.tcp.as_ref()?;
            Some(clock(last)?.saturating_sub(clock(first)?) as f64)
        })?;
        Some(micros / 1e6 / self.frame.seconds)
    }

    /// The mean of a figure at the end of the test.
    pub(super) fn tcp_last(&self, figure: impl Fn(&TcpInfo) -> Option<f64>) -> Option<f64> {
        self.mean(|stream| figure(&stream.tcp.as_ref()?.1))
    }

    /// By how much a counter went up, over all streams.
    pub(super) fn tcp_sum(&self, counter: impl Fn(&TcpInfo) -> u32) -> f64 {
        let streams = self.streams.iter();
        let counts = streams.filter_map(|stream| {
            let (first, last, _) = stream.tcp.as_ref()?;
            Some(f64::from(counter(last).wrapping_sub(counter(first))))
        });
        counts.sum()
    }

    /// Microseconds.
    pub(super) fn mean_rtt(&self) -> Option<f64> {
        self.mean(|stream| Some(f64::from(stream.tcp.as_ref()?.2.mean_rtt)))
    }

    pub(super) fn pacing_rate(&self) -> Option<Limitation> {
        let most = self.tcp_last(|info| Some(info.max_pacing_rate? as f64 * 8.0))?;
        let share = self.rate()? / most;
        (share >= AT_PACE).then(|| {
            let evidence = format!("the kernel paces to {}", bits(most));
            self.limit(Cause::PacingRate, share, evidence)
        })
    }

    pub(super) fn window(&self) -> Option<Limitation> {
        let share = self.tcp_share(|info| info.rwnd_limited_us)? + self.unread().unwrap_or(0.0);
        (share >= NOTEWORTHY).then(|| {
            let percent = 100.0 * share.min(1.0);
            let window = self.window_advice().unwrap_or_default();
            let evidence = format!("{percent:.0} % of the time{window}");
            self.limit(Cause::ReceiveWindow, share, evidence)
        })
    }

    /// What the window allowed, and what would make it larger, if it was used up.
    fn window_advice(&self) -> Option<String> {
        let last = self.tcp_last(|info| info.snd_wnd.map(f64::from))?;
        let largest = self.mean(|stream| Some(stream.tcp.as_ref()?.2.max_snd_wnd as f64))?;
        let rtt = self.mean_rtt().filter(|rtt| *rtt > 0.0)? / 1e6;
        let (allowed, rate) = (largest * 8.0 / rtt, self.rate()?);
        if largest >= SMALL_WINDOW && last < largest / CLOSED {
            return Some("; it was closed at the end: the receiver reads slowly".to_owned());
        }
        let advice = if self.frame.sized {
            ": try a larger -w, or none".to_owned()
        } else if largest >= SMALL_WINDOW && allowed > 2.0 * rate {
            return Some(format!(
                "; it was up to {largest:.0} bytes, more than was used: the receiver opened it late, or reads slowly"
            ));
        } else {
            self.larger_window(largest, rtt)
        };
        let (allowed, millis) = (bits(allowed), rtt * 1e3);
        Some(format!(
            "; it was up to {largest:.0} bytes, for {allowed} at {millis:.2} ms{advice}"
        ))
    }

    /// Advice for a larger window: the bandwidth-delay product for the interface's speed, if that is known. `rtt` is in
    /// seconds.
    fn larger_window(&self, window: f64, rtt: f64) -> String {
        let link = self.frame.machine.link.as_ref();
        let speed = link.and_then(|carried| carried.link.speed);
        let path = speed.map(|mbps| f64::from(mbps) * 1e6 / 8.0 * rtt);
        let Some(path) = path.filter(|path| *path > window) else {
            return ": try the receiver's net.ipv4.tcp_rmem, or -w up to its net.core.rmem_max"
                .to_owned();
        };
        let (mega, kibi) = (path / 1e6, (path / 1024.0).ceil());
        let size = if kibi < 1024.0 {
            format!("{kibi:.0}K")
        } else {
            format!("{:.0}M", (kibi / 1024.0).ceil())
        };
        format!(
            "; bandwidth × delay is {mega:.2} MB: try the receiver's net.ipv4.tcp_rmem, or -w {size} and net.core.rmem_max"
        )
    }

    /// The part of the time in which an ample send buffer was full: within a machine nothing is in flight for long, so
    /// the receiver had not read, and delayed its acknowledgements.
    fn unread(&self) -> Option<f64> {
        self.tcp_share(|info| info.sndbuf_limited_us)
            .filter(|_| self.has_ample_buffer())
    }

    /// Whether the buffer that `--sndbuf` set is [`AMPLE`].
    fn has_ample_buffer(&self) -> bool {
        let trip = self.tcp_last(|info| info.min_rtt.map(f64::from));
        let sent = |trip: f64| Some(self.rate()? / 8.0 * trip / 1e6);
        let used = trip.and_then(sent).zip(self.buffer());
        self.has_small_buffer() && used.is_some_and(|(sent, buffer)| sent * AMPLE < buffer)
    }

    /// Whether the path has delivered [`AMPLE`] times the rate to a receiver that read: no queue on it is the limit.
    fn was_faster(&self) -> bool {
        let delivered = self.tcp_last(|info| Some(info.delivery_rate? as f64 * 8.0));
        delivered
            .zip(self.rate())
            .is_some_and(|(delivered, rate)| delivered > rate * AMPLE)
    }

    fn buffer(&self) -> Option<f64> {
        self.mean(|stream| Some(stream.send_buffer? as f64))
    }

    /// The bytes in flight per round trip, if they fill the buffer. It also holds the kernel's headers, which are as
    /// large as small packets.
    fn full_buffer_under_way(&self) -> Option<f64> {
        let buffer = self.buffer()?;
        let under_way = self.rate()? / 8.0 * self.mean_rtt()? / 1e6;
        (under_way >= buffer / 4.0).then_some(under_way.min(buffer))
    }

    pub(super) fn send_buffer(&self) -> Option<Limitation> {
        let share = self.tcp_share(|info| info.sndbuf_limited_us)?;
        if self.unread().is_some() {
            return None;
        }
        (share >= NOTEWORTHY).then(|| {
            let percent = 100.0 * share.min(1.0);
            let evidence = format!(
                "{percent:.0} % of the time: try {}",
                self.larger_send_buffer()
            );
            self.limit(Cause::SendBuffer, share, evidence)
        })
    }

    /// Whether `--sndbuf` sets the buffer, as it does within a machine.
    fn has_small_buffer(&self) -> bool {
        !self.frame.sized && self.streams.iter().all(|stream| stream.nearby)
    }

    /// The kernel enlarges a buffer as needed, unless its size was set.
    fn larger_send_buffer(&self) -> &'static str {
        if self.frame.sized {
            "a larger -w, or none"
        } else if self.has_small_buffer() {
            "a larger --sndbuf (the default is small over loopback)"
        } else {
            "the sender's net.ipv4.tcp_wmem, or -w up to its net.core.wmem_max"
        }
    }

    /// There was data to send, and neither end's buffers held it back, so the congestion window did.
    pub(super) fn congestion(&self) -> Option<Limitation> {
        let busy = self.tcp_share(|info| info.busy_us)?;
        let unread = self.unread().unwrap_or(0.0);
        let window = self.tcp_share(|info| info.rwnd_limited_us)? + unread;
        let buffer = self.tcp_share(|info| info.sndbuf_limited_us)? - unread;
        let share = busy - window - buffer;
        // A late acknowledgement, of a receiver that lacked a processor, makes the kernel resend what had arrived.
        let needless = self.tcp_sum(|info| info.dsack_dups.unwrap_or(0));
        let again = (self.tcp_sum(|info| info.total_retrans) - needless).max(0.0);
        let segments = self.tcp_sum(|info| info.data_segs_out.unwrap_or(0));
        let lost = again / segments.max(1.0);
        let least = self.tcp_last(|info| info.min_rtt.map(f64::from))?;
        let mean = self.mean_rtt()?;
        // A receiver that does not read acknowledges late, and probes of its closed window count as retransmitted.
        let reads_slowly = window >= NOTEWORTHY;
        let lost_some = lost >= LOSS && !(reads_slowly && window >= share);
        // Round trips within a machine are so short that scheduling doubles them. A little data now and then is
        // acknowledged late.
        // A thread that lacks a processor shares this with those that handle its packets.
        let lacks_cpu = self
            .threads()
            .is_some_and(|(_, waited)| waited >= NOTEWORTHY);
        let is_unread = self.has_ample_buffer() && self.was_faster();
        let waits = reads_slowly || is_unread || lacks_cpu || self.is_left_without_data();
        let queues = mean > 2.0 * least && mean - least > 2000.0 && !waits;
        (share >= NOTEWORTHY && (lost_some || queues)).then(|| {
            let names = self
                .streams
                .iter()
                .find_map(|stream| stream.congestion.as_deref());
            let name = names.map(|name| format!("{name}, ")).unwrap_or_default();
            let delivered = self.tcp_last(|info| {
                let rate = info.delivery_rate.filter(|_| !info.app_limited);
                Some(rate? as f64 * 8.0)
            });
            let delivered = delivered.map(|rate| format!(", recently {} delivered", bits(rate)));
            let evidence = format!(
                "{:.2} % retransmitted, {name}round trip at least {:.2} ms, {:.2} ms on average{}",
                100.0 * lost,
                least / 1e3,
                mean / 1e3,
                delivered.unwrap_or_default()
            );
            self.limit(Cause::Congestion, share, evidence)
        })
    }

    /// All of a small buffer is in flight, so the kernel's clock of a full buffer does not run.
    pub(super) fn full_send_buffer(&self) -> Option<Limitation> {
        let under_way = self.full_buffer_under_way()?;
        let share = self.tcp_share(|info| info.busy_us)?;
        (share >= NOTEWORTHY).then(|| {
            if self.has_ample_buffer() {
                let evidence = format!(
                    "{under_way:.0} bytes were unread for {:.2} ms on average: the receiver reads slowly",
                    self.mean_rtt().unwrap_or(0.0) / 1e3
                );
                return self.limit(Cause::ReceiveWindow, share, evidence);
            }
            let buffer = self.buffer().unwrap_or(0.0);
            let evidence = format!(
                "{under_way:.0} bytes in a round trip, of a buffer of {buffer:.0}: try {}",
                self.larger_send_buffer()
            );
            self.limit(Cause::SendBuffer, share, evidence)
        })
    }

    /// Whether the sender had left the kernel without data in the last sample.
    fn is_left_without_data(&self) -> bool {
        let mut streams = self.streams.iter();
        streams.all(|stream| {
            stream
                .tcp
                .as_ref()
                .is_some_and(|(_, last, _)| last.app_limited)
        })
    }

    /// The kernel had nothing to send, although neither a rate nor work kept the sender from giving it some.
    pub(super) fn application(&self) -> Option<Limitation> {
        let share = self.unoccupied()?;
        let may_send = self.frame.rate.is_none() && self.is_left_without_data();
        (may_send && share > 0.5).then(|| {
            let evidence = format!(
                "the kernel had nothing to send, and the sender's thread nothing to do {:.0} % of the time: what it \
                 reads comes slowly",
                100.0 * share
            );
            self.limit(Cause::Application, share, evidence)
        })
    }
}

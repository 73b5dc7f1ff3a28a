//! What limited a throughput test, judged from what this end's kernel and threads know. The other end judges what only
//! it knows, and reports it.
//!
//! ```text
//! tcp        tcp_info: time for which the receiver's window or the send buffer held the sender back; retransmits, round
//!            trips, delivery rate
//! sctp       the peer's window at the ends of intervals, chunks that were sent again
//! machine    threads on a processor and waiting for one (schedstat); the processors, the cgroup's quota, the interface
//! sockets    datagrams that found no room
//! ```

mod machine;
mod sctp;
mod some;
mod tcp;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use iperf_model::{BitRate, Cause, Limitation, Role, TcpTotals, TestConfig, Transport};
use iperf_zc::tcp_info::TcpInfo;

use crate::run::machine::{Conditions, Watched};

/// From which part of the time on a cause is named.
const NOTEWORTHY: f64 = 0.2;
/// A rate that is kept to is this near.
const AT_RATE: f64 = 0.95;
/// The part of datagrams or segments whose loss slows a test.
const LOSS: f64 = 0.001;

/// Measures what limits a throughput test, besides its streams.
#[derive(Debug)]
pub(crate) struct Gauge {
    transport: Transport,
    rate: Option<BitRate>,
    sized: bool,
    machine: Watched,
}

impl Gauge {
    /// Measures from now on, for data connections between these addresses. `None` for exchanges.
    pub(crate) fn start(config: &TestConfig, route: Option<(IpAddr, IpAddr)>) -> Option<Self> {
        config.exchange.is_none().then(|| Self {
            transport: config.transport,
            rate: config.pacing.rate,
            sized: config.socket.window.is_some(),
            machine: Watched::start(route),
        })
    }

    /// The omitted period is over.
    pub(crate) fn restart(&mut self) {
        self.machine.restart();
    }

    /// What limited the test until now, which lasted `seconds` and whose threads ran for `running` seconds.
    pub(crate) fn find(&self, seconds: f64, running: f64, streams: &[Evidence]) -> Vec<Limitation> {
        let frame = Frame {
            transport: self.transport,
            rate: self.rate,
            sized: self.sized,
            seconds,
            running,
            machine: self.machine.until_now(),
        };
        find(&frame, streams)
    }
}

/// What one stream shows.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) role: Role,
    /// Bytes since the omitted period.
    pub(crate) bytes: u64,
    /// Of the worker's thread, from the start on: on a processor, and waiting for one.
    pub(crate) cpu: Duration,
    pub(crate) waited: Option<Duration>,
    /// The processor that it ended on.
    pub(crate) core: Option<usize>,
    /// Sender: bytes of its socket's buffer.
    pub(crate) send_buffer: Option<usize>,
    /// Sender: its stream stays on this machine.
    pub(crate) nearby: bool,
    /// Sender: the kernel's figures at the end of the omitted period and at the end, and of the intervals.
    pub(crate) tcp: Option<(TcpInfo, TcpInfo, TcpTotals)>,
    /// Sender: in which part of the samples the peer's window was closed.
    pub(crate) window_closed: Option<f64>,
    /// The name of the congestion control.
    pub(crate) congestion: Option<String>,
    /// Receiver of datagrams: how many there were, how many were lost, and how many of those in its socket.
    pub(crate) datagrams: Option<(u64, u64, u64)>,
}

/// What is known of the whole test.
#[derive(Clone, Debug)]
struct Frame {
    transport: Transport,
    /// `-b`, of each stream.
    rate: Option<BitRate>,
    /// Whether the sockets' buffers have a fixed size (`-w`).
    sized: bool,
    /// Seconds without the omitted period.
    seconds: f64,
    /// Seconds for which the threads ran.
    running: f64,
    machine: Conditions,
}

/// All limits found at this end, for each direction.
fn find(frame: &Frame, streams: &[Evidence]) -> Vec<Limitation> {
    if frame.seconds <= 0.0 || frame.running <= 0.0 {
        return Vec::new();
    }
    let mut limits = Vec::new();
    for role in [Role::Sender, Role::Receiver] {
        let streams = streams
            .iter()
            .filter(|stream| stream.role.sends() == role.sends());
        let streams: Vec<_> = streams.collect();
        if streams.is_empty() {
            continue;
        }
        let direction = Direction {
            frame,
            streams,
            role,
        };
        let mut of_all: Vec<_> = direction.causes().into_iter().flatten().collect();
        if !of_all.iter().any(explains) {
            of_all.extend(direction.starved());
            of_all.extend(direction.credit());
        }
        if !of_all.iter().any(explains) {
            of_all.extend(
                direction
                    .full_send_buffer()
                    .or_else(|| direction.application()),
            );
        }
        of_all.retain(|limit| !direction.is_of_few(limit.cause));
        let of_some = direction.of_some(&of_all);
        limits.extend(of_all);
        limits.extend(of_some);
    }
    limits
}

/// Whether a cause may explain the rate by itself. What others take of the processors slows a test, and whatever else
/// holds it back still does.
fn explains(limit: &Limitation) -> bool {
    !matches!(limit.cause, Cause::Steal | Cause::Quota)
}

/// The streams of one direction.
struct Direction<'a> {
    frame: &'a Frame,
    streams: Vec<&'a Evidence>,
    role: Role,
}

impl Direction<'_> {
    fn causes(&self) -> [Option<Limitation>; 14] {
        [
            self.bitrate(),
            self.pacing_rate(),
            self.window(),
            self.send_buffer(),
            self.congestion(),
            self.sctp_window(),
            self.sctp_losses(),
            self.losses(),
            self.socket_buffer(),
            self.cpu(),
            self.quota(),
            self.steal(),
            self.link(),
            self.interface_drops(),
        ]
    }

    fn limit(&self, cause: Cause, share: f64, evidence: String) -> Limitation {
        Limitation {
            role: self.role,
            cause,
            share: share.clamp(0.0, 1.0),
            evidence,
        }
    }

    /// What this end is called in this direction.
    fn end(&self) -> &'static str {
        if self.role.sends() {
            "sender"
        } else {
            "receiver"
        }
    }

    fn mean(&self, figure: impl Fn(&Evidence) -> Option<f64>) -> Option<f64> {
        let figures: Option<Vec<f64>> = self.streams.iter().map(|stream| figure(stream)).collect();
        let figures = figures.filter(|figures| !figures.is_empty())?;
        Some(figures.iter().sum::<f64>() / figures.len() as f64)
    }

    /// Bits per second of payload, in the mean of the streams.
    fn rate(&self) -> Option<f64> {
        self.mean(|stream| Some(stream.bytes as f64 * 8.0 / self.frame.seconds))
    }

    fn bitrate(&self) -> Option<Limitation> {
        let rate = self.frame.rate.filter(|_| self.role.sends())?.bits() as f64;
        let share = self.rate()? / rate;
        (share >= AT_RATE).then(|| {
            let evidence = format!("{:.1} % of the requested rate", 100.0 * share);
            self.limit(Cause::Bitrate, share, evidence)
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

    /// No network lies between the ends of a vsock: a sender that does not work waits for its peer.
    fn credit(&self) -> Option<Limitation> {
        if !self.role.sends() || !self.frame.transport.is_vsock() {
            return None;
        }
        let share = self.unoccupied()?;
        (share >= NOTEWORTHY).then(|| {
            let percent = 100.0 * share;
            let evidence = format!("the sender waited for its peer {percent:.0} % of the time");
            self.limit(Cause::Credit, share, evidence)
        })
    }
}

/// A rate in bits per second, as a reader likes it.
fn bits(rate: f64) -> String {
    match rate {
        1e9.. => format!("{:.2} Gbit/s", rate / 1e9),
        1e6.. => format!("{:.1} Mbit/s", rate / 1e6),
        _ => format!("{:.0} kbit/s", rate / 1e3),
    }
}

//! One running stream: its worker thread, and the counters as last read.

mod ending;
mod evidence;
mod exact;
mod workers;

use std::cell::OnceCell;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

use iperf_model::{
    ByteTotals, DatagramSample, DatagramTotals, Detail, ExchangeCounts, FileProgress, Latencies,
    Role, StreamInfo, StreamInterval, StreamOutcome, TcpSample, Transport,
};
use iperf_zc::sockopt;
use iperf_zc::source::Source;
use iperf_zc::udp::BatchingInUse;
use iperf_zc::verify::Difference;
use socket2::Socket;

use crate::datagrams::{DatagramCounters, DatagramCounts};
use crate::error::EngineError;
use crate::exchange::ExchangeStats;
use crate::modes::Modes;
use crate::modes::WorkerReport;
use crate::movers::{self, MoverContext};
use crate::probe::OneWay;
use crate::run::cpu::CpuTime;
use crate::run::ended::WorkerEnd;
use crate::run::kernel_view;
use crate::run::linger;
use crate::run::plan::RunPlan;
use crate::run::tcp_stats::TcpStats;
use crate::stream::Closing;
use crate::stream::Stream;
use crate::worker::counters::{Counters, Phase};
use crate::worker::cut::{Cut, Position};
use crate::worker::quota::Quota;
use crate::worker::thread::{EndingSlot, WorkerThread};
use crate::worker::{Task, Worker};

/// One stream, its worker, and what was seen of it so far.
pub(crate) struct RunningStream {
    info: StreamInfo,
    transport: Transport,
    congestion: Option<String>,
    closing: Closing,
    socket: Arc<Socket>,
    counters: Arc<Counters>,
    ending: EndingSlot,
    /// The thread that drives the worker, perhaps others' too; `None` once the worker has ended.
    thread: Option<Arc<WorkerThread>>,
    /// What the worker had done when it stopped counting.
    report: Arc<OnceLock<WorkerReport>>,
    /// How it was to move its bytes.
    modes: Modes,
    /// What the worker found before it ended.
    found: Found,
    /// `bytes` at the last sample, and where the test counts from.
    last_bytes: u64,
    base_bytes: u64,
    tcp: Option<TcpStats>,
    datagrams: Option<Datagrams>,
    exchanges: Option<ExchangeStats>,
    file: Option<(File, String)>,
    /// Where the omitted period ends, and whether it has ended on this end.
    cut: Option<Arc<Cut>>,
    restarted: bool,
    /// Bytes that had arrived when it ended here, for a peer that never reports where it ended there.
    at_restart: Position,
    /// What the peer reports as sent in all.
    sent: Option<Position>,
}

/// What a worker that has ended found.
#[derive(Debug, Default)]
struct Found {
    /// Where the received bytes differ from the sent ones.
    difference: Option<Difference>,
    /// A sender: that it had sent all it had.
    sent_all: bool,
    /// How it ended, until that is reported.
    ended: Option<WorkerEnd>,
}

/// What was seen of a UDP stream's counters.
struct Datagrams {
    received: Arc<DatagramCounters>,
    /// How they go through the kernel.
    batching: Arc<BatchingInUse>,
    /// At the last sample, and where the test counts from.
    last: DatagramCounts,
    base: DatagramCounts,
    /// What the socket had dropped before the run, modulo 2^32.
    dropped_before: Option<u32>,
}

impl Datagrams {
    fn new(received: Arc<DatagramCounters>, batching: Arc<BatchingInUse>, socket: &Socket) -> Self {
        Self {
            received,
            batching,
            last: DatagramCounts::default(),
            base: DatagramCounts::default(),
            dropped_before: sockopt::dropped_datagrams(socket.as_fd()).ok(),
        }
    }
}

/// Where the delays of received datagrams go, if they are measured.
fn one_way(plan: &RunPlan<'_>, role: Role) -> Option<OneWay> {
    let wanted = role == Role::Receiver && plan.config.probe.is_some_and(|probe| probe.one_way);
    let clock = plan.clock.clone().filter(|_| wanted)?;
    Some(OneWay::new(clock, plan.config.omit > 0))
}

/// Where the omitted period of a stream ends, if it ends at a position that both ends know. Without a quota the sender
/// continues, and the peer cuts by its own clock.
fn cut(
    plan: &RunPlan<'_>,
    role: Role,
    has_quota: bool,
    allowance: Option<Arc<Quota>>,
) -> Option<Arc<Cut>> {
    let config = plan.config;
    let is_exact = config.limit.is_amount() && config.omit > 0 && (plan.exact || role.sends());
    (has_quota && is_exact).then(|| Arc::new(Cut::after(allowance)))
}

impl RunningStream {
    /// Makes the worker of a stream. `sharers`: the workers of its thread, this one included.
    pub(crate) fn new(
        stream: Stream,
        plan: &RunPlan<'_>,
        quota: Option<Arc<Quota>>,
        allowance: Option<Arc<Quota>>,
        shared_block: &OnceCell<Source>,
        sharers: u32,
    ) -> Result<(Self, Box<dyn Worker>), EngineError> {
        let Stream {
            info,
            socket,
            congestion,
            passage,
            closing,
            ..
        } = stream;
        let socket = Arc::new(socket);
        let counters = Arc::new(Counters::default());
        let report = Arc::new(OnceLock::new());
        let file = movers::open_file(plan.local, info.role)?;
        let transport = plan.config.transport;
        let exchanges = ExchangeStats::of(plan.config, info.role);
        let is_udp = transport == Transport::Udp && exchanges.is_none();
        let received = Arc::new(DatagramCounters::new(one_way(plan, info.role)));
        let batching = Arc::new(BatchingInUse::new(passage.batching));
        let has_quota = quota.is_some() && exchanges.is_none();
        let cut = cut(plan, info.role, has_quota, allowance);
        let task = Task {
            socket: socket.clone(),
            counters: counters.clone(),
            quota,
            cut: cut.clone(),
            wake: plan.wake.clone(),
            report: report.clone(),
            datagrams: (is_udp && !info.role.sends()).then(|| received.clone()),
            sharers,
        };
        let context = MoverContext {
            config: plan.config,
            stream: info.id,
            socket: socket.as_fd(),
            file: file.as_ref().map(|(file, _)| file),
            shared_block,
            passage,
            batching: batching.clone(),
            marks: cut.is_some() && plan.exact,
            cut: cut.clone(),
            io: plan.local.io,
            shares_thread: sharers > 1,
        };
        // The stream of a test with a connection for each transaction is idle.
        let sender = (info.role.sends() && plan.transactions.is_none()).then_some(&socket);
        let tcp = sender.and_then(|socket| TcpStats::begin(transport, socket));
        let stats = exchanges.as_ref();
        let (worker, modes) = workers::worker(plan, &context, task, info.role, stats)?;
        let stream = Self {
            datagrams: is_udp.then(|| Datagrams::new(received, batching, &socket)),
            info,
            transport,
            congestion,
            closing,
            socket,
            counters,
            ending: EndingSlot::default(),
            thread: None,
            report,
            modes,
            found: Found::default(),
            last_bytes: 0,
            base_bytes: 0,
            tcp,
            exchanges,
            file,
            cut,
            restarted: false,
            at_restart: Position::default(),
            sent: None,
        };
        Ok((stream, worker))
    }

    /// Where the worker leaves its ending.
    pub(crate) fn ending_slot(&self) -> EndingSlot {
        self.ending.clone()
    }

    /// The worker is driven by this thread.
    pub(crate) fn driven_by(&mut self, thread: Arc<WorkerThread>) {
        self.thread = Some(thread);
    }

    /// Takes what moved since the last sample.
    pub(crate) fn sample(&mut self) -> StreamInterval {
        let exchanges = self.sample_exchanges();
        let bytes = match self.exchanges.as_ref().zip(exchanges.as_ref()) {
            // Its worker counts on meanwhile.
            Some((stats, counts)) => self.last_bytes + stats.bytes(counts),
            None => self.moved().max(self.last_bytes),
        };
        let interval = StreamInterval {
            socket: self.info.socket,
            role: self.info.role,
            bytes: bytes - self.last_bytes,
            tcp: self.sample_tcp(),
            datagrams: self.sample_datagrams(),
            exchanges,
        };
        self.last_bytes = bytes;
        interval
    }

    fn sample_tcp(&mut self) -> Option<TcpSample> {
        let stats = self.tcp.as_mut()?;
        let info = kernel_view::read(self.transport, self.socket.as_fd()).unwrap_or_default();
        Some(stats.sample(&info))
    }

    fn sample_exchanges(&mut self) -> Option<ExchangeCounts> {
        let stats = self.exchanges.as_mut()?;
        Some(stats.sample(self.counters.blocks()))
    }

    fn sample_datagrams(&mut self) -> Option<DatagramSample> {
        let counts = self.datagram_counts()?;
        let datagrams = self.datagrams.as_mut()?;
        let last = std::mem::replace(&mut datagrams.last, counts);
        Some(DatagramSample {
            packets: counts.packets.saturating_sub(last.packets),
            lost: counts.lost - last.lost,
            jitter: counts.jitter,
            out_of_order: counts.out_of_order - last.out_of_order,
        })
    }

    /// Counts from here on.
    pub(crate) fn restart(&mut self) {
        if let Some(counts) = self.datagram_counts()
            && let Some(datagrams) = &mut self.datagrams
        {
            datagrams.base = counts;
            datagrams.last = counts;
            datagrams.received.restart_jitter();
            if let Some(one_way) = datagrams.received.one_way() {
                one_way.restart();
            }
        }
        if let Some(exchanges) = &mut self.exchanges {
            exchanges.restart(self.counters.blocks());
        }
        self.at_restart = self.position();
        self.restarted = true;
        if let Some(cut) = &self.cut {
            if self.info.role.sends() {
                cut.ask();
            }
            // What is counted from here on begins at the cut.
            self.base_bytes = 0;
            self.last_bytes = 0;
            if let Some(datagrams) = &mut self.datagrams {
                datagrams.base = DatagramCounts::default();
                datagrams.last = DatagramCounts::default();
            }
        } else {
            self.base_bytes = self.at_restart.bytes;
            self.last_bytes = self.base_bytes;
        }
        if let Some(stats) = &mut self.tcp
            && let Ok(info) = kernel_view::read(self.transport, self.socket.as_fd())
        {
            stats.restart(&info);
        }
    }

    /// What was counted from the restart to the last sample.
    pub(crate) fn outcome(&self) -> StreamOutcome {
        StreamOutcome {
            id: self.info.id,
            socket: self.info.socket,
            role: self.info.role,
            bytes: self.last_bytes - self.base_bytes,
            detail: match (&self.datagrams, &self.exchanges) {
                (_, Some(stats)) => Detail::Exchanges(stats.totals(), self.byte_totals()),
                (Some(datagrams), None) => Detail::Datagrams(self.datagram_totals(datagrams)),
                (None, None) => Detail::Bytes(self.byte_totals()),
            },
            file: self.file.as_ref().map(|(file, name)| FileProgress {
                name: name.clone(),
                size: file.metadata().map_or(0, |data| data.len()),
                moved: self.counters.bytes(),
            }),
            copies: self.report.get().map(|report| self.modes.report(report)),
            io: self
                .report
                .get()
                .and_then(|report| self.modes.io_report(report)),
        }
    }

    fn byte_totals(&self) -> ByteTotals {
        let receives = self.info.role == Role::Receiver && movers::brings_bytes(self.transport);
        ByteTotals {
            tcp: self.tcp.as_ref().map(TcpStats::totals),
            low_water: receives.then(|| self.counters.low_water()),
        }
    }

    fn datagram_totals(&self, datagrams: &Datagrams) -> DatagramTotals {
        let (base, last) = (datagrams.base, datagrams.last);
        let all = self.all_datagrams().unwrap_or_default();
        let omitted = match &self.cut {
            Some(_) if self.restarted => self.omitted_datagrams(&all),
            _ => DatagramCounts::default(),
        };
        DatagramTotals {
            packets: omitted.packets + last.packets,
            omitted_packets: omitted.packets + base.packets,
            lost: omitted.lost + last.lost,
            omitted_lost: Some(omitted.lost + base.lost),
            out_of_order: last.out_of_order - base.out_of_order,
            jitter: last.jitter,
            duplicates: (!self.info.role.sends()).then(|| last.duplicates - base.duplicates),
            // Why the socket dropped datagrams is found for all streams together, by the run.
            socket_drops: None,
            nap: (!self.info.role.sends()).then(|| self.counters.nap()),
            batching: Some(datagrams.batching.get()),
        }
    }

    /// Datagrams that the kernel dropped at this end's socket since the run was prepared.
    pub(crate) fn dropped(&self) -> Option<u64> {
        let datagrams = self.datagrams.as_ref().filter(|_| !self.sends())?;
        let before = datagrams.dropped_before?;
        let now = sockopt::dropped_datagrams(self.socket.as_fd()).ok()?;
        Some(now.wrapping_sub(before).into())
    }

    /// The delays of the received datagrams, if they are measured.
    pub(crate) fn one_way(&self) -> Option<Latencies> {
        let one_way = self.datagrams.as_ref()?.received.one_way()?;
        Some(one_way.delays())
    }

    /// Whether the addresses of a receiver of datagrams are those of IPv6; `None` of other streams.
    pub(crate) fn receives_over_v6(&self) -> Option<bool> {
        self.datagrams.as_ref().filter(|_| !self.sends())?;
        let peer = self.socket.peer_addr().ok()?.as_socket()?;
        Some(matches!(peer.ip().to_canonical(), IpAddr::V6(_)))
    }

    /// The stream's id on the wire.
    pub(crate) fn id(&self) -> u32 {
        self.info.id
    }

    pub(crate) fn role(&self) -> Role {
        self.info.role
    }

    /// Whether this end sends on the stream.
    pub(crate) fn sends(&self) -> bool {
        self.info.role.sends()
    }

    /// Whether data arrives on the stream.
    pub(crate) fn awaits_data(&self) -> bool {
        self.info.role.awaits_data()
    }

    /// Bytes moved so far, omitted ones included.
    pub(crate) fn bytes(&self) -> u64 {
        self.counters.bytes()
    }

    /// What the worker used until it stopped counting.
    pub(crate) fn cpu(&self) -> CpuTime {
        self.report
            .get()
            .map(|report| report.cpu)
            .unwrap_or_default()
    }

    /// Whether the worker may still add to its counters.
    pub(crate) fn is_counting(&self) -> bool {
        self.report.get().is_none() && self.thread.is_some()
    }

    /// The congestion control of the stream.
    pub(crate) fn congestion(&self) -> Option<&str> {
        self.congestion.as_deref()
    }

    /// Asks the worker to move on.
    pub(crate) fn advance(&self, phase: Phase) {
        self.counters.advance(phase);
    }

    /// Makes a blocking call of the worker return.
    pub(crate) fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.wake();
        }
    }

    /// The thread that drives the worker, until it has ended.
    pub(crate) fn thread(&self) -> Option<&WorkerThread> {
        self.thread.as_deref()
    }

    /// Whether the worker has not been joined yet.
    pub(crate) fn is_running(&self) -> bool {
        self.thread.is_some()
    }

    /// Bytes that were sent and that the peer's kernel has not acknowledged, or more.
    pub(crate) fn unacknowledged(&self) -> usize {
        kernel_view::unacknowledged(self.transport, self.socket.as_fd())
    }

    /// Says that nothing more is sent on the stream, if it is one that ends in order.
    pub(crate) fn half_close(&self) {
        if self.closing == Closing::Graceful && self.info.role.sends() {
            linger::half_close(&self.socket);
        }
    }

    /// Leaves the socket of a stream that ends in order, to be closed when its peer has ended, too.
    pub(crate) fn into_lingering(self) -> Option<Arc<Socket>> {
        self.half_close();
        (self.closing == Closing::Graceful).then_some(self.socket)
    }

    /// Whether there is data to send that the peer gives no room for.
    pub(crate) fn window_is_closed(&self) -> bool {
        kernel_view::window_is_closed(self.transport, self.socket.as_fd())
    }
}

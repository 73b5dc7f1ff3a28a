//! The low-water mark of a receiver (`SO_RCVLOWAT`): how much has to arrive before the kernel wakes it.
//!
//! A receiver that is faster than its sender is woken for every segment, mostly at the sender's expense. The mark lets
//! it sleep until a batch has arrived:
//!
//! ```text
//! bytes ──► on_read: a batch is complete ──► update: rate since the last update ──► mark = what comes in 1 ms
//!           (no clock)                    (one look at the clock)
//! ```
//!
//! A blocking read may hold what it has copied while it waits for another mark's worth. So the mark is what arrives in
//! one millisecond, and at most two milliseconds' worth is not counted yet. When the sender stops, no mark is ever
//! reached, so a read with a mark has a time-out, which returns what is there and lowers the mark. Below 100 Mbit/s
//! there is neither.
//!
//! Data that waits for the mark occupies TCP's window. If the window limits the stream, that would cost throughput, so
//! there is no mark when the data in flight (rate × round trip) fills half of the window.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_model::{ByteRate, SocketSize};
use iperf_zc::tcp_info::TcpInfo;
use iperf_zc::{sockopt, vsock};
use socket2::{Protocol, Socket};
use tracing::debug;

use crate::waking::rate::{LOWEST_RATE, Rate, SMALL_BATCH};
use crate::worker::counters::Counters;

/// The mark is what arrives in this time.
const WORTH: Duration = Duration::from_millis(1);
/// How long a read with a mark waits for it.
const PATIENCE: Duration = Duration::from_millis(2);
/// The default of every socket: any byte wakes.
const NO_MARK: usize = 1;

/// The mark that suits the rate. Time is an argument.
#[derive(Debug)]
struct Mark {
    bytes: usize,
    /// The highest recent rate: if the window is the limit, data arrives in a burst per round trip, and a sample
    /// between two bursts is low.
    busiest: ByteRate,
    rate: Rate,
}

impl Mark {
    fn new(now: Instant) -> Self {
        Self {
            bytes: NO_MARK,
            busiest: ByteRate::default(),
            rate: Rate::new(now),
        }
    }

    /// Counts what a read returned; true when it is time to check.
    fn on_read(&mut self, bytes: usize) -> bool {
        // A read that brings less than the mark was ended by its time-out, or by a full buffer.
        self.rate.on_read(bytes) >= self.bytes.max(SMALL_BATCH) || bytes < self.bytes
    }

    /// The mark that suits what arrived since the last update, if it changes.
    fn update(&mut self, now: Instant) -> Option<usize> {
        let rate = self.rate.update(now)?;
        let faded = self.busiest.bytes() - self.busiest.bytes() / 8;
        self.busiest = rate.max(ByteRate::new(faded));
        if rate < LOWEST_RATE {
            return (self.bytes != NO_MARK).then_some(NO_MARK);
        }
        let doubled = self.bytes.saturating_mul(2).max(SMALL_BATCH);
        let wanted = worth(rate).min(doubled).max(NO_MARK);
        // Small steps cost more than they gain.
        let is_near = wanted.abs_diff(self.bytes) <= self.bytes / 8;
        (!is_near).then_some(wanted)
    }
}

/// What arrives in [`WORTH`].
fn worth(rate: ByteRate) -> usize {
    usize::try_from(rate.bytes_in(WORTH)).unwrap_or(usize::MAX)
}

/// The low-water mark of one receiving socket.
pub(crate) struct LowWater {
    ask: SocketSize,
    /// The most that a read takes: a larger mark would only hold back.
    room: usize,
    counters: Arc<Counters>,
    state: State,
}

enum State {
    /// Nothing has arrived yet.
    Fresh,
    /// The socket stays as it is.
    Off,
    /// The mark follows the rate.
    Auto(Mark, Buffer),
}

impl LowWater {
    /// For a stream whose reads take up to `room` bytes each. It begins with the first of them.
    pub(crate) fn new(ask: SocketSize, room: usize, counters: Arc<Counters>) -> Self {
        Self {
            ask,
            room,
            counters,
            state: State::Fresh,
        }
    }

    /// Sets up the socket for what arrives from `now` on.
    fn start(&mut self, socket: &Socket, now: Instant) {
        self.state = match self.ask {
            SocketSize::Off => State::Off,
            SocketSize::Auto => State::Auto(Mark::new(now), Buffer::of(socket)),
            SocketSize::Bytes(bytes) => {
                // TCP makes room for the mark, and lowers it where it can't (`tcp_set_rcvlowat`, net/ipv4/tcp.c).
                let most = match Buffer::of(socket) {
                    Buffer::Tcp => usize::MAX,
                    buffer => buffer.half(socket),
                };
                self.set(socket, most.min(self.room).min(bytes as usize));
                State::Off
            }
        };
    }

    /// Counts what a read returned.
    #[inline]
    pub(crate) fn on_read(&mut self, socket: &Socket, bytes: usize) {
        match &mut self.state {
            State::Off => {}
            State::Fresh => self.start(socket, Instant::now()),
            State::Auto(mark, _) => {
                if mark.on_read(bytes) {
                    self.update(socket, Instant::now());
                }
            }
        }
    }

    /// Counts a read that returned nothing in its time.
    pub(crate) fn timed_out(&mut self, socket: &Socket) {
        self.update(socket, Instant::now());
    }

    /// Restores the socket, for what reads the rest.
    pub(crate) fn end(&self, socket: &Socket) {
        if self.counters.low_water() > 0 {
            self.set(socket, NO_MARK);
        }
    }

    fn update(&mut self, socket: &Socket, now: Instant) {
        let State::Auto(mark, buffer) = &mut self.state else {
            return;
        };
        let Some(wanted) = mark.update(now) else {
            return;
        };
        let wanted = wanted.min(self.room).min(buffer.most(socket, mark.busiest));
        if wanted != std::mem::replace(&mut mark.bytes, wanted) && !self.set(socket, wanted) {
            self.state = State::Off;
        }
    }

    /// Sets the mark, and the time-out that goes with it.
    fn set(&self, socket: &Socket, bytes: usize) -> bool {
        let is_on = bytes > NO_MARK;
        let value = u32::try_from(bytes).unwrap_or(u32::MAX);
        let patience = is_on.then_some(PATIENCE);
        let done = socket
            .set_read_timeout(patience)
            .and_then(|()| sockopt::set_receive_low_water(socket.as_fd(), value));
        if let Err(error) = done {
            debug!("no low-water mark of {bytes} bytes: {error}");
            return false;
        }
        let kept = sockopt::receive_low_water(socket.as_fd()).unwrap_or(value);
        self.counters.note_low_water(u64::from(kept));
        true
    }
}

/// What holds the bytes that wait for a mark.
#[derive(Clone, Copy, PartialEq)]
enum Buffer {
    /// TCP's, which grows.
    Tcp,
    Vsock,
    Other,
}

impl Buffer {
    fn of(socket: &Socket) -> Self {
        if vsock::buffer_size(socket.as_fd()).is_ok() {
            Self::Vsock
        } else if socket.protocol().is_ok_and(|p| p == Some(Protocol::TCP)) {
            Self::Tcp
        } else {
            Self::Other
        }
    }

    /// The largest mark that leaves a sender at this rate what it needs.
    fn most(self, socket: &Socket, rate: ByteRate) -> usize {
        match self {
            Self::Tcp => TcpInfo::read(socket.as_fd()).map_or(NO_MARK, |info| beside(rate, &info)),
            Self::Vsock | Self::Other => self.half(socket),
        }
    }

    /// Half of what it holds. The sender fills the other half meanwhile.
    fn half(self, socket: &Socket) -> usize {
        let half = match self {
            Self::Vsock => vsock::buffer_size(socket.as_fd())
                .map_or(0, |bytes| usize::try_from(bytes / 2).unwrap_or(usize::MAX)),
            // Half of `SO_RCVBUF` is for the kernel's own accounts (socket(7)).
            Self::Tcp | Self::Other => socket.recv_buffer_size().unwrap_or(0) / 4,
        };
        half.max(NO_MARK)
    }
}

/// The largest mark for a TCP receiver at a rate: half of its window less the data in flight, if the window holds twice
/// that data. How much of `SO_RCVBUF` is for the kernel's own accounts changes with the segments that come, so the
/// window is what the kernel is ready to open.
fn beside(rate: ByteRate, info: &TcpInfo) -> usize {
    let window = u64::from(info.rcv_ssthresh);
    let micros = info.min_rtt.unwrap_or(info.rtt);
    let round_trip = Duration::from_micros(micros.into());
    let on_its_way = u64::try_from(rate.bytes_in(round_trip)).unwrap_or(u64::MAX);
    if on_its_way > window / 2 {
        return NO_MARK;
    }
    usize::try_from((window - on_its_way) / 2).map_or(NO_MARK, |most| most.max(NO_MARK))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel reports for a window in bytes and a round trip in microseconds.
    fn path(window: u32, rtt: u32) -> TcpInfo {
        TcpInfo {
            rcv_ssthresh: window,
            min_rtt: Some(rtt),
            ..TcpInfo::default()
        }
    }

    #[test]
    fn there_is_no_mark_where_the_window_is_the_limit() {
        for window in [64 << 10, 128 << 10, 256 << 10, 512 << 10, 6 << 20] {
            for rtt in [2_000, 5_000, 10_000, 20_000] {
                // As much as such a window lets through, and a tenth less.
                let rate = u64::from(window) * 1_000_000 / u64::from(rtt);
                for rate in [rate, rate * 9 / 10] {
                    let mark = beside(ByteRate::new(rate), &path(window, rtt));
                    assert_eq!(mark, NO_MARK, "{window} {rtt}");
                }
            }
        }
    }

    #[test]
    fn a_window_that_is_open_wide_has_a_mark() {
        // Loopback: next to nothing is on its way.
        let most = beside(ByteRate::new(40 * GBIT), &path(3 << 20, 30));
        assert!(most > 1 << 20, "{most}");
        // The kernel lets a window grow to twice what comes in a round trip, and a little more.
        let rtt = 20_000;
        let window = 2 * GBIT * u64::from(rtt) / 1_000_000 + 16 * 1448;
        let gbit = ByteRate::new(GBIT);
        let most = beside(gbit, &path(u32::try_from(window).unwrap(), rtt));
        assert!(most >= worth(gbit), "{most}");
    }

    #[test]
    fn a_mark_is_never_more_than_half_of_the_window() {
        for window in [0, 1, 1000, 65_536, u32::MAX] {
            for (rate, rtt) in [(0, 0), (GBIT, 30), (40 * GBIT, 30), (u64::MAX, u32::MAX)] {
                let most = beside(ByteRate::new(rate), &path(window, rtt));
                assert!(
                    most <= (window as usize / 2).max(NO_MARK),
                    "{window}: {most}"
                );
            }
        }
    }

    /// In bytes per second.
    const GBIT: u64 = 125_000_000;

    #[test]
    fn the_highest_recent_rate_decides_about_the_window() {
        let mut flow = Flow::new();
        flow.run(GBIT, Duration::from_millis(100));
        let busiest = flow.mark.busiest.bytes();
        // A gap of half a round trip between two bursts is no lower rate.
        flow.now += Duration::from_millis(2);
        flow.mark.update(flow.now);
        let fading = flow.mark.busiest.bytes();
        assert!(fading >= busiest / 8 * 7, "{fading}");
        for _ in 0..100 {
            flow.now += Duration::from_millis(2);
            flow.mark.update(flow.now);
        }
        let faded = flow.mark.busiest.bytes();
        assert!(faded < busiest / 100, "{faded}");
    }

    /// A receiver that gets `rate` bytes per second in reads that fit its mark.
    struct Flow {
        mark: Mark,
        now: Instant,
    }

    impl Flow {
        fn new() -> Self {
            let now = Instant::now();
            let mark = Mark::new(now);
            Self { mark, now }
        }

        fn time(bytes: usize, rate: u64) -> Duration {
            Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate)
        }

        /// Reads for `time`; returns all marks on the way.
        fn run(&mut self, rate: u64, time: Duration) -> Vec<usize> {
            let mut marks = Vec::new();
            let end = self.now + time;
            while self.now < end {
                // A segment, or a mark's worth, or what arrived until the time-out.
                let whole = self.mark.bytes.max(1448);
                let bytes = whole.min(usize::try_from(rate / 500).unwrap()).max(1);
                self.now += Self::time(bytes, rate);
                if self.mark.on_read(bytes)
                    && let Some(mark) = self.mark.update(self.now)
                {
                    marks.push(mark);
                    self.mark.bytes = mark;
                }
            }
            marks
        }
    }

    const LONG: Duration = Duration::from_millis(300);

    #[test]
    fn the_mark_is_what_comes_in_a_millisecond() {
        for gbits in [1, 3, 10, 40, 100] {
            let mut flow = Flow::new();
            flow.run(gbits * GBIT, LONG);
            let exact = usize::try_from(gbits * GBIT / 1000).unwrap();
            let mark = flow.mark.bytes;
            assert!(mark <= exact && mark >= exact * 3 / 4, "{gbits}: {mark}");
        }
    }

    #[test]
    fn slow_streams_never_have_a_mark() {
        for rate in [1_000, 1_000_000, LOWEST_RATE.bytes() - 100_000] {
            let mut flow = Flow::new();
            assert_eq!(flow.run(rate, Duration::from_secs(2)), [0; 0], "{rate}");
        }
    }

    #[test]
    fn the_mark_grows_in_steps() {
        let marks = Flow::new().run(40 * GBIT, LONG);
        assert_eq!(marks[0], SMALL_BATCH);
        assert!(marks.windows(2).all(|pair| pair[1] <= 2 * pair[0]));
    }

    #[test]
    fn the_mark_of_a_steady_stream_stays() {
        let mut flow = Flow::new();
        flow.run(10 * GBIT, LONG);
        assert_eq!(flow.run(10 * GBIT, LONG), [0; 0]);
    }

    #[test]
    fn nothing_is_held_back_for_longer_than_two_milliseconds() {
        let mut flow = Flow::new();
        for gbits in [40, 5, 20, 1, 2] {
            flow.run(gbits * GBIT, LONG);
            // What was copied already and waits for a whole mark more.
            let held = Flow::time(2 * flow.mark.bytes, gbits * GBIT);
            assert!(held <= Duration::from_millis(2), "{gbits}: {held:?}");
        }
    }

    #[test]
    fn a_stream_that_becomes_slow_loses_its_mark() {
        let mut flow = Flow::new();
        flow.run(40 * GBIT, LONG);
        flow.run(1_000_000, Duration::from_millis(5));
        assert_eq!(flow.mark.bytes, NO_MARK);
    }

    #[test]
    fn a_pause_removes_the_mark() {
        let mut flow = Flow::new();
        flow.run(40 * GBIT, LONG);
        // The first read that times out still returns what arrived before the pause; the second shows the pause.
        flow.mark.update(flow.now + PATIENCE);
        assert_eq!(flow.mark.update(flow.now + 2 * PATIENCE), Some(NO_MARK));
    }

    #[test]
    fn the_mark_is_updated_rarely() {
        let mut flow = Flow::new();
        flow.run(40 * GBIT, LONG);
        let looks = flow.run(40 * GBIT, Duration::from_millis(1));
        assert!(looks.len() <= 1);
        let mut slow = Mark::new(Instant::now());
        assert!((0..40).all(|_| !slow.on_read(1448)));
    }

    mod sockets {
        use super::*;
        use std::io::{ErrorKind, Read, Write};
        use std::net::{TcpListener, TcpStream};

        fn pair() -> (TcpStream, Socket) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (client, Socket::from(listener.accept().unwrap().0))
        }

        fn fixed(bytes: u32, room: usize) -> (TcpStream, Socket, u64) {
            let (client, server) = pair();
            let counters = Arc::new(Counters::default());
            let ask = SocketSize::Bytes(bytes);
            let mut low_water = LowWater::new(ask, room, counters.clone());
            low_water.start(&server, Instant::now());
            (client, server, counters.low_water())
        }

        #[test]
        fn what_a_stopped_sender_left_is_taken() {
            let (mut client, mut server, mark) = fixed(8192, 1 << 20);
            assert_eq!(mark, 8192);
            client.write_all(&[1; 100]).unwrap();
            assert_eq!(server.read(&mut [0; 8192]).unwrap(), 100);
            let nothing = server.read(&mut [0; 100]).unwrap_err();
            assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        }

        #[test]
        fn the_mark_is_at_most_what_a_read_takes_and_half_of_the_buffer() {
            assert_eq!(fixed(1 << 20, 4096).2, 4096);
            // The buffer of a new connection is smaller, and grows.
            assert_eq!(fixed(200_000, 1 << 20).2, 200_000);
            let (_client, server, mark) = fixed(u32::MAX, usize::MAX);
            let buffer = server.recv_buffer_size().unwrap();
            assert!(mark > 1 && mark <= buffer as u64 / 2, "{mark} of {buffer}");
        }

        #[test]
        fn the_read_timeout_goes_with_the_mark() {
            let (_client, server) = pair();
            let counters = Arc::new(Counters::default());
            let now = Instant::now();
            let mut low_water = LowWater::new(SocketSize::Auto, 1 << 20, counters.clone());
            low_water.start(&server, now);
            let State::Auto(mark, buffer) = &mut low_water.state else {
                panic!("auto is not auto");
            };
            // With TCP's limit a new connection's round trip, and so the machine's load, would decide about the mark.
            *buffer = Buffer::Other;
            mark.rate.on_read(10_000_000);
            low_water.update(&server, now + Duration::from_millis(2));
            assert!(server.read_timeout().unwrap().is_some());
            assert!(counters.low_water() > 1);
            low_water.update(&server, now + Duration::from_secs(1));
            assert_eq!(server.read_timeout().unwrap(), None);
        }
    }
}

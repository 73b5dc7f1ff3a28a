//! What workers count is what the kernel counted on the same sockets, in every mode.
//!
//! The test keeps duplicates of both sockets, and reads their counters when the workers have ended:
//!
//! ```text
//! sent     = acknowledged by the peer's kernel + still on its way
//! received = received by this kernel − not yet read
//! ```

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_engine::net::{StreamPlan, StreamSpec, tcp};
use iperf_engine::{CpuMeter, Run, RunPlan};
use iperf_model::{
    Limit, LocalOptions, ReceiveMode, Role, SendMode, SocketSize, TestConfig, Transport, ZeroCopy,
};
use iperf_zc::sockopt;
use iperf_zc::tcp_info::TcpInfo;
use socket2::Socket;

const STREAMS: u32 = 2;
/// A test ends when this many bytes have arrived.
const AMOUNT: u64 = 4 << 20;
/// Or it fails, after this time.
const LIMIT: Duration = Duration::from_secs(30);

/// Both ends of a test in this process, with a duplicate of each socket.
struct Ends {
    run: Run,
    sockets: Vec<Socket>,
}

impl Ends {
    fn new(config: &TestConfig, local: &LocalOptions, sockets: Vec<Socket>, sends: bool) -> Self {
        let plan = RunPlan {
            config,
            local,
            outlasts_quota: false,
            exact: false,
            placement: None,
            clock: None,
            transactions: None,
            wake: Arc::new(|| {}),
        };
        let kept = sockets
            .iter()
            .map(|socket| socket.try_clone().unwrap())
            .collect();
        let stream_plan = StreamPlan::new(config, local);
        let streams = sockets.into_iter().zip(1..).map(|(socket, id)| {
            let role = StreamSpec {
                id,
                number: 5,
                role: Role::of(sends),
            };
            tcp::adopt(socket, &stream_plan, role).unwrap()
        });
        Self {
            run: Run::prepare(streams.collect(), &plan).unwrap(),
            sockets: kept,
        }
    }

    /// What was counted on each stream.
    fn counted(&mut self, meter: &CpuMeter) -> Vec<u64> {
        let now = Instant::now();
        self.run.sample(now);
        let totals = self.run.totals(now, meter);
        totals.streams.iter().map(|stream| stream.bytes).collect()
    }
}

/// Reads until the counters are the same twice: acknowledgements and segments may be in flight.
fn settled<T: PartialEq>(ask: impl Fn() -> T) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut before = ask();
    loop {
        std::thread::sleep(Duration::from_millis(5));
        let now = ask();
        if now == before {
            return now;
        }
        assert!(Instant::now() < deadline, "the socket does not settle");
        before = now;
    }
}

fn sent(socket: &Socket) -> u64 {
    let (acknowledged, rest) = settled(|| {
        let info = TcpInfo::read(socket.as_fd()).unwrap();
        let rest = sockopt::unacknowledged(socket.as_fd()).unwrap();
        (info.bytes_acked.unwrap(), rest)
    });
    acknowledged + rest as u64
}

fn received(socket: &Socket) -> u64 {
    let (came, rest) = settled(|| {
        let info = TcpInfo::read(socket.as_fd()).unwrap();
        let rest = sockopt::readable(socket.as_fd()).unwrap();
        (info.bytes_received.unwrap(), rest)
    });
    came - rest as u64
}

/// Runs a test and compares what each end counted with what its kernel did.
fn compare(config: &TestConfig, low_water: SocketSize) {
    let local = LocalOptions {
        low_water,
        ..LocalOptions::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pairs = (0..STREAMS).map(|_| {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (Socket::from(client), Socket::from(server))
    });
    let (clients, servers): (Vec<_>, Vec<_>) = pairs.unzip();
    let meter = CpuMeter::start();
    let mut sender = Ends::new(config, &local, clients, true);
    let mut receiver = Ends::new(config, &local, servers, false);
    let now = Instant::now();
    receiver.run.go(now);
    sender.run.go(now);
    while receiver.run.bytes().1 < AMOUNT {
        assert!(now.elapsed() < LIMIT, "nothing moves: {config:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    sender.run.stop_senders();
    receiver.run.finish_receivers();
    let end = |end: &mut Ends, kernel: fn(&Socket) -> u64, what: &str| {
        let counted = end.counted(&meter);
        assert_eq!(counted.len(), end.sockets.len());
        assert!(counted.iter().sum::<u64>() > 0, "nothing {what}");
        for (counted, socket) in counted.iter().zip(&end.sockets) {
            let kernel = kernel(socket);
            assert!(
                counted.abs_diff(kernel) <= u64::from(config.block),
                "{what}: counted {counted}, the kernel {kernel}: {config:?}"
            );
        }
    };
    end(&mut sender, sent, "sent");
    end(&mut receiver, received, "received");
}

fn config(block: u32, send: SendMode, receive: ReceiveMode) -> TestConfig {
    TestConfig {
        limit: Limit::Endless,
        streams: u16::try_from(STREAMS).unwrap(),
        block,
        zerocopy: ZeroCopy { send, receive },
        ..TestConfig::new(Transport::Tcp)
    }
}

const BLOCK: u32 = 128 * 1024;

#[test]
fn copies_are_counted_as_the_kernel_counts_them() {
    for block in [100, 4096, BLOCK, 1 << 20] {
        let config = config(block, SendMode::Copy, ReceiveMode::Copy);
        compare(&config, SocketSize::Auto);
    }
}

#[test]
fn low_water_marks_hide_nothing() {
    let config = config(BLOCK, SendMode::Copy, ReceiveMode::Copy);
    for low_water in [
        SocketSize::Off,
        SocketSize::Bytes(1 << 20),
        SocketSize::Bytes(u32::MAX),
    ] {
        compare(&config, low_water);
    }
}

#[test]
fn what_is_not_copied_is_counted_too() {
    for send in [
        SendMode::Auto,
        SendMode::Sendfile,
        SendMode::Splice,
        SendMode::Msg,
    ] {
        compare(&config(BLOCK, send, ReceiveMode::Copy), SocketSize::Auto);
    }
    for receive in [ReceiveMode::Mmap, ReceiveMode::Trunc, ReceiveMode::Splice] {
        compare(&config(BLOCK, SendMode::Copy, receive), SocketSize::Auto);
    }
}

//! Runs over real loopback connections.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use iperf_engine::net::{StreamPlan, StreamSpec, Target, connect, tcp};
use iperf_engine::{CpuMeter, Ending, Run, RunPlan, Stream};
use iperf_model::{BitRate, Limit, LocalOptions, Role, TcpSample, TestConfig, Transport};
use socket2::Socket;

const LONG: Duration = Duration::from_secs(20);

/// `count` connected pairs: the senders' ends and the receivers'.
fn pairs(count: u32) -> (Vec<Stream>, Vec<Stream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let (test, local) = (TestConfig::new(Transport::Tcp), LocalOptions::default());
    let plan = StreamPlan::new(&test, &local);
    let connect = |id| {
        let deadline = Instant::now() + LONG;
        let sender = connect(
            &plan,
            &Target::Inet(address),
            b"",
            StreamSpec {
                id,
                number: 5,
                role: Role::Sender,
            },
            deadline,
        )
        .unwrap();
        let accepted = Socket::from(listener.accept().unwrap().0);
        (
            sender,
            tcp::adopt(
                accepted,
                &plan,
                StreamSpec {
                    id,
                    number: 5,
                    role: Role::Receiver,
                },
            )
            .unwrap(),
        )
    };
    (1..=count).map(connect).unzip()
}

fn config(limit: Limit) -> TestConfig {
    TestConfig {
        limit,
        block: 10_000,
        ..TestConfig::new(Transport::Tcp)
    }
}

/// A thread for each stream, one for all streams of a direction, and two.
const THREADS: [Option<NonZero<u16>>; 3] = [None, NonZero::new(1), NonZero::new(2)];

/// A run with a thread for each stream, and the wake-ups that it gives.
fn start(streams: Vec<Stream>, config: &TestConfig) -> (Run, Receiver<()>) {
    start_with(None, streams, config)
}

fn start_with(
    threads: Option<NonZero<u16>>,
    streams: Vec<Stream>,
    config: &TestConfig,
) -> (Run, Receiver<()>) {
    let (sender, wakes) = channel();
    let plan = RunPlan {
        config,
        local: &LocalOptions {
            threads,
            ..LocalOptions::default()
        },
        outlasts_quota: false,
        exact: false,
        placement: None,
        // The test may have ended.
        clock: None,
        transactions: None,
        wake: Arc::new(move || sender.send(()).unwrap_or_default()),
    };
    let mut run = Run::prepare(streams, &plan).unwrap();
    run.go(Instant::now());
    (run, wakes)
}

/// A run whose peer is this program.
fn start_exact(streams: Vec<Stream>, config: &TestConfig) -> (Run, Receiver<()>) {
    let (sender, wakes) = channel();
    let plan = RunPlan {
        config,
        local: &LocalOptions::default(),
        outlasts_quota: false,
        exact: true,
        placement: None,
        clock: None,
        transactions: None,
        wake: Arc::new(move || sender.send(()).unwrap_or_default()),
    };
    let mut run = Run::prepare(streams, &plan).unwrap();
    run.go(Instant::now());
    (run, wakes)
}

/// The bytes of the last sample's totals, stream by stream.
fn bytes(run: &mut Run) -> Vec<u64> {
    let now = Instant::now();
    run.sample(now);
    run.totals(now, &CpuMeter::start())
        .streams
        .iter()
        .map(|stream| stream.bytes)
        .collect()
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "the condition never came true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_quota_is_met_exactly_by_all_streams_together_and_all_of_it_arrives() {
    for threads in THREADS {
        let config = config(Limit::Bytes(1_234_567));
        let (senders, receivers) = pairs(5);
        let (mut receiver, arrived) = start_with(threads, receivers, &config);
        let (mut sender, sent) = start_with(threads, senders, &config);
        sent.recv_timeout(LONG).unwrap();
        wait_for(|| {
            sender.quota_met_at().is_some()
                && sender.senders_ended() | !sender.ended_workers().is_empty()
        });
        arrived.recv_timeout(LONG).unwrap();
        wait_for(|| receiver.quota_met_at().is_some());
        sender.stop_senders();
        receiver.finish_receivers();
        let total: u64 = bytes(&mut sender).iter().sum();
        assert_eq!(total, 1_240_000, "whole blocks of 10,000 bytes");
        assert_eq!(bytes(&mut receiver).iter().sum::<u64>(), total);
    }
}

#[test]
fn what_arrived_before_the_end_is_counted_to_the_last_byte() {
    for threads in THREADS {
        let config = config(Limit::Endless);
        let (senders, receivers) = pairs(5);
        let (mut receiver, _) = start_with(threads, receivers, &config);
        let (mut sender, _) = start_with(threads, senders, &config);
        wait_for(|| receiver.bytes().1 > 1_000_000);
        sender.stop_senders();
        wait_for(|| sender.unacknowledged() == 0);
        receiver.finish_receivers();
        assert_eq!(bytes(&mut receiver), bytes(&mut sender));
    }
}

#[test]
fn a_sender_whose_peer_never_reads_stops_at_once_and_counts_what_the_kernel_took() {
    let config = config(Limit::Endless);
    let (senders, receivers) = pairs(1);
    let (mut sender, _) = start(senders, &config);
    let mut last = 0;
    wait_for(|| {
        std::thread::sleep(Duration::from_millis(100));
        let now = sender.bytes().0;
        std::mem::replace(&mut last, now) == now && now > 0
    });
    let start = Instant::now();
    wait_for(|| sender.send_stall(Instant::now()).is_some());
    assert!(sender.send_stall(start + LONG).unwrap() > Duration::from_secs(1));
    sender.stop_senders();
    assert!(sender.senders_ended());
    let sent = bytes(&mut sender)[0];
    sender.close().wait();
    let mut kept = 0;
    let mut buffer = [0; 8192];
    let mut socket = &receivers[0].socket;
    while let Ok(length @ 1..) = std::io::Read::read(&mut socket, &mut buffer) {
        kept += length as u64;
    }
    assert_eq!(kept, sent);
}

#[test]
fn a_receiver_that_discards_counts_nothing_but_keeps_the_peer_going() {
    let config = config(Limit::Endless);
    let (senders, receivers) = pairs(1);
    let (mut receiver, _) = start(receivers, &config);
    let (mut sender, _) = start(senders, &config);
    wait_for(|| receiver.bytes().1 > 0);
    receiver.discard_received();
    let counted = receiver.bytes().1;
    let sent = sender.bytes().0;
    wait_for(|| sender.bytes().0 > sent + 50_000_000);
    assert_eq!(receiver.bytes().1, counted);
    sender.stop_senders();
}

#[test]
fn a_lost_peer_ends_the_worker_and_wakes_the_driver() {
    let config = config(Limit::Endless);
    let (senders, receivers) = pairs(1);
    let (mut sender, wakes) = start(senders, &config);
    drop(receivers);
    wakes.recv_timeout(LONG).unwrap();
    let mut ended = Vec::new();
    wait_for(|| {
        ended.extend(sender.ended_workers());
        !ended.is_empty()
    });
    assert!(
        matches!(ended[0].ending, Ending::Failed(_)),
        "{:?}",
        ended[0]
    );
    assert!(ended[0].role.sends() && ended[0].id == 1);
}

#[test]
fn the_omitted_period_counts_for_nothing() {
    let config = TestConfig {
        omit: 1,
        ..config(Limit::Bytes(50_000))
    };
    let (senders, receivers) = pairs(1);
    let (mut receiver, _) = start(receivers, &config);
    let (mut sender, _) = start(senders, &config);
    // No more than the amount goes in the omitted period, as iperf3 does it.
    wait_for(|| sender.bytes().0 == 50_000);
    assert!(sender.sample(Instant::now()).omitted);
    assert_eq!(sender.quota_met_at(), None);
    sender.end_omit(Instant::now());
    wait_for(|| sender.quota_met_at().is_some());
    sender.stop_senders();
    let interval = sender.sample(Instant::now());
    assert!(!interval.omitted);
    let sent = sender.totals(Instant::now(), &CpuMeter::start()).streams[0].bytes;
    assert_eq!((sent, sender.bytes().0), (50_000, 100_000));
    receiver.finish_receivers();
}

#[test]
fn senders_report_what_the_kernel_knows_about_their_connection() {
    let config = config(Limit::Endless);
    let (senders, receivers) = pairs(1);
    let (mut receiver, _) = start(receivers, &config);
    let (mut sender, _) = start(senders, &config);
    wait_for(|| receiver.bytes().1 > 1_000_000);
    let mut sample = TcpSample::default();
    wait_for(|| {
        sample = sender.sample(Instant::now()).streams[0].tcp.unwrap();
        // The window is closed for moments in which the receiver is behind.
        sample.snd_wnd > 0
    });
    assert!(sample.snd_cwnd > 0 && sample.pmtu > 0);
    assert!(receiver.sample(Instant::now()).streams[0].tcp.is_none());
    let totals = sender.totals(Instant::now(), &CpuMeter::start());
    assert!(
        totals.streams[0]
            .byte_totals()
            .unwrap()
            .tcp
            .unwrap()
            .max_snd_cwnd
            >= sample.snd_cwnd
    );
    assert!(totals.congestion.is_some());
}

#[test]
fn streams_that_share_a_thread_all_advance_and_end_one_by_one() {
    let config = config(Limit::Endless);
    let (senders, receivers) = pairs(6);
    let (mut receiver, _receiver_wakes) = start_with(NonZero::new(1), receivers, &config);
    let (sender, _sender_wakes) = start_with(NonZero::new(1), senders, &config);
    wait_for(|| bytes(&mut receiver).iter().all(|bytes| *bytes > 1_000_000));
    drop(sender.close());
    let mut ended = Vec::new();
    wait_for(|| {
        ended.extend(receiver.ended_workers());
        ended.len() == 6
    });
    assert!(
        ended
            .iter()
            .all(|end| matches!(end.ending, Ending::EndOfStream))
    );
}

#[test]
fn a_shared_thread_keeps_the_pace_of_each_stream() {
    let mut config = config(Limit::Endless);
    config.pacing.rate = Some(BitRate::new(8_000_000));
    let (senders, receivers) = pairs(4);
    let (mut receiver, _receiver_wakes) = start_with(NonZero::new(1), receivers, &config);
    let begin = Instant::now();
    let (mut sender, _sender_wakes) = start_with(NonZero::new(1), senders, &config);
    wait_for(|| bytes(&mut receiver).iter().all(|bytes| *bytes >= 200_000));
    sender.stop_senders();
    let allowed = begin.elapsed().as_secs_f64() * 1e6 + 10_000.0;
    for sent in bytes(&mut sender) {
        assert!((sent as f64) <= allowed, "{sent} of {allowed}");
    }
}

/// Ends of this program cut at the same place, however late the receiver learns of it, and count the quota exactly.
#[test]
fn an_omitted_period_ends_at_the_same_byte_at_both_ends() {
    for round in 0..60 {
        let count = [1, 4][round % 2];
        let limit = [Limit::Blocks(50), Limit::Bytes(495_001)][round / 2 % 2];
        let config = TestConfig {
            omit: 1,
            ..config(limit)
        };
        let (senders, receivers) = pairs(count);
        let (mut receiver, _) = start_exact(receivers, &config);
        let (mut sender, _) = start_exact(senders, &config);
        wait_for(|| receiver.bytes().1 > 1_000_000);
        // Clocks differ, and either end may be first.
        let mut ends = [&mut sender, &mut receiver];
        ends.rotate_left(round % 2);
        for end in ends {
            end.end_omit(Instant::now());
            std::thread::sleep(Duration::from_micros(300) * u32::try_from(round % 4).unwrap());
        }
        let mut intervals = 0;
        let mut count_interval = |receiver: &mut Run| {
            let interval = receiver.sample(Instant::now());
            intervals += interval.streams.iter().map(|s| s.bytes).sum::<u64>();
        };
        // A receiver that learns late may have everything by then.
        wait_for(|| sender.quota_met_at().is_some());
        count_interval(&mut receiver);
        wait_for(|| {
            for counts in sender.counts_to_tell() {
                receiver.learn_counts(&counts);
            }
            receiver.quota_met_at().is_some()
        });
        count_interval(&mut receiver);
        assert_eq!(intervals, 500_000, "round {round}");
        assert_eq!(bytes(&mut sender).iter().sum::<u64>(), 500_000);
        assert_eq!(bytes(&mut receiver).iter().sum::<u64>(), 500_000);
    }
}

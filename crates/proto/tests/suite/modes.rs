//! Every kind of test, from the cookie to the goodbye.

use iperf_proto::Machine as _;
use std::time::Duration;

use iperf_model::{
    ByteTotals, Detail, Direction, Limit, ServerOutput, Summary, TestConfig, Transport,
};

use crate::pair::{Pair, totals};

const COURSE: [&str; 10] = [
    "client ParamsSent",
    "server Params",
    "client OpenStreams",
    "client StartClock",
    "client Run",
    "server EndTest",
    "client CollectResults",
    "server PeerResults",
    "client ShowResults",
    "server Done",
];

fn outputs() -> [Option<ServerOutput>; 3] {
    let json = "{\n\t\"start\":\t{\"cookie\": \"ä\"}, \"start\": 18446744073709551615}";
    [
        None,
        Some(ServerOutput::Text("one\n  two\t\"ü\"\n".to_owned())),
        Some(ServerOutput::Json(json.to_owned())),
    ]
}

fn run(test: &TestConfig, output: Option<&ServerOutput>, chunk: usize, early_start: bool) {
    let mut pair = Pair::new(test.clone());
    pair.server_output = output.cloned();
    pair.chunk = chunk;
    pair.early_start = early_start;
    pair.drive();

    assert_eq!(pair.log, COURSE, "{test:?}");
    assert_eq!(pair.server_test.as_ref(), Some(test));
    assert!(pair.client.is_closed() && pair.server.is_closed());
    assert_eq!(pair.undelivered(), 0);
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(pair.server.poll_timeout(), None);
    assert_eq!(pair.peer_results.unwrap().server_output.as_ref(), output);
    check_summary(test, true, &pair.client_summary.unwrap());
    check_summary(test, false, &pair.server_summary.unwrap());
}

/// After the exchange both ends know what each of them counted.
fn check_summary(test: &TestConfig, is_client: bool, summary: &Summary) {
    let (own, peer) = (totals(test, is_client), totals(test, !is_client));
    assert_eq!(summary.duration, own.duration);
    let difference = summary.remote_duration.unwrap().abs_diff(peer.duration);
    assert!(difference < Duration::from_micros(1));
    assert_eq!(summary.cpu, own.cpu);
    assert_eq!(summary.remote_cpu, Some(peer.cpu));
    assert_eq!(summary.congestion, own.congestion);
    assert_eq!(summary.remote_congestion, peer.congestion);
    assert_eq!(summary.streams.len(), test.total_streams());

    for ((stream, own), peer) in summary.streams.iter().zip(&own.streams).zip(&peer.streams) {
        assert_eq!(stream.own, *own);
        let reported = stream.peer.as_ref().unwrap();
        let socket = own.socket;
        assert_eq!(
            (reported.socket, reported.role),
            (socket, own.role.counterpart())
        );
        assert_eq!((reported.id, reported.bytes), (peer.id, peer.bytes));
        match (&reported.detail, &peer.detail) {
            (Detail::Bytes(reported), Detail::Bytes(peer)) => {
                let retransmits = |bytes: &ByteTotals| bytes.tcp.map(|tcp| tcp.retransmits);
                assert_eq!(retransmits(reported), retransmits(peer));
            }
            (Detail::Datagrams(reported), Detail::Datagrams(peer)) => {
                assert_eq!(reported.counted_packets(), peer.counted_packets());
                assert_eq!(reported.counted_lost(), peer.counted_lost());
                assert!((reported.jitter - peer.jitter).abs() < f64::EPSILON);
                assert_eq!(reported.out_of_order, peer.out_of_order);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_mode_runs_from_cookie_to_goodbye() {
    let transports = [
        Transport::Tcp,
        Transport::Mptcp,
        Transport::Udp,
        Transport::Sctp,
        Transport::Vsock,
    ];
    let directions = [
        Direction::Forward,
        Direction::Reverse,
        Direction::Bidirectional,
    ];
    let limits = [
        Limit::Seconds(10),
        Limit::Bytes(1 << 30),
        Limit::Blocks(77),
        Limit::Endless,
    ];
    for transport in transports {
        for direction in directions {
            for limit in limits {
                for omit in [0, 3] {
                    for output in outputs() {
                        let mut test = TestConfig::new(transport);
                        test.direction = direction;
                        test.limit = limit;
                        test.omit = omit;
                        test.streams = if omit == 0 { 1 } else { 3 };
                        test.get_server_output = output.is_some();
                        run(&test, output.as_ref(), usize::MAX, false);
                    }
                }
            }
        }
    }
}

#[test]
fn input_may_arrive_byte_by_byte() {
    for output in outputs() {
        let mut test = TestConfig::new(Transport::Udp);
        test.direction = Direction::Bidirectional;
        test.get_server_output = output.is_some();
        for chunk in [1, 2, 3, 7] {
            run(&test, output.as_ref(), chunk, false);
        }
    }
}

#[test]
fn a_server_may_start_before_the_clients_driver_is_ready() {
    run(&TestConfig::new(Transport::Tcp), None, usize::MAX, true);
}

#[test]
fn the_largest_test_fits_into_the_limits() {
    let mut test = TestConfig::new(Transport::Udp);
    test.direction = Direction::Bidirectional;
    test.streams = 128;
    run(&test, None, usize::MAX, false);
}

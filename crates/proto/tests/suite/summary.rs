//! Summaries of peers that report less than they should. The rest is checked with every mode.

use std::time::Duration;

use iperf_model::{
    ByteTotals, Cause, DatagramTotals, Detail, Direction, ExchangeCounts, Role, Summary,
    TestConfig, Transport,
};
use iperf_proto::{Code, Results, summarize};

use crate::pair::totals;

fn udp(direction: Direction, omit: u32) -> TestConfig {
    let mut test = TestConfig::new(Transport::Udp);
    test.direction = direction;
    test.omit = omit;
    test
}

fn server_results(test: &TestConfig) -> Results {
    Results::from_totals(&totals(test, false), test, None)
}

fn sent(summary: &Summary) -> DatagramTotals {
    *summary.streams[0]
        .sent()
        .unwrap()
        .datagram_totals()
        .unwrap()
}

fn received(summary: &Summary) -> DatagramTotals {
    let received = summary.streams[0].received().unwrap();
    *received.datagram_totals().unwrap()
}

/// As 3.13 and before.
fn forget_omitted(mut results: Results) -> Results {
    for stream in &mut results.streams {
        stream.omitted_errors = None;
        stream.omitted_packets = None;
    }
    results
}

#[test]
fn losses_are_unknown_when_an_old_receiver_omitted_some() {
    for (omit, lost) in [(0, Some(5)), (3, None)] {
        let test = udp(Direction::Forward, omit);
        let peer = forget_omitted(server_results(&test));
        let summary = summarize(&totals(&test, true), &test, Some(&peer)).unwrap();
        let received = received(&summary);
        assert_eq!(received.counted_lost(), lost);
        // It is taken to have omitted as many as this end did.
        let omitted = if omit == 0 { 0 } else { 100 };
        assert_eq!(received.counted_packets(), 998 - omitted);
    }
}

#[test]
fn packets_of_an_old_sender_lack_what_this_end_omitted() {
    let test = udp(Direction::Reverse, 3);
    let peer = forget_omitted(server_results(&test));
    let summary = summarize(&totals(&test, true), &test, Some(&peer)).unwrap();
    assert_eq!(sent(&summary).counted_packets(), 900);
    assert_eq!(received(&summary).counted_lost(), Some(3));
}

#[test]
fn losses_of_a_peer_that_names_no_limits_are_named_by_the_sender() {
    let causes = |direction| {
        let test = udp(direction, 0);
        let peer = server_results(&test);
        let summary = summarize(&totals(&test, true), &test, Some(&peer)).unwrap();
        let causes = summary.limits.iter().map(|limit| limit.cause);
        causes.collect::<Vec<_>>()
    };
    assert_eq!(causes(Direction::Forward), [Cause::Congestion]);
    assert_eq!(
        causes(Direction::Reverse),
        [Cause::Unknown],
        "the peer sends"
    );
}

#[test]
fn an_unknown_stream_id_is_an_error() {
    let test = udp(Direction::Forward, 0);
    for id in [2, 0, -1, i64::MAX, (1 << 32) + 1] {
        let mut peer = server_results(&test);
        peer.streams[0].id = id;
        let summary = summarize(&totals(&test, true), &test, Some(&peer));
        assert_eq!(summary, Err(Code(208)), "{id}");
    }
}

#[test]
fn a_peer_may_list_fewer_streams() {
    let mut test = udp(Direction::Bidirectional, 0);
    test.streams = 2;
    let mut peer = server_results(&test);
    peer.streams.remove(0);
    let summary = summarize(&totals(&test, true), &test, Some(&peer)).unwrap();
    assert_eq!(summary.streams.len(), 4);
    assert!(summary.streams[0].sent().is_some() && summary.streams[0].received().is_none());
    assert!(summary.streams[1].received().is_some());
    assert_eq!(summary.remote_duration, None, "the first stream tells it");

    peer.streams.clear();
    let summary = summarize(&totals(&test, true), &test, Some(&peer)).unwrap();
    assert!(summary.streams[3].received().is_some() && summary.streams[3].sent().is_none());
    assert!(summary.remote_cpu.is_some());
}

#[test]
fn a_server_reports_only_its_own_side_before_the_exchange() {
    let test = udp(Direction::Forward, 0);
    let summary = summarize(&totals(&test, false), &test, None).unwrap();
    assert!(summary.streams[0].sent().is_none());
    assert_eq!(received(&summary).counted_lost(), Some(5));
    assert_eq!(summary.remote_cpu, None);
    assert_eq!(summary.remote_duration, None);
}

#[test]
fn a_sender_without_counters_has_no_retransmits() {
    let mut test = TestConfig::new(Transport::Tcp);
    test.direction = Direction::Reverse;
    let summary = |peer: &Results| {
        let summary = summarize(&totals(&test, true), &test, Some(peer)).unwrap();
        let bytes = summary.streams[0].sent().unwrap().byte_totals().unwrap();
        bytes.tcp.map(|tcp| tcp.retransmits)
    };
    let mut peer = server_results(&test);
    assert_eq!(summary(&peer), Some(7));
    peer.streams[0].retransmits = -1;
    assert_eq!(summary(&peer), None);
    peer.streams[0].retransmits = 7;
    peer.sender_has_retransmits = 0;
    assert_eq!(summary(&peer), None);
}

#[test]
fn a_requesters_count_is_that_of_the_stream() {
    let mut test = TestConfig::new(Transport::Tcp);
    test.direction = Direction::Reverse;
    let mut own = totals(&test, true);
    let counts = |transactions| ExchangeCounts {
        transactions,
        ..ExchangeCounts::default()
    };
    own.streams[0].role = Role::Responder;
    own.streams[0].detail = Detail::Exchanges(counts(90), ByteTotals::default());
    let mut peer = server_results(&test);
    let shown = |peer: &Results| {
        let summary = summarize(&own, &test, Some(peer)).unwrap();
        summary.streams[0].exchange_counts().unwrap().transactions
    };
    assert_eq!(shown(&peer), 90, "as long as only a responder's is known");
    peer.streams[0].transactions = Some(100);
    assert_eq!(shown(&peer), 100);
}

#[test]
fn nonsense_of_a_peer_does_no_harm() {
    let test = udp(Direction::Reverse, 3);
    let mut peer = server_results(&test);
    let stream = &mut peer.streams[0];
    stream.packets = i64::MIN;
    stream.omitted_packets = Some(i64::MAX);
    stream.errors = i64::MIN;
    stream.omitted_errors = Some(i64::MAX);
    stream.start_time = Some(5.0);
    stream.end_time = Some(-1e300);
    let result = summarize(&totals(&test, true), &test, Some(&peer)).unwrap();
    assert_eq!(sent(&result).counted_packets(), 0);
    assert_eq!(result.remote_duration, None);

    let test = udp(Direction::Forward, 3);
    let result = summarize(&totals(&test, true), &test, Some(&peer)).unwrap();
    assert_eq!(received(&result).counted_lost(), Some(i64::MIN));
    assert_eq!(result.duration, Duration::from_micros(10_000_123));
}

//! Lost datagrams, known and unknown, and counts that make no sense.

use std::time::Duration;

use iperf_model::{
    ByteTotals, DatagramSample, DatagramTotals, Direction, Event, StreamOutcome, TcpTotals,
    Transport,
};

use iperf_report::ReportOptions;

use crate::case::{Case, lines_of};
use crate::support::outcomes;
use crate::support::outcomes::counted;

#[test]
fn losses_of_udp() {
    let case = Case::new(Transport::Udp, false);
    let received = |lost| {
        let totals = DatagramTotals {
            out_of_order: 7,
            duplicates: Some(2),
            socket_drops: Some(3),
            jitter: 0.012_345_6,
            ..counted(1100, lost)
        };
        Some(outcomes::datagrams(1000, totals))
    };
    let datagrams = DatagramSample {
        packets: 40,
        lost: -3,
        jitter: 1.5,
        out_of_order: 0,
    };
    let mut events = case.started();
    events.push(case.interval(1000, Some(datagrams)));
    events.push(case.summary(None, received(Some(1100))));
    events.push(Event::TestFinished);
    let lines = lines_of(case.options(), &events);
    let prefix = "[  4]   0.00-1.00   sec  1000 Bytes  8.00 Kbits/sec";
    assert_eq!(lines[3], format!("{prefix}  1500.000 ms  -3/40 (-7.5%)  "));
    assert_eq!(
        lines[6..],
        [
            "[SUM]  0.0- 1.0 sec  7 datagrams received out-of-order".to_owned(),
            format!("{prefix}  12.346 ms  1100/1100 (1e+02%)  receiver"),
        ]
    );
    let document = case.document(&events);
    assert_eq!(document["intervals"][0]["sum"]["lost_packets"], -3);
    let end = &document["end"];
    assert_eq!(end["streams"][0]["udp"]["out_of_order"], 7);
    assert_eq!(end["streams"][0]["udp"]["socket_drops"], 3);
    assert_eq!(end["streams"][0]["udp"]["duplicates"], 2);
    let verbose = ReportOptions {
        verbose: true,
        ..case.options()
    };
    let lines = lines_of(verbose, &events);
    for line in [
        "[  4] 3 of them dropped in the receiver's socket",
        "[  4] 2 datagrams received twice",
    ] {
        assert!(lines.iter().any(|found| found == line), "{lines:?}");
    }
    // The sender's count is not known, so the stream has no percentage and the sums have.
    assert_eq!(end["streams"][0]["udp"]["lost_percent"], 0);
    assert_eq!(end["sum_received"]["lost_percent"], 100);
    assert_eq!(end["sum"]["lost_percent"], 100);

    let unknown = [
        case.started(),
        vec![case.summary(None, received(None)), Event::TestFinished],
    ];
    let events = unknown.concat();
    let lines = lines_of(case.options(), &events);
    assert_eq!(
        lines.last().unwrap(),
        &format!("{prefix}  12.346 ms  Unknown/1100  receiver")
    );
    assert_eq!(case.document(&events)["end"]["sum"]["lost_packets"], 0);
}

#[test]
fn a_sum_of_unknown_losses_is_unknown() {
    let mut case = Case::new(Transport::Udp, true);
    case.config.streams = 2;
    case.config.direction = Direction::Forward;
    let stream = |socket, lost| {
        let sent = outcomes::datagrams(1000, counted(2, Some(0)));
        let received = outcomes::datagrams(0, counted(2, lost));
        outcomes::stream(socket, true, Some(sent), Some(received))
    };
    let Event::Summary(mut summary) = case.summary(None, None) else {
        unreachable!()
    };
    summary.streams = vec![stream(4, Some(1)), stream(6, None)];
    let mut events = case.started();
    events.push(Event::Summary(summary));
    events.push(Event::TestFinished);
    let lines = lines_of(case.options(), &events);
    let counts: Vec<_> = lines
        .iter()
        .filter(|line| line.ends_with("receiver"))
        .map(|line| line.split("ms  ").nth(1).unwrap())
        .collect();
    assert_eq!(
        counts,
        [
            "1/2 (50%)  receiver",
            "Unknown/2  receiver",
            "Unknown/4  receiver"
        ]
    );
}

fn absurd(transport: Transport) -> StreamOutcome {
    if transport == Transport::Udp {
        let totals = DatagramTotals {
            out_of_order: u64::MAX,
            jitter: f64::MAX,
            ..counted(u64::MAX, Some(i64::MIN))
        };
        return outcomes::datagrams(u64::MAX, totals);
    }
    let tcp = TcpTotals {
        retransmits: u64::MAX,
        ..TcpTotals::default()
    };
    let totals = ByteTotals {
        tcp: Some(tcp),
        low_water: Some(u64::MAX),
    };
    outcomes::bytes(u64::MAX, totals)
}

#[test]
fn a_peers_absurd_counts_are_shown_and_do_no_harm() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut case = Case::new(transport, true);
        case.config.streams = 2;
        let Event::Summary(mut summary) = case.summary(None, None) else {
            unreachable!()
        };
        let side = || Some(absurd(transport));
        let stream = outcomes::stream(4, true, side(), side());
        summary.streams = vec![stream.clone(), stream];
        summary.remote_duration = Some(Duration::MAX);
        let events = [
            case.started(),
            vec![Event::Summary(summary), Event::TestFinished],
        ]
        .concat();
        let lines = lines_of(case.options(), &events);
        assert_eq!(lines.last().unwrap(), "iperf Done.");
        let end = &case.document(&events)["end"];
        assert_eq!(end["sum_sent"]["bytes"], u64::MAX);
        if transport == Transport::Udp {
            assert_eq!(end["sum_received"]["lost_packets"], i64::MIN);
            // The largest number there is, since JSON has no infinity and a reader expects a number.
            assert_eq!(end["sum_received"]["jitter_ms"], f64::MAX);
        }
    }
}

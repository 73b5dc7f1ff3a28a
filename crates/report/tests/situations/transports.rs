//! What differs from transport to transport.

use std::time::Duration;

use iperf_model::{
    Batching, Buffers, ByteTotals, Carrier, DatagramTotals, Detail, Direction, Event,
    StreamOutcome, Transport,
};
use serde_json::Value;

use crate::case::{Case, bytes, keys, lines_of};
use crate::support::outcomes;
use crate::support::outcomes::counted;

#[test]
fn vsock_has_nothing_that_belongs_to_tcp() {
    let case = Case::new(Transport::Vsock, true);
    let mut events = case.started();
    events.push(case.interval(1 << 20, None));
    events.push(case.summary(Some(bytes(1 << 20)), Some(bytes(0))));
    events.push(Event::TestFinished);
    let document = case.document(&events);
    let start = &document["start"];
    assert_eq!(
        keys(start),
        [
            "connected",
            "version",
            "system_info",
            "timestamp",
            "connecting_to",
            "cookie",
            "target_bitrate",
            "fq_rate",
            "test_start"
        ]
    );
    assert_eq!(start["test_start"]["protocol"], "VSOCK");
    assert_eq!(start["connected"][0]["local_port"], u32::MAX);
    let common = ["start", "end", "seconds", "bytes", "bits_per_second"];
    let interval = [&common[..], &["omitted", "sender"]].concat();
    assert_eq!(keys(&document["intervals"][0]["sum"]), interval);
    let end = &document["end"];
    assert_eq!(
        keys(end),
        [
            "streams",
            "sum_sent",
            "sum_received",
            "cpu_utilization_percent"
        ]
    );
    assert_eq!(keys(&end["sum_sent"]), [&common[..], &["sender"]].concat());

    let mut verbose = case.options();
    verbose.verbose = true;
    let lines = lines_of(verbose, &events);
    let plain = "[ ID] Interval           Transfer     Bitrate";
    assert_eq!(
        lines.iter().filter(|line| *line == plain).count(),
        2,
        "{lines:?}"
    );
    assert!(lines.contains(&"[  4] local 3 port 4294967295 connected to 2 port 5201".into()));
    assert!(
        !lines
            .iter()
            .any(|line| line.contains("congestion") || line.contains("MSS"))
    );
}

#[test]
fn a_vsock_server_names_its_client_and_what_carries_the_test() {
    let case = Case::new(Transport::Vsock, false);
    let mut events = case.started();
    events.insert(
        2,
        Event::CarriedBy(Carrier::Unix("/run/vm.vsock_5201".into())),
    );
    events[3] = Event::BuffersKept(Buffers {
        requested: 7,
        sndbuf: 8,
        rcvbuf: 9,
    });
    events.push(Event::TestFinished);
    let start = case.document(&events)["start"].clone();
    assert_eq!(start["accepted_connection"]["host"], "client");
    let vsock = serde_json::json!({
        "carrier": "unix",
        "socket_file": "/run/vm.vsock_5201",
        "socket_type": "stream",
        "bufsize": 7,
        "sndbuf_actual": 8,
        "rcvbuf_actual": 9,
    });
    assert_eq!(start["vsock"], vsock);
    assert!(start["sock_bufsize"].is_null() && start["tcp_mss_default"].is_null());

    let mut verbose = case.options();
    verbose.verbose = true;
    let line = "      Carried by Unix socket /run/vm.vsock_5201, buffers of 8 bytes to send, 9 to receive (7 requested)";
    assert!(lines_of(verbose, &events).contains(&line.to_owned()));
    assert!(!lines_of(case.options(), &events).contains(&line.to_owned()));
}

#[test]
fn sctp_keeps_buffers_where_udp_has_them() {
    let case = Case::new(Transport::Sctp, false);
    let mut events = case.started();
    events.push(Event::TestFinished);
    let start = case.document(&events)["start"].clone();
    assert_eq!(start["test_start"]["protocol"], "SCTP");
    let keys = keys(&start);
    let at = |key: &str| keys.iter().position(|k| *k == key);
    assert!(at("fq_rate") < at("sock_bufsize") && at("tcp_mss_default").is_none());
}

#[test]
fn the_batching_of_datagrams_is_named_after_system_calls() {
    let shown = |is_client, batching| {
        let case = Case::new(Transport::Udp, is_client);
        let mut events = case.started();
        let mut summary = case.summary(None, None);
        if let Event::Summary(summary) = &mut summary {
            summary.streams[0].own.detail = Detail::Datagrams(DatagramTotals {
                batching,
                ..counted(0, Some(0))
            });
        }
        events.extend([summary, Event::TestFinished]);
        case.document(&events)["end"]["streams"][0]["udp"]["moved_by"].clone()
    };
    assert!(shown(true, None).is_null());
    for (batching, sender, receiver) in [
        (Batching::Nothing, "send", "recv"),
        (Batching::Calls, "sendmmsg", "recvmmsg"),
        (Batching::Packets, "gso", "gro"),
    ] {
        assert_eq!(shown(true, Some(batching)), sender);
        assert_eq!(shown(false, Some(batching)), receiver);
    }
}

#[test]
fn how_a_receiver_was_woken_is_reported_where_known() {
    let shown = |transport, received: StreamOutcome| {
        let case = Case::new(transport, false);
        let mut events = case.started();
        events.extend([case.summary(None, Some(received)), Event::TestFinished]);
        let stream = &case.document(&events)["end"]["streams"][0];
        match transport {
            Transport::Udp => stream["udp"]["rcv_nap_us"].clone(),
            _ => stream["receiver"]["rcv_lowat"].clone(),
        }
    };
    let nap = |micros: Option<u64>| {
        let totals = DatagramTotals {
            nap: micros.map(Duration::from_micros),
            ..counted(0, Some(0))
        };
        shown(Transport::Udp, outcomes::datagrams(0, totals))
    };
    let low_water = |low_water| {
        let tcp = None;
        let totals = ByteTotals { tcp, low_water };
        shown(Transport::Tcp, outcomes::bytes(0, totals))
    };
    assert_eq!(nap(Some(500)), 500);
    assert_eq!(nap(Some(0)), 0);
    assert_eq!(low_water(Some(65_536)), 65_536);
    assert!(nap(None).is_null() && low_water(None).is_null());
}

#[test]
fn congestion_control_is_named_by_the_sender() {
    let named = |direction| {
        let mut case = Case::new(Transport::Tcp, true);
        case.config.direction = direction;
        let Event::Summary(mut summary) = case.summary(None, None) else {
            unreachable!()
        };
        summary.remote_congestion = Some("bbr".into());
        let events = [case.began(), Event::Summary(summary), Event::TestFinished];
        let mut options = case.options();
        options.verbose = true;
        let text: Vec<_> = lines_of(options, &events)
            .iter()
            .filter_map(|line| line.split_once("_tcp_congestion "))
            .map(|(side, name)| format!("{side} {name}"))
            .collect();
        let end = &case.document(&events)["end"];
        let json = ["sender", "receiver"].map(|side| end[format!("{side}_tcp_congestion")].clone());
        (text, json)
    };
    let forward = ["snd cubic", "rcv bbr"];
    let reverse = ["snd bbr", "rcv cubic"];
    let (text, json) = named(Direction::Forward);
    assert_eq!(
        (&text[..], json),
        (
            &forward.map(String::from)[..],
            ["cubic", "bbr"].map(Value::from)
        )
    );
    let (text, json) = named(Direction::Reverse);
    assert_eq!(
        (&text[..], json),
        (
            &reverse.map(String::from)[..],
            ["bbr", "cubic"].map(Value::from)
        )
    );
    // Text names both directions, a document the last one.
    let (text, json) = named(Direction::Bidirectional);
    assert_eq!(text, [forward, reverse].concat());
    assert_eq!(json, ["bbr", "cubic"].map(Value::from));
}

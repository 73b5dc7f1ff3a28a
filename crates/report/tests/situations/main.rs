//! What no sample shows: failures, other transports, missing results, several tests on one sink.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use iperf_model::{
    Batching, Buffers, ByteTotals, Carrier, CpuUsage, DatagramSample, DatagramTotals, Detail,
    Direction, Event, Failure, FailureKind, Interval, Limit, Peer, Role, ServerOutput, SocketName,
    StreamInfo, StreamInterval, StreamOutcome, Summary, TcpTotals, TestBegan, TestConfig,
    TestStarted, Transport,
};
use iperf_report::{Format, Output, ReportOptions, Writer, null_sink, open_log, sink};
use serde_json::Value;
use support::outcomes::{self, counted};
use support::{Buffer, options, render};

/// A test of one second with one interval.
struct Case {
    is_client: bool,
    config: TestConfig,
}

impl Case {
    fn new(transport: Transport, is_client: bool) -> Self {
        let mut config = TestConfig::new(transport);
        config.limit = Limit::Seconds(1);
        Self { is_client, config }
    }

    fn options(&self) -> ReportOptions {
        options(self.is_client)
    }

    fn began(&self) -> Event {
        let name = |host: &str| SocketName {
            host: host.into(),
            port: 5201,
        };
        Event::TestBegan(TestBegan {
            peer: if self.is_client {
                Peer::ConnectingTo(name("server"))
            } else {
                Peer::AcceptedFrom(name("client"))
            },
            at: UNIX_EPOCH,
            cookie: "cookie".into(),
            control_mss: 1448,
            config: Arc::new(self.config.clone()),
        })
    }

    fn started(&self) -> Vec<Event> {
        let name = |host: &str, port| SocketName {
            host: host.into(),
            port,
        };
        vec![
            self.began(),
            Event::StreamOpened(StreamInfo {
                id: 1,
                socket: 4,
                local: name("3", u32::MAX),
                remote: name("2", 5201),
                role: Role::of(self.is_client),
            }),
            Event::BuffersKept(Buffers::default()),
            Event::TestStarted(TestStarted {
                config: Arc::new(self.config.clone()),
                interval: Some(Duration::from_secs(1)),
                gso: false,
                gro: false,
            }),
        ]
    }

    fn interval(&self, bytes: u64, datagrams: Option<DatagramSample>) -> Event {
        Event::Interval(Interval {
            start: Duration::ZERO,
            end: Duration::from_secs(1),
            omitted: false,
            streams: vec![StreamInterval {
                socket: 4,
                role: Role::of(self.is_client),
                bytes,
                tcp: None,
                datagrams,
            }],
        })
    }

    fn summary(&self, sent: Option<StreamOutcome>, received: Option<StreamOutcome>) -> Event {
        Event::Summary(Summary {
            streams: vec![outcomes::stream(4, self.is_client, sent, received)],
            duration: Duration::from_secs(1),
            remote_duration: None,
            cpu: CpuUsage::default(),
            remote_cpu: None,
            congestion: Some("cubic".into()),
            remote_congestion: None,
        })
    }

    fn document(&self, events: &[Event]) -> Value {
        let written = render(Format::Json, self.options(), events);
        assert_eq!(written.err, "");
        serde_json::from_str(&written.out).unwrap()
    }
}

fn lines_of(options: ReportOptions, events: &[Event]) -> Vec<String> {
    let written = render(Format::Text, options, events);
    written.out.lines().map(str::to_owned).collect()
}

fn failed(kind: FailureKind, message: &str) -> Event {
    Event::Failed(Failure {
        kind,
        message: message.into(),
    })
}

fn listening(test_number: u64) -> Event {
    Event::Listening {
        port: 5201,
        test_number,
    }
}

fn bytes(bytes: u64) -> StreamOutcome {
    outcomes::bytes(bytes, ByteTotals::default())
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn a_text_client_that_fails_early_reports_it_on_stderr_only() {
    let events = [failed(FailureKind::Error, "no route"), Event::TestFinished];
    let written = render(Format::Text, options(true), &events);
    assert_eq!(written.out, "");
    assert_eq!(written.err, "iperf3: error - no route\n");
}

#[test]
fn an_interrupted_client_is_not_done() {
    let case = Case::new(Transport::Tcp, true);
    let mut events = case.started();
    events.push(case.interval(1 << 20, None));
    events.push(case.summary(Some(bytes(1 << 20)), None));
    events.push(failed(FailureKind::Interrupt, "stopped"));
    events.push(Event::TestFinished);
    let written = render(Format::Text, case.options(), &events);
    assert_eq!(written.err, "iperf3: interrupt - stopped\n");
    let lines: Vec<_> = written.out.lines().rev().take(2).collect();
    assert_eq!(
        lines,
        [
            "[  4]   0.00-1.00   sec  0.00 Bytes  0.00 bits/sec                  receiver",
            "[  4]   0.00-1.00   sec  1.00 MBytes  8.39 Mbits/sec                  sender",
        ]
    );
    let document = case.document(&events);
    assert_eq!(document["error"], "interrupt - stopped");
    assert_eq!(document["end"]["sum_received"]["bits_per_second"], 0);
    assert_eq!(keys(&document), ["start", "intervals", "end", "error"]);
}

#[test]
fn failures_on_a_server_have_a_prefix_in_json() {
    for (kind, text) in [
        (FailureKind::Error, "error - gone"),
        (FailureKind::Interrupt, "interrupt - gone"),
    ] {
        let events = [listening(1), failed(kind, "gone"), Event::TestFinished];
        let written = render(Format::Json, options(false), &events);
        let document: Value = serde_json::from_str(&written.out).unwrap();
        assert_eq!(document["error"], text);
        let written = render(Format::JsonStream, options(false), &events);
        let expected = format!(
            "{{\"event\":\"error\",\"data\":\"{text}\"}}\n{{\"event\":\"end\",\"data\":{{}}}}\n"
        );
        assert_eq!(written.out, expected);
    }
}

#[test]
fn a_server_without_a_client_writes_no_document() {
    let events = [listening(1), Event::TestFinished];
    for format in [Format::Json, Format::JsonStream] {
        assert_eq!(render(format, options(false), &events).out, "");
    }
}

#[test]
fn each_test_of_a_server_starts_afresh() {
    let mut case = Case::new(Transport::Tcp, false);
    let mut events = vec![listening(1)];
    case.config.title = Some("first".into());
    case.config.get_server_output = true;
    events.extend(case.started());
    events.push(case.interval(1 << 20, None));
    events.push(failed(FailureKind::Error, "gone"));
    events.push(Event::TestFinished);
    case.config.title = None;
    events.push(listening(2));
    events.extend(case.started());
    events.push(case.interval(2 << 20, None));
    events.push(Event::TestFinished);

    let written = render(Format::Json, case.options(), &events);
    let mut documents = serde_json::Deserializer::from_str(&written.out).into_iter::<Value>();
    let first = documents.next().unwrap().unwrap();
    let second = documents.next().unwrap().unwrap();
    assert!(documents.next().is_none());
    assert_eq!(
        keys(&first),
        ["start", "intervals", "end", "error", "title"]
    );
    assert_eq!(keys(&second), ["start", "intervals", "end"]);
    assert_eq!(second["start"]["connected"].as_array().unwrap().len(), 1);
    assert_eq!(second["intervals"].as_array().unwrap().len(), 1);

    let mut verbose = case.options();
    verbose.verbose = true;
    let written = render(Format::Text, verbose, &events);
    assert_eq!(
        written
            .out
            .matches("Server listening on 5201 (test #")
            .count(),
        2
    );
    assert_eq!(written.out.matches("iperf 3.22\n").count(), 2);
    assert_eq!(written.out.matches("[ ID] Interval").count(), 2);
    let Some(ServerOutput::Text(text)) = written.server_output else {
        panic!("{:?}", written.server_output);
    };
    assert_eq!(text.matches("Accepted connection").count(), 1);
    assert!(
        text.contains("2.00 MBytes") && !text.contains("1.00 MBytes"),
        "{text}"
    );
}

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
    let line = "      Carried by Unix socket /run/vm.vsock_5201, buffers of 8 bytes to send, 9 to receive (7 asked for)";
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
    let told = |is_client, batching| {
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
    assert!(told(true, None).is_null());
    for (batching, sender, receiver) in [
        (Batching::Nothing, "send", "recv"),
        (Batching::Calls, "sendmmsg", "recvmmsg"),
        (Batching::Packets, "gso", "gro"),
    ] {
        assert_eq!(told(true, Some(batching)), sender);
        assert_eq!(told(false, Some(batching)), receiver);
    }
}

#[test]
fn how_a_receiver_was_woken_is_reported_where_known() {
    let told = |transport, received: StreamOutcome| {
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
        told(Transport::Udp, outcomes::datagrams(0, totals))
    };
    let low_water = |low_water| {
        let tcp = None;
        let totals = ByteTotals { tcp, low_water };
        told(Transport::Tcp, outcomes::bytes(0, totals))
    };
    assert_eq!(nap(Some(500)), 500);
    assert_eq!(nap(Some(0)), 0);
    assert_eq!(low_water(Some(65_536)), 65_536);
    assert!(nap(None).is_null() && low_water(None).is_null());
}

#[test]
fn losses_of_udp() {
    let case = Case::new(Transport::Udp, false);
    let received = |lost| {
        let totals = DatagramTotals {
            out_of_order: 7,
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

#[test]
fn verbose_lines_follow_the_options() {
    let mut case = Case::new(Transport::Tcp, true);
    case.config.socket.mss = Some(1400);
    case.config.limit = Limit::Blocks(12);
    case.config.omit = 2;
    case.config.socket.tos = 16;
    let mut options = case.options();
    options.verbose = true;
    let mut events = case.started();
    if let Some(Event::TestStarted(started)) = events.last_mut() {
        started.interval = None;
    }
    events.push(Event::OmitFinished);
    events.push(Event::TestFinished);
    let lines = lines_of(options.clone(), &events);
    assert_eq!(
        lines[5..],
        [
            "      TCP MSS: 1400",
            "[  4] local 3 port 4294967295 connected to 2 port 5201",
            "Starting Test: protocol: TCP, 1 streams, 131072 byte blocks, omitting 2 seconds, 12 blocks to send, tos 16",
            "Finished omit period, starting real test",
        ]
    );
    case.config.limit = Limit::Endless;
    let mut events = case.started();
    events.push(Event::OmitFinished);
    let lines = lines_of(options, &events);
    assert!(
        lines
            .last()
            .unwrap()
            .ends_with("omitting 2 seconds, 0 second test, tos 16")
    );
}

#[test]
fn a_servers_output_is_one_block_with_one_prefix() {
    let mut case = Case::new(Transport::Tcp, true);
    case.config.title = Some("T".into());
    let events = |output| {
        [
            case.began(),
            Event::ServerOutput(output),
            case.summary(None, None),
            Event::TestFinished,
        ]
    };
    let tail = |output| -> String {
        let written = render(Format::Text, case.options(), &events(output));
        written.out.split_once(" receiver\n").unwrap().1.to_owned()
    };
    assert_eq!(
        tail(ServerOutput::Text("a\nb\n".into())),
        "T:  \nServer output:\na\nb\n\nT:  \nT:  iperf Done.\n"
    );
    assert_eq!(
        tail(ServerOutput::Json("{\"a\":[],\"b\":0.1}".into())),
        "T:  \nServer JSON output:\n{\n\t\"a\":\t[],\n\t\"b\":\t0.1\n}\nT:  \nT:  iperf Done.\n"
    );
    let broken = || ServerOutput::Json("{broken".into());
    assert!(tail(broken()).starts_with("T:  \nServer JSON output:\n{broken\n"));
    assert_eq!(
        case.document(&events(broken()))["server_output_text"],
        "{broken"
    );
}

#[test]
fn a_stream_of_json_ends_in_one_order() {
    let case = Case::new(Transport::Tcp, true);
    let mut events = case.started();
    events.push(Event::ServerOutput(ServerOutput::Text("text".into())));
    events.push(case.summary(None, None));
    events.push(Event::Warning("odd".into()));
    events.push(failed(FailureKind::Error, "late"));
    events.push(Event::TestFinished);
    let written = render(Format::JsonStream, case.options(), &events);
    let names: Vec<_> = written
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone())
        .collect();
    assert_eq!(names, ["start", "error", "server_output_text", "end"]);
    assert_eq!(written.err, "warning: odd\n");
}

#[test]
fn a_log_file_takes_everything_but_breaks_no_json() {
    let directory = tempfile::tempdir().unwrap();
    let events = [
        Event::Warning("odd".into()),
        failed(FailureKind::Error, "no route"),
    ];
    for (format, expected) in [
        (
            Format::Text,
            "before\nwarning: odd\niperf3: error - no route\n",
        ),
        (Format::Json, "before\n"),
    ] {
        let path = directory.path().join(format!("{format:?}"));
        std::fs::write(&path, "before\n").unwrap();
        let file = Box::new(open_log(&path).unwrap());
        let writer = Writer::start("iperf3", "the log file", file, Box::new(io::sink())).unwrap();
        let hang = Duration::from_secs(60);
        let mut sink = sink(format, options(true), Output::log(writer.clone()));
        for event in &events {
            sink.event(event).unwrap();
        }
        assert!(writer.wait(hang));
        // Written out after each event, while the sink still lives.
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        sink.event(&Event::TestFinished).unwrap();
        assert!(writer.wait(hang));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(expected));
        assert_eq!(text.ends_with("}\n"), format == Format::Json);
    }
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

#[test]
fn a_forced_flush_follows_each_interval() {
    /// Passes on at a flush what it took since the last one.
    struct Lazy(Vec<u8>, Buffer);

    impl Write for Lazy {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.1.write_all(&std::mem::take(&mut self.0))
        }
    }

    let case = Case::new(Transport::Tcp, true);
    for flush in [true, false] {
        let mut options = case.options();
        options.flush = flush;
        let seen = Buffer::default();
        let lazy = Lazy(Vec::new(), seen.clone());
        let output = Output::to_writers(Box::new(lazy), Box::new(io::sink()));
        let mut sink = sink(Format::Text, options, output);
        for event in case.started() {
            sink.event(&event).unwrap();
        }
        assert_eq!(seen.text(), "");
        sink.event(&case.interval(1 << 20, None)).unwrap();
        assert_eq!(seen.text().contains("1.00 MBytes"), flush);
        sink.event(&Event::TestFinished).unwrap();
        assert!(seen.text().contains("1.00 MBytes"));
    }
}

#[test]
fn the_null_sink_accepts_any_event() {
    let mut sink = null_sink();
    for event in Case::new(Transport::Tcp, true).started() {
        sink.event(&event).unwrap();
    }
    assert_eq!(sink.server_output(), None);
}

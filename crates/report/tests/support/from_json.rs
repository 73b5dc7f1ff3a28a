//! The events that a run had, read from the document that iperf3 wrote of it.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use iperf_model::{
    BitRate, Buffers, ByteTotals, CpuUsage, DatagramSample, DatagramTotals, Direction, Event,
    Failure, FailureKind, FileProgress, Interval, Limit, Peer, Role, ServerOutput, SocketName,
    StreamInfo, StreamInterval, StreamSummary, Summary, TcpSample, TcpTotals, TestBegan,
    TestConfig, TestStarted, Transport,
};
use serde_json::{Value, json};

use super::micros;
use super::outcomes::{self, counted};

/// The lines of a stream of objects as the document that they amount to.
pub fn document_of_lines(text: &str) -> Value {
    let mut document = json!({"start": {}, "intervals": [], "end": {}});
    for line in text
        .lines()
        .take_while(|line| line.starts_with("{\"event\""))
    {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let data = line["data"].take();
        match line["event"].as_str().unwrap() {
            "interval" => document["intervals"].as_array_mut().unwrap().push(data),
            event => document[event] = data,
        }
    }
    document
}

pub fn events(document: &Value, is_client: bool) -> Vec<Event> {
    let start = &document["start"];
    let mut events = Vec::new();
    if is_client {
        let mss = start["tcp_mss_default"].as_u64().map(|mss| mss as u32);
        events.push(Event::ControlConnected {
            mss,
            derived_block: None,
        });
    } else {
        events.push(Event::Listening {
            port: 5201,
            test_number: 1,
        });
    }
    if start["test_start"].is_object() {
        let config = Arc::new(config(document));
        events.extend(started(start, &config, is_client));
        events.extend(intervals(document).map(Event::Interval));
        if document["end"]["streams"].is_array() {
            events.push(Event::Summary(summary(document, &config, is_client)));
        }
    }
    if let Some(text) = document["server_output_text"].as_str() {
        events.push(Event::ServerOutput(ServerOutput::Text(text.into())));
    }
    if document["server_output_json"].is_object() {
        let text = document["server_output_json"].to_string();
        events.push(Event::ServerOutput(ServerOutput::Json(text)));
    }
    if let Some(message) = document["error"].as_str() {
        events.push(Event::Failed(Failure {
            kind: FailureKind::Error,
            message: message.into(),
        }));
    }
    events.push(Event::TestFinished);
    events
}

fn config(document: &Value) -> TestConfig {
    let start = &document["start"]["test_start"];
    let text = |key: &str| document[key].as_str().map(str::to_owned);
    let number = |key: &str| start[key].as_u64().unwrap();
    let positive = |key: &str| Some(number(key)).filter(|n| *n > 0);
    let mut config = TestConfig::new(match start["protocol"].as_str().unwrap() {
        "TCP" => Transport::Tcp,
        "UDP" => Transport::Udp,
        other => panic!("{other}"),
    });
    config.direction = match (number("reverse"), number("bidir")) {
        (1, _) => Direction::Reverse,
        (_, 1) => Direction::Bidirectional,
        _ => Direction::Forward,
    };
    config.streams = number("num_streams") as u16;
    config.limit = match (number("duration"), number("bytes"), number("blocks")) {
        (0, 0, 0) => Limit::Endless,
        (0, 0, blocks) => Limit::Blocks(blocks),
        (0, bytes, _) => Limit::Bytes(bytes),
        (seconds, ..) => Limit::Seconds(seconds as u32),
    };
    config.omit = number("omit") as u32;
    config.block = number("blksize") as u32;
    config.pacing.rate = positive("target_bitrate").map(BitRate::new);
    config.pacing.fq_rate = positive("fqrate").map(BitRate::new);
    config.socket.tos = number("tos") as u8;
    config.socket.mss = document["start"]["tcp_mss"].as_u64().map(|mss| mss as u16);
    config.title = text("title");
    config.extra_data = text("extra_data");
    config.get_server_output =
        document["server_output_json"].is_object() || document["server_output_text"].is_string();
    config
}

fn started(start: &Value, config: &Arc<TestConfig>, is_client: bool) -> Vec<Event> {
    let name = |value: &Value, prefix: &str| SocketName {
        host: value[format!("{prefix}host")].as_str().unwrap().into(),
        port: value[format!("{prefix}port")].as_u64().unwrap() as u32,
    };
    let milliseconds = start["timestamp"]["timemillisecs"].as_u64().unwrap();
    let mut events = vec![Event::TestBegan(TestBegan {
        peer: if is_client {
            Peer::ConnectingTo(name(&start["connecting_to"], ""))
        } else {
            Peer::AcceptedFrom(name(&start["accepted_connection"], ""))
        },
        at: UNIX_EPOCH + Duration::from_millis(milliseconds),
        cookie: start["cookie"].as_str().unwrap().into(),
        control_mss: start["tcp_mss_default"].as_u64().unwrap_or(0) as u32,
        config: Arc::clone(config),
    })];
    let streams = start["connected"].as_array().unwrap();
    events.extend(streams.iter().enumerate().map(|(index, stream)| {
        Event::StreamOpened(StreamInfo {
            id: index as u32 + 1,
            socket: stream["socket"].as_i64().unwrap() as i32,
            local: name(stream, "local_"),
            remote: name(stream, "remote_"),
            role: config.role_on(index, is_client),
        })
    }));
    events.push(Event::BuffersKept(Buffers {
        requested: start["sock_bufsize"].as_u64().unwrap() as u32,
        sndbuf: start["sndbuf_actual"].as_u64().unwrap() as u32,
        rcvbuf: start["rcvbuf_actual"].as_u64().unwrap() as u32,
    }));
    let test_start = &start["test_start"];
    let interval = test_start["interval"].as_f64().unwrap();
    events.push(Event::TestStarted(TestStarted {
        config: Arc::clone(config),
        interval: (interval > 0.0).then(|| micros(interval)),
        gso: test_start["gso"] == 1,
        gro: test_start["gro"] == 1,
    }));
    events
}

fn intervals(document: &Value) -> impl Iterator<Item = Interval> {
    let intervals = document["intervals"].as_array().unwrap().iter();
    intervals.map(|interval| {
        let streams = interval["streams"].as_array().unwrap();
        Interval {
            start: micros(streams[0]["start"].as_f64().unwrap()),
            end: micros(streams[0]["end"].as_f64().unwrap()),
            omitted: streams[0]["omitted"].as_bool().unwrap(),
            streams: streams.iter().map(stream_interval).collect(),
            probes: None,
        }
    })
}

fn stream_interval(stream: &Value) -> StreamInterval {
    let number = |key: &str| stream[key].as_u64().unwrap();
    let has = |key: &str| !stream[key].is_null();
    StreamInterval {
        exchanges: None,
        socket: number("socket") as i32,
        role: Role::of(stream["sender"].as_bool().unwrap()),
        bytes: number("bytes"),
        tcp: has("retransmits").then(|| TcpSample {
            retransmits: number("retransmits"),
            snd_cwnd: number("snd_cwnd"),
            snd_wnd: number("snd_wnd"),
            rtt: number("rtt") as u32,
            rttvar: number("rttvar") as u32,
            pmtu: number("pmtu") as u32,
            reorder: number("reorder") as u32,
        }),
        datagrams: has("packets").then(|| DatagramSample {
            packets: number("packets"),
            lost: stream["lost_packets"].as_i64().unwrap_or(0),
            jitter: seconds_of(stream["jitter_ms"].as_f64().unwrap_or(0.0)),
            out_of_order: 0,
        }),
    }
}

/// The number that gives exactly this one when multiplied by 1000.
fn seconds_of(milliseconds: f64) -> f64 {
    let near = milliseconds / 1000.0;
    [near, near.next_up(), near.next_down()]
        .into_iter()
        .find(|seconds| (seconds * 1000.0).to_bits() == milliseconds.to_bits())
        .unwrap()
}

fn summary(document: &Value, config: &TestConfig, is_client: bool) -> Summary {
    let end = &document["end"];
    let first_sends = config.role_on(0, is_client).sends();
    let time = |key: &str| micros(end[key]["end"].as_f64().unwrap());
    let (sent, received) = (time("sum_sent"), time("sum_received"));
    let (local, remote) = if first_sends {
        (sent, received)
    } else {
        (received, sent)
    };
    let cpu = |side: &str| {
        let part = |part: &str| {
            let key = format!("{side}_{part}");
            end["cpu_utilization_percent"][key].as_f64().unwrap()
        };
        CpuUsage {
            total: part("total"),
            user: part("user"),
            system: part("system"),
        }
    };
    let name = |key: &str| end[key].as_str().map(str::to_owned);
    let (sender, receiver) = (
        name("sender_tcp_congestion"),
        name("receiver_tcp_congestion"),
    );
    let last_sends = config
        .role_on(config.total_streams() - 1, is_client)
        .sends();
    let (congestion, remote_congestion) = if last_sends {
        (sender, receiver)
    } else {
        (receiver, sender)
    };
    let streams = end["streams"].as_array().unwrap();
    let streams = streams.iter().enumerate().map(|(index, stream)| {
        let sending = config.role_on(index, is_client).sends();
        if config.transport == Transport::Udp {
            let suffix = if index == 0 { "" } else { "_bidir_reverse" };
            let received = &end[format!("sum_received{suffix}")];
            udp_summary(&stream["udp"], received, sending, is_client)
        } else {
            stream_summary(stream, sending, is_client)
        }
    });
    Summary {
        delays: Box::default(),
        limits: Vec::new(),
        exchanges: None,
        streams: streams.collect(),
        duration: local,
        remote_duration: is_client.then_some(remote),
        cpu: cpu("host"),
        remote_cpu: is_client.then(|| cpu("remote")),
        congestion,
        remote_congestion,
        checksum_errors: None,
        remote_checksum_errors: None,
    }
}

fn stream_summary(stream: &Value, sending: bool, is_client: bool) -> StreamSummary {
    let (sender, receiver) = (&stream["sender"], &stream["receiver"]);
    let number = |key: &str| sender[key].as_u64().unwrap();
    let sent = outcomes::bytes(
        number("bytes"),
        ByteTotals {
            tcp: sender["retransmits"].is_u64().then(|| TcpTotals {
                retransmits: number("retransmits"),
                ..if sending {
                    tcp_totals(sender)
                } else {
                    TcpTotals::default()
                }
            }),
            low_water: None,
        },
    );
    let received = receiver["bytes"].as_u64().unwrap();
    let received = outcomes::bytes(received, ByteTotals::default());
    let mut summary = outcomes::stream(
        number("socket") as i32,
        sending,
        (is_client || sending).then_some(sent),
        (is_client || !sending).then_some(received),
    );
    summary.own.file = stream["diskfile"].is_object().then(|| {
        let file = &stream["diskfile"];
        let moved = if sending { "sent" } else { "received" };
        FileProgress {
            name: file["filename"].as_str().unwrap().into(),
            size: file["size"].as_u64().unwrap(),
            moved: file[moved].as_u64().unwrap(),
        }
    });
    summary
}

fn tcp_totals(sender: &Value) -> TcpTotals {
    let number = |key: &str| sender[key].as_u64().unwrap();
    TcpTotals {
        retransmits: number("retransmits"),
        reorder: number("reorder") as u32,
        max_snd_cwnd: number("max_snd_cwnd"),
        max_snd_wnd: number("max_snd_wnd"),
        max_rtt: number("max_rtt") as u32,
        min_rtt: number("min_rtt") as u32,
        mean_rtt: number("mean_rtt") as u32,
    }
}

fn udp_summary(udp: &Value, received: &Value, sending: bool, is_client: bool) -> StreamSummary {
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap();
    let sent = counted(number(udp, "packets"), Some(0));
    let sent = outcomes::datagrams(number(udp, "bytes"), sent);
    let totals = DatagramTotals {
        out_of_order: number(udp, "out_of_order"),
        jitter: seconds_of(udp["jitter_ms"].as_f64().unwrap()),
        ..counted(number(received, "packets"), udp["lost_packets"].as_i64())
    };
    let received = outcomes::datagrams(number(received, "bytes"), totals);
    outcomes::stream(
        udp["socket"].as_i64().unwrap() as i32,
        sending,
        (is_client || sending).then_some(sent),
        (is_client || !sending).then_some(received),
    )
}

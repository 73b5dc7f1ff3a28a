//! What the messages of real iperf3 processes contain, and how this program would write them.

use std::time::Duration;

use iperf_model::{
    BitRate, ByteTotals, DatagramTotals, Detail, Direction, Limit, Payload, Placement, ReceiveMode,
    RunTotals, SendMode, StreamOutcome, TcpTotals, TestConfig, Transport, ZeroCopy,
};
use iperf_proto::udp::{self, DatagramHeader};
use iperf_proto::{Cookie, Params, Results, stream_id, summarize};
use serde_json::Value;

use crate::recording::{Recording, hex};

#[test]
fn cookies_name_the_connections_of_a_test() {
    for recording in Recording::all() {
        let cookie = recording.cookie();
        assert_eq!(cookie.to_string().len(), 36, "{}", recording.name);
        for start in recording.json["stream_starts"].as_array().unwrap() {
            let start = hex(&start["hex"]);
            if start == udp::LEGACY_HELLO {
                // The fork tries UDP over a stream, in vain.
                assert_eq!(recording.name, "vsock-uds-udp-39v");
                continue;
            }
            let stream = Cookie::from_wire(start.try_into().unwrap());
            assert_eq!(stream, cookie, "{}", recording.name);
        }
    }
}

#[test]
fn parameters_of_3_22_are_written_byte_for_byte() {
    let mut seen = 0;
    for recording in Recording::all() {
        let Some(params) = recording.params() else {
            continue;
        };
        let recorded = String::from_utf8(recording.message(true, "params").unwrap().to_vec());
        let recorded = recorded.unwrap();
        if !recording.is_3_22_client() {
            continue;
        }
        let own = format!("\"client_version\":\"{}\"", iperf_model::VERSION);
        let recorded = recorded.replace("\"client_version\":\"3.22\"", &own);
        assert_eq!(params.to_json(), recorded, "{}", recording.name);

        // Nothing is lost on the way through the model.
        let mut again = Params::from_test(&params.to_test().unwrap());
        if let Some(token) = params.auth_token() {
            again.set_auth_token(token);
        }
        assert_eq!(again.to_json(), recorded, "{}", recording.name);
        seen += 1;
    }
    assert_eq!(seen, 26);
}

#[test]
fn parameters_of_every_version_are_understood() {
    for recording in Recording::all() {
        let Some(params) = recording.params() else {
            continue;
        };
        let args: Vec<&str> = recording.json["client_args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|arg| arg.as_str().unwrap())
            .collect();
        let has = |option| args.contains(&option);
        let value = |option| {
            let at = args.iter().position(|arg| *arg == option)?;
            Some(args[at + 1])
        };
        let test = params.to_test().unwrap();
        let transport = match () {
            () if has("-u") => Transport::Udp,
            () if has("-m") => Transport::Mptcp,
            () if has("--vsock") => Transport::Vsock,
            () => Transport::Tcp,
        };
        let direction = match () {
            () if has("-R") => Direction::Reverse,
            () if has("--bidir") => Direction::Bidirectional,
            () => Direction::Forward,
        };
        let limit = match (value("-t"), value("-n"), value("-k")) {
            (Some(seconds), ..) => Limit::Seconds(seconds.parse().unwrap()),
            (_, Some("1M"), _) => Limit::Bytes(1 << 20),
            (.., Some(blocks)) => Limit::Blocks(blocks.parse().unwrap()),
            other => panic!("{other:?}"),
        };
        let name = &recording.name;
        assert_eq!(test.transport, transport, "{name}");
        assert_eq!(test.direction, direction, "{name}");
        assert_eq!(test.limit, limit, "{name}");
        let number = |option| value(option).map_or(0, |n: &str| n.parse().unwrap());
        assert_eq!(test.omit, number("-O"), "{name}");
        assert_eq!(u32::from(test.streams), number("-P").max(1), "{name}");
        assert_eq!(test.get_server_output, has("--get-server-output"), "{name}");
        assert_eq!(test.udp.counters_64bit, has("--udp-counters-64bit"));
        assert_eq!(test.udp.gsro, has("--gsro"), "{name}");
        assert_eq!(params.auth_token().is_some(), has("--username"), "{name}");
    }
}

#[test]
fn the_vsock_fork_asks_for_vsock() {
    for name in [
        "vsock-uds-39v",
        "vsock-uds-reverse-39v",
        "vsock-uds-bidir-p2-39v",
    ] {
        let params = Recording::named(name).params().unwrap();
        assert_eq!(params.transport, Some(Transport::Vsock));
        assert_eq!((params.num, params.blockcount), (None, None));
        assert_eq!(params.to_test().unwrap().block, 65_536);
    }
}

#[test]
fn many_options_arrive() {
    let recording = Recording::named("tcp-many-options-322-322");
    let mut expected = TestConfig::new(Transport::Tcp);
    expected.limit = Limit::Seconds(1);
    expected.streams = 2;
    expected.block = 65_536;
    expected.pacing.rate = Some(BitRate::new(50_000_000));
    expected.pacing.burst = Some(4);
    expected.pacing.fq_rate = Some(BitRate::new(1_000_000_000));
    expected.pacing.timer_us = 500;
    expected.socket.window = Some(262_144);
    expected.socket.mss = Some(1400);
    expected.socket.no_delay = true;
    expected.socket.tos = 16;
    expected.socket.congestion = Some("cubic".to_owned());
    expected.socket.dont_fragment = true;
    expected.payload = Payload::Repeating;
    expected.zerocopy = ZeroCopy {
        send: SendMode::Auto,
        receive: ReceiveMode::Trunc,
    };
    expected.udp.counters_64bit = true;
    expected.server_affinity = Some(Placement::on(1));
    expected.title = Some("my title".to_owned());
    expected.extra_data = Some("xd".to_owned());
    expected.get_server_output = true;
    assert_eq!(recording.params().unwrap().to_test(), Ok(expected));
}

/// The results that this program writes are the recorded ones, but for the digits of some fractions.
#[test]
fn results_of_3_22_are_written_alike() {
    fn keys(value: &Value) -> Vec<&String> {
        value.as_object().unwrap().keys().collect()
    }
    let mut seen = 0;
    for recording in Recording::all()
        .iter()
        .filter(|r| r.name.ends_with("322-322"))
    {
        for to_server in [true, false] {
            let Some(message) = recording.message(to_server, "results") else {
                continue;
            };
            let written = recording.results(to_server).unwrap().to_json();
            let written: Value = serde_json::from_str(&written).unwrap();
            let recorded: Value = serde_json::from_slice(message).unwrap();
            assert_eq!(written, recorded, "{}", recording.name);
            assert_eq!(keys(&written), keys(&recorded));
            assert_eq!(keys(&written["streams"][0]), keys(&recorded["streams"][0]));
            seen += 1;
        }
    }
    assert_eq!(seen, 36);
}

#[test]
fn ids_of_streams_are_those_of_real_peers() {
    for recording in Recording::all() {
        for to_server in [true, false] {
            let Some(results) = recording.results(to_server) else {
                continue;
            };
            let ids = results.streams.iter().map(|s| s.id);
            let expected = (0..results.streams.len()).map(|i| i64::from(stream_id(i)));
            assert!(ids.eq(expected), "{}", recording.name);
            let test = recording.params().unwrap().to_test().unwrap();
            assert_eq!(results.streams.len(), test.total_streams());
        }
    }
}

/// Counters that lead to recorded results.
fn totals_of(results: &Results, test: &TestConfig, is_client: bool) -> RunTotals {
    let count = |n: i64| u64::try_from(n).unwrap();
    let stream = |(index, stream): (usize, &iperf_proto::StreamResult)| StreamOutcome {
        id: u32::try_from(stream.id).unwrap(),
        socket: 0,
        role: test.role_on(index, is_client),
        bytes: stream.bytes,
        detail: if test.transport == Transport::Udp {
            Detail::Datagrams(DatagramTotals {
                packets: count(stream.packets),
                omitted_packets: count(stream.omitted_packets.unwrap_or(0)),
                lost: stream.errors,
                omitted_lost: Some(stream.omitted_errors.unwrap_or(0)),
                jitter: stream.jitter,
                ..DatagramTotals::default()
            })
        } else {
            let retransmits = u64::try_from(stream.retransmits).ok();
            Detail::Bytes(ByteTotals {
                tcp: retransmits.map(|retransmits| TcpTotals {
                    retransmits,
                    ..TcpTotals::default()
                }),
                low_water: None,
            })
        },
        file: None,
        copies: None,
        io: None,
    };
    RunTotals {
        one_way: None,
        limits: Vec::new(),
        duration: Duration::from_secs_f64(results.streams[0].end_time.unwrap()),
        cpu: results.cpu,
        congestion: results.congestion_used.clone(),
        checksum_errors: results.checksum_errors,
        streams: results.streams.iter().enumerate().map(stream).collect(),
    }
}

#[test]
fn totals_lead_to_the_results_that_real_peers_send() {
    for recording in Recording::all() {
        for to_server in [true, false] {
            let Some(mut recorded) = recording.results(to_server) else {
                continue;
            };
            let test = recording.params().unwrap().to_test().unwrap();
            let totals = totals_of(&recorded, &test, to_server);
            let output = recorded.server_output.clone();
            let mut results = Results::from_totals(&totals, &test, output);
            for (stream, recorded) in results.streams.iter_mut().zip(&mut recorded.streams) {
                // Real servers that send overwrite their counts with the client's.
                if test.role_on(0, to_server).sends() || test.direction == Direction::Bidirectional
                {
                    recorded.jitter = stream.jitter;
                } else {
                    stream.jitter = recorded.jitter;
                }
                // 3.13 and before.
                if recorded.omitted_packets.is_none() {
                    stream.omitted_packets = None;
                    stream.omitted_errors = None;
                }
                // Each stream has its own times there, some microseconds apart.
                recorded.end_time = stream.end_time;
            }
            assert_eq!(results, recorded, "{}", recording.name);
        }
    }
}

#[test]
fn the_summary_of_a_recorded_udp_test_leaves_out_what_was_omitted() {
    for (name, lost) in [("udp-omit-322-322", Some(0)), ("udp-omit-312-312", None)] {
        let recording = Recording::named(name);
        let test = recording.params().unwrap().to_test().unwrap();
        let mut totals = totals_of(&recording.results(true).unwrap(), &test, true);
        let Detail::Datagrams(own) = &mut totals.streams[0].detail else {
            panic!("{name}");
        };
        own.omitted_packets = 4;
        let sent = own.packets - 4;
        let peer = recording.results(false);
        let summary = summarize(&totals, &test, peer.as_ref()).unwrap();
        let stream = &summary.streams[0];
        let datagrams = |side: Option<&StreamOutcome>| *side.unwrap().datagram_totals().unwrap();
        assert_eq!(datagrams(stream.sent()).counted_packets(), sent);
        let received = datagrams(stream.received());
        let peer = &peer.unwrap().streams[0];
        let packets = u64::try_from(peer.packets).unwrap() - 4;
        assert_eq!(received.counted_packets(), packets);
        assert_eq!(received.counted_lost(), lost, "{name}");
    }
}

#[test]
fn datagrams_of_real_senders_are_understood() {
    let mut headers = 0;
    for recording in Recording::all() {
        let Some(params) = recording.params() else {
            continue;
        };
        let test = params.to_test().unwrap();
        let mut next = [1, 1];
        for datagram in recording.json["datagrams"].as_array().unwrap() {
            let bytes = hex(&datagram["hex"]);
            let to_server = datagram["dir"] == "c2s";
            if datagram["size"] == 4 {
                let hello = bytes == udp::HELLO || bytes == udp::LEGACY_HELLO;
                assert_eq!((hello, udp::is_reply(&bytes)), (to_server, !to_server));
                continue;
            }
            assert_eq!(datagram["size"], test.block);
            let header = DatagramHeader::decode(&bytes, test.udp.counters_64bit).unwrap();
            let next = &mut next[usize::from(to_server)];
            assert_eq!(header.sequence, *next, "{}", recording.name);
            assert!(header.micros < 1_000_000);
            *next += 1;
            headers += 1;
        }
    }
    assert!(headers > 50, "{headers}");
}

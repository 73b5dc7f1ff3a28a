//! Any input from a peer: no panic, no memory beyond the limits, and nothing lost that both ends understand.

use std::ops::RangeInclusive;
use std::time::Instant;

use iperf_model::{CopyMode, CopyReport};
use iperf_model::{CpuUsage, ServerOutput};
use iperf_proto::Machine as _;
use iperf_proto::framing::{FrameReader, frame};
use iperf_proto::udp::DatagramHeader;
use iperf_proto::{Cookie, Params, Results, State, StreamResult};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use crate::phases::{CLIENT_PHASES, SERVER_PHASES, client_at, server_at};

/// Texts that look much like a peer's JSON, and some that do not.
fn json_like() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("null".to_owned()),
        "-?[0-9]{1,25}(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?",
        "\"(tcp|udp|reverse|time|num|len|streams|id|bytes|jitter|errors|title)\"",
        "\"[ -~]{0,5}\"",
    ];
    prop_oneof![
        vec(token, 0..40).prop_map(|tokens| tokens.concat().into_bytes()),
        vec(any::<u8>(), 0..200),
    ]
}

/// Text without characters that are replaced where a peer's text is read.
const SHOWN: &str = r"[^\p{C}\u{2028}\u{2029}]{0,40}";

prop_compose! {
    fn any_params()(
        ints in vec(of(any::<i64>()), 22),
        flags in vec(any::<bool>(), 6),
        texts in vec(of(SHOWN), 4),
        transport in prop::sample::select(vec![
            iperf_model::Transport::Tcp,
            iperf_model::Transport::Mptcp,
            iperf_model::Transport::Udp,
            iperf_model::Transport::Sctp,
            iperf_model::Transport::Vsock,
        ]),
    ) -> Params {
        Params {
            transport: Some(transport),
            omit: ints[0],
            server_affinity: ints[1],
            time: ints[2],
            num: ints[3],
            blockcount: ints[4],
            mss: ints[5],
            nodelay: flags[0],
            parallel: ints[6],
            reverse: flags[1],
            bidirectional: flags[2],
            window: ints[7],
            len: ints[8],
            bandwidth: ints[9],
            fqrate: ints[10],
            pacing_timer: ints[11],
            burst: ints[12],
            gso: ints[13],
            gso_dg_size: ints[14],
            gso_bf_size: ints[15],
            gro: ints[16],
            gro_bf_size: ints[17],
            tos: ints[18],
            flowlabel: ints[19],
            title: texts[0].clone(),
            extra_data: texts[1].clone(),
            congestion: texts[2].clone(),
            get_server_output: flags[3],
            udp_counters_64bit: flags[4],
            repeating_payload: flags[5],
            zerocopy: ints[20],
            dont_fragment: ints[21],
            authtoken: texts[3].clone(),
            skip_rx_copy: ints[0],
            extensions: texts[0].as_ref().map(|name| iperf_proto::Extensions {
                send: Some(name.clone()),
                receive: texts[1].clone(),
                verify: flags[0],
                seqpacket: flags[1],
                cpus: texts[2].clone(),
                exchange: None,
                probe: None,
            }),
            client_version: Some(iperf_model::VERSION.to_owned()),
        }
    }
}

/// Parameters that pass every check.
fn params_in_range() -> impl Strategy<Value = Params> {
    any_params().prop_map(|mut params| {
        let fit = |value: &mut Option<i64>, range: RangeInclusive<i64>| {
            let size = range.end() - range.start() + 1;
            *value = value.map(|v| range.start() + v.rem_euclid(size));
        };
        let udp = params.transport == Some(iperf_model::Transport::Udp);
        if udp {
            params.len.get_or_insert(1460);
        }
        fit(&mut params.omit, 0..=600);
        fit(&mut params.server_affinity, 0..=1024);
        fit(&mut params.time, 0..=86_400);
        fit(&mut params.num, 0..=1 << 40);
        fit(&mut params.blockcount, 0..=1 << 40);
        fit(&mut params.mss, 0..=32_767);
        fit(&mut params.parallel, 1..=128);
        fit(&mut params.window, 0..=536_870_912);
        fit(
            &mut params.len,
            if udp { 16..=65_507 } else { 1..=1_048_576 },
        );
        fit(&mut params.bandwidth, 0..=1 << 40);
        fit(&mut params.fqrate, 0..=1 << 40);
        // 0 is never sent, and means the default to the end that receives it.
        fit(&mut params.pacing_timer, 1..=1 << 40);
        fit(&mut params.burst, 1..=1000);
        fit(&mut params.gso, 0..=1);
        fit(&mut params.gso_dg_size, 0..=65_507);
        fit(&mut params.gso_bf_size, 0..=65_507);
        fit(&mut params.gro, 0..=1);
        fit(&mut params.gro_bf_size, 0..=65_507);
        fit(&mut params.tos, 0..=255);
        fit(&mut params.flowlabel, 1..=0xf_ffff);
        fit(&mut params.zerocopy, 0..=1);
        fit(&mut params.dont_fragment, 0..=1);
        fit(&mut params.skip_rx_copy, 0..=1);
        if let Some(extensions) = &mut params.extensions {
            extensions.send = Some("splice".to_owned());
            extensions.cpus = extensions.cpus.take().map(|_| "0+2-3".to_owned());
            extensions.receive = Some("mmap".to_owned());
            extensions.seqpacket &= params.transport == Some(iperf_model::Transport::Vsock);
        }
        params
    })
}

fn finite() -> impl Strategy<Value = f64> {
    prop::num::f64::NORMAL | prop::num::f64::ZERO
}

prop_compose! {
    fn any_stream()(
        ints in vec(any::<i64>(), 4),
        bytes in 0..=i64::MAX.cast_unsigned(),
        omitted in of((any::<i64>(), any::<i64>())),
        jitter in finite(),
        [socket_drops, duplicates, out_of_order] in [of(any::<i64>()), of(any::<i64>()), of(any::<i64>())],
        transactions in of(any::<i64>()),
        copied in of(any::<u16>()),
        start_time in of(finite()),
        end_time in of(finite()),
    ) -> StreamResult {
        StreamResult {
            id: ints[0],
            bytes,
            retransmits: ints[1],
            jitter,
            errors: ints[2],
            omitted_errors: omitted.map(|(errors, _)| errors),
            packets: ints[3],
            omitted_packets: omitted.map(|(_, packets)| packets),
            socket_drops,
            out_of_order,
            duplicates,
            transactions,
            copies: copied.map(|copied| CopyReport {
                requested: CopyMode::Mmap,
                used: CopyMode::Copy,
                reason: Some(format!("reason {copied}")),
                calls: 1,
                bytes_not_copied: 0,
                bytes_copied: copied.into(),
                mappings: 2,
                completions: 3,
                completions_copied: 4,
                cpu: std::time::Duration::from_millis(copied.into()),
            }),
            start_time,
            end_time,
        }
    }
}

prop_compose! {
    fn any_results()(
        cpu in (finite(), finite(), finite()),
        sender_has_retransmits in any::<i64>(),
        congestion_used in of(SHOWN),
        text in of(SHOWN),
        checksum_errors in of(0..=i64::MAX.cast_unsigned()),
        streams in vec(any_stream(), 0..5),
    ) -> Results {
        Results {
            cpu: CpuUsage { total: cpu.0, user: cpu.1, system: cpu.2 },
            sender_has_retransmits,
            congestion_used,
            server_output: text.map(ServerOutput::Text),
            checksum_errors,
            environment: None,
            exchanges: None,
            one_way: None,
            limits: Vec::new(),
            streams,
        }
    }
}

/// Feeds pieces whose sizes come from `cuts`, over and over.
fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at(rest.len().min(*cut));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

proptest! {
    #[test]
    fn frames_survive_any_cut(
        messages in vec("[ -~]{1,60}", 1..4),
        cuts in vec(1_usize..20, 1..5),
    ) {
        let wire: Vec<u8> = messages.iter().flat_map(|m| frame(m)).collect();
        let mut reader = FrameReader::new(60);
        let mut read = Vec::new();
        for mut piece in pieces(&wire, &cuts) {
            while !piece.is_empty() {
                if let Some(message) = reader.read(&mut piece).unwrap() {
                    read.push(String::from_utf8(message).unwrap());
                }
            }
        }
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn a_reader_never_holds_more_than_arrived_or_is_allowed(
        bytes in vec(any::<u8>(), 0..200),
        cuts in vec(1_usize..20, 1..5),
        limit in 0_usize..100,
    ) {
        let mut reader = FrameReader::new(limit);
        let mut fed = 0;
        for mut piece in pieces(&bytes, &cuts) {
            fed += piece.len();
            if reader.read(&mut piece).is_err() {
                break;
            }
            prop_assert!(reader.buffered() <= fed.min(limit + 4));
        }
    }

    #[test]
    fn params_of_any_text_do_no_harm(bytes in json_like()) {
        if let Ok(params) = Params::parse(&bytes) {
            let _ = params.to_test();
            prop_assert!(Params::parse(params.to_json().as_bytes()).is_ok());
        }
    }

    #[test]
    fn params_survive_the_wire(params in any_params()) {
        prop_assert_eq!(Params::parse(params.to_json().as_bytes()), Ok(params));
    }

    #[test]
    fn a_test_in_range_is_the_same_for_both_ends(params in params_in_range()) {
        let test = params.to_test().unwrap();
        prop_assert_eq!(Params::from_test(&test).to_test(), Ok(test));
    }

    #[test]
    fn results_of_any_text_do_no_harm(bytes in json_like()) {
        if let Ok(results) = Results::parse(&bytes) {
            prop_assert!(Results::parse(results.to_json().as_bytes()).is_ok());
        }
    }

    #[test]
    fn results_survive_the_wire(results in any_results()) {
        let json = results.to_json();
        prop_assert_eq!(Results::parse(json.as_bytes()), Ok(results));
    }

    #[test]
    fn machines_survive_any_input(
        bytes in vec(prop_oneof![any::<u8>(), 0_u8..17, Just(0), 0xfe_u8..], 0..80),
        cuts in vec(1_usize..20, 1..5),
        phase in any::<prop::sample::Index>(),
    ) {
        let now = Instant::now();
        let mut client = client_at(phase.index(CLIENT_PHASES.len()), now);
        let mut server = server_at(phase.index(SERVER_PHASES.len()), now);
        for piece in pieces(&bytes, &cuts) {
            client.handle_input(piece, now);
            server.handle_input(piece, now);
        }
        client.handle_eof(now);
        server.handle_eof(now);
        prop_assert!(server.is_closed());
        prop_assert_eq!(client.poll_timeout(), None);
        let actions = std::iter::from_fn(|| client.poll_action()).count();
        prop_assert!(actions <= 4, "{actions} actions");
    }

    #[test]
    fn datagram_headers_survive_the_wire(
        secs in any::<u32>(), micros in any::<u32>(), sequence in any::<u64>(), wide in any::<bool>(),
        len in 0_usize..32,
    ) {
        let mut datagram = vec![0xaa; len];
        let header = DatagramHeader { secs, micros, sequence };
        let fits = header.encode(&mut datagram, wide);
        prop_assert_eq!(fits, len >= DatagramHeader::len(wide));
        let sequence = if wide { sequence } else { sequence & u64::from(u32::MAX) };
        let read = fits.then_some(DatagramHeader { secs, micros, sequence });
        prop_assert_eq!(DatagramHeader::decode(&datagram, wide), read);
    }

    #[test]
    fn cookies_keep_to_their_alphabet(random in any::<[u8; 32]>(), rest in any::<[u8; 4]>()) {
        let mut all = [0; 36];
        all[..32].copy_from_slice(&random);
        all[32..].copy_from_slice(&rest);
        let cookie = Cookie::from_random(all);
        let text = cookie.to_string();
        prop_assert_eq!(text.len(), 36);
        prop_assert!(text.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b)));
        prop_assert_eq!(Cookie::from_wire(*cookie.as_bytes()), cookie);
    }

    #[test]
    fn states_survive_the_wire(byte in any::<u8>()) {
        prop_assert_eq!(State::from_byte(byte).to_byte(), byte);
    }
}

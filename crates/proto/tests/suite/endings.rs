//! Every way in which a test ends before its time, and what the other end makes of it.

use std::time::{Duration, Instant};

use iperf_model::{TestConfig, Transport};
use iperf_proto::Machine as _;
use iperf_proto::{Client, Code, Deadlines, Server, client, framing, server};

use crate::pair::{Pair, Refusal};
use crate::phases::{CLIENT_PHASES, client_at, params, results, server_at};

/// The actions at which a driver may let the test stand still, in their order.
const STOPS: [&str; 8] = [
    "server Params",
    "client OpenStreams",
    "client Run",
    "server EndTest",
    "client CollectResults",
    "server PeerResults",
    "client ShowResults",
    "server Done",
];

fn test() -> TestConfig {
    TestConfig::new(Transport::Tcp)
}

#[test]
fn a_terminated_client_ends_the_test_at_every_step() {
    for stop in &STOPS[..7] {
        let mut pair = Pair::frozen_at(test(), stop);
        pair.client.terminate();
        pair.drive();
        assert_eq!(pair.log, ["server ClientTerminated"], "{stop}");
        assert!(pair.client.is_closed() && pair.server.is_closed());
    }
}

#[test]
fn an_abandoning_client_sends_iperf_done_at_every_step() {
    for stop in &STOPS[..7] {
        let mut pair = Pair::frozen_at(test(), stop);
        pair.client.abandon();
        pair.drive();
        assert_eq!(pair.log, ["server Done"], "{stop}");
    }
}

#[test]
fn a_terminated_server_ends_the_test_at_every_step() {
    for stop in STOPS {
        let mut pair = Pair::frozen_at(test(), stop);
        pair.server.terminate();
        pair.drive();
        if matches!(stop, "client ShowResults" | "server Done") {
            assert_eq!(pair.client_failure, None, "{stop}: the results are there");
            continue;
        }
        let failure = pair.client_failure.take().unwrap();
        assert_eq!(failure, client::Failure::ServerTerminated);
        assert_eq!(failure.to_string(), "the server has terminated");
        assert_eq!(failure.code(), Code(120));
        // The client's `IPERF_DONE` arrives after the server has left.
        assert_eq!(pair.log, ["client Fail"], "{stop}");
        assert_eq!(pair.undelivered(), 0);
    }
}

#[test]
fn a_refusal_reaches_the_client_at_every_step() {
    for stop in &STOPS[..6] {
        for (code, errno, text) in [
            (
                Code::TOTAL_RATE,
                0,
                "total required bandwidth is larger than server limit",
            ),
            (
                Code::STREAM_ACCEPT,
                22,
                "unable to accept stream connection: Invalid argument",
            ),
            (Code(12345), -3, "unknown error 12345: Unknown error -3"),
        ] {
            let mut pair = Pair::frozen_at(test(), stop);
            pair.server.refuse(code, errno, None);
            pair.drive();
            let failure = pair.client_failure.unwrap();
            assert_eq!(
                failure,
                client::Failure::ServerError {
                    code,
                    errno,
                    explanation: None
                }
            );
            assert_eq!(failure.to_string(), text, "{stop}");
            assert_eq!(failure.code(), code);
            assert_eq!(pair.client.poll_transmit(), None, "no goodbye");
        }
    }
}

#[test]
fn each_kind_of_bad_parameter_is_refused_with_its_code() {
    for code in [
        Code::DURATION,
        Code::STREAMS,
        Code::BLOCK_SIZE,
        Code::BUFFER_SIZE,
        Code::MSS,
        Code::OMIT,
        Code::BURST,
        Code::UDP_BLOCK_SIZE,
        Code::TOS,
        Code::UDP_FILE,
        Code::MAX_DURATION,
        Code::RECV_PARAMS,
        Code::FLOW_LABEL,
        Code::AFFINITY,
        Code::AUTHORIZATION,
    ] {
        let mut pair = Pair::new(test());
        pair.refusal = Some(Refusal::Code(code, 0));
        pair.drive();
        assert_eq!(
            pair.client_failure.map(|f| f.to_string()),
            Some(code.text().to_owned())
        );
        assert_eq!(
            pair.log,
            ["client ParamsSent", "server Params", "client Fail"]
        );
    }
}

#[test]
fn a_busy_server_turns_the_client_away() {
    let mut pair = Pair::new(test());
    pair.refusal = Some(Refusal::Busy);
    pair.drive();
    let failure = pair.client_failure.unwrap();
    assert_eq!(failure, client::Failure::Busy);
    assert_eq!(
        failure.to_string(),
        "the server is busy running a test. try again later"
    );
    assert_eq!(failure.code(), Code(121));

    // Busy servers answer before they read anything.
    let now = Instant::now();
    let mut client = client_at(0, now);
    client.handle_input(&[0xff], now);
    client.handle_eof(now);
    assert_eq!(
        client.poll_action(),
        Some(client::Action::Fail(client::Failure::Busy))
    );
    assert_eq!(client.poll_action(), None);
    assert_eq!(client.poll_transmit(), None, "no goodbye");
}

/// The failure of a client that got these bytes during the test, and then an end, or the silence of 2 s.
fn server_error(bytes: &[u8], eof: bool) -> client::Failure {
    let now = Instant::now();
    let mut client = client_at(7, now);
    for byte in bytes {
        client.handle_input(&[*byte], now);
    }
    if eof {
        client.handle_eof(now);
    } else {
        let deadline = now + Duration::from_secs(2);
        assert_eq!(client.poll_timeout(), Some(deadline));
        client.handle_timeout(deadline);
    }
    assert_eq!(client.poll_transmit(), None, "no goodbye");
    assert!(client.is_closed());
    match client.poll_action() {
        Some(client::Action::Fail(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn server_error_with_two_integers() {
    let now = Instant::now();
    let mut client = client_at(7, now);
    client.handle_input(&[0xfe, 0, 0, 0, 27, 0, 0, 0, 4, 0xfe, 0, 0], now);
    assert_eq!(
        client.poll_action(),
        Some(client::Action::Fail(client::Failure::ServerError {
            code: Code(27),
            errno: 4,
            explanation: None,
        }))
    );
    assert_eq!(client.poll_action(), None, "the rest is ignored");
}

#[test]
fn server_error_with_one_integer() {
    for eof in [true, false] {
        for tail in [&[][..], &[0, 0]] {
            let bytes = [&[0xfe, 0, 0, 0, 142], tail].concat();
            let failure = server_error(&bytes, eof);
            assert_eq!(
                failure,
                client::Failure::ServerError {
                    code: Code(142),
                    errno: 0,
                    explanation: None,
                }
            );
            assert_eq!(failure.to_string(), "test authorization failed");
        }
    }
}

#[test]
fn server_error_without_integers() {
    for eof in [true, false] {
        for bytes in [&[0xfe][..], &[0xfe, 0, 0]] {
            let failure = server_error(bytes, eof);
            assert_eq!(failure.code(), Code::CONTROL_READ);
        }
    }
}

#[test]
fn a_server_that_cant_read_the_results_can_say_so() {
    let now = Instant::now();
    let mut client = client_at(10, now);
    client.handle_input(&[0xfe, 0, 0, 0, 117, 0, 0, 0, 0], now);
    let Some(client::Action::Fail(failure)) = client.poll_action() else {
        panic!("no failure");
    };
    assert_eq!(failure.to_string(), "unable to receive results");
    assert_eq!(failure.code(), Code(117));
}

#[test]
fn a_late_server_error_after_the_goodbye_is_ignored() {
    let mut pair = Pair::new(test());
    pair.drive();
    let now = pair.now;
    pair.client
        .handle_input(&[0xfe, 0, 0, 0, 119, 0, 0, 0, 0], now);
    pair.client.handle_eof(now);
    assert_eq!(pair.client.poll_action(), None);
    assert_eq!(pair.client.poll_transmit(), None);
    assert_eq!(pair.client.poll_timeout(), None);
}

#[test]
fn nothing_reaches_a_closed_server() {
    let mut pair = Pair::new(test());
    pair.drive();
    let now = pair.now;
    pair.server.handle_input(&[12, 99, 0, 0], now);
    pair.server.handle_eof(now);
    pair.server.handle_timeout(now + Duration::from_secs(3600));
    assert_eq!(pair.server.poll_action(), None);
    assert_eq!(pair.server.poll_transmit(), None);
}

fn server_failure(server: &mut Server) -> server::Failure {
    match server.poll_action() {
        Some(server::Action::Fail(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

fn error_frame(code: u8) -> Vec<u8> {
    vec![0xfe, 0, 0, 0, code, 0, 0, 0, 0]
}

#[test]
fn bad_parameters_are_answered_with_114() {
    let now = Instant::now();
    let too_long = [0, 0, 0x20, 1];
    for input in [
        &[0, 0, 0, 0][..],
        &too_long,
        &[0xff; 4],
        // Little-endian.
        &[144, 0, 0, 0],
        &framing::frame("{"),
        &framing::frame("no json"),
    ] {
        let mut server = server_at(0, now);
        server.handle_input(input, now);
        let failure = server_failure(&mut server);
        assert_eq!(failure.code(), Code(114), "{input:?}");
        assert!(matches!(failure, server::Failure::BadParams { .. }));
        let text = failure.to_string();
        assert!(text.starts_with("unable to receive parameters from client: "));
        assert_eq!(server.poll_transmit().unwrap(), error_frame(114));
    }
}

#[test]
fn short_parameters_are_answered_with_114() {
    let now = Instant::now();
    let whole = framing::frame(&params().to_json());
    for end in 1..whole.len() {
        let mut server = server_at(0, now);
        server.handle_input(&whole[..end], now);
        assert_eq!(server.poll_action(), None);
        server.handle_eof(now);
        assert_eq!(server_failure(&mut server).code(), Code(114));
        assert_eq!(server.poll_transmit().unwrap(), error_frame(114));
    }
}

#[test]
fn parameters_of_8192_bytes_are_taken() {
    let now = Instant::now();
    for (size, taken) in [(8192, true), (8193, false)] {
        let mut server = server_at(0, now);
        let json = format!("{:<size$}", "{\"tcp\":true}");
        server.handle_input(&framing::frame(&json), now);
        let action = server.poll_action().unwrap();
        assert_eq!(matches!(action, server::Action::Params(_)), taken);
    }
}

#[test]
fn bad_results_are_answered_with_117() {
    let now = Instant::now();
    for input in [
        &[0, 0, 0, 0][..],
        &[0, 0x10, 0, 1],
        &framing::frame("{}"),
        &framing::frame("[]"),
        &framing::frame("x"),
    ] {
        let mut server = server_at(5, now);
        server.handle_input(input, now);
        let failure = server_failure(&mut server);
        assert!(matches!(failure, server::Failure::ResultsUnreadable(_)));
        assert!(
            failure
                .to_string()
                .starts_with("unable to receive results: ")
        );
        assert_eq!(server.poll_transmit().unwrap(), error_frame(117));

        let mut client = client_at(10, now);
        client.handle_input(input, now);
        let Some(client::Action::Fail(failure)) = client.poll_action() else {
            panic!("{input:?}");
        };
        assert_eq!(failure.code(), Code(117));
        assert_eq!(client.poll_transmit(), Some(vec![16]));
    }
}

#[test]
fn results_cut_short_by_the_end_of_the_connection() {
    let now = Instant::now();
    let whole = framing::frame(&results().to_json());
    for end in 1..whole.len() {
        let mut server = server_at(5, now);
        server.handle_input(&whole[..end], now);
        server.handle_eof(now);
        assert_eq!(server_failure(&mut server).code(), Code(117));
        assert_eq!(server.poll_transmit().unwrap(), error_frame(117));

        let mut client = client_at(10, now);
        client.handle_input(&whole[..end], now);
        client.handle_eof(now);
        let Some(client::Action::Fail(failure)) = client.poll_action() else {
            panic!("{end}");
        };
        assert_eq!(failure.code(), Code(117));
    }
}

/// A server's output may be long, but only for a client that requested it.
#[test]
fn the_cap_of_results_depends_on_the_server_output() {
    let now = Instant::now();
    let long = 100 * 3600;
    for (wants_output, seconds, length, over) in [
        (false, long, 1 << 20, false),
        (false, long, (1 << 20) + 1, true),
        (true, 0, (1 << 20) + 1, false),
        (true, 0, 60 << 20, true),
        (true, 10, 4 << 20, true),
        (true, long, 64 << 20, false),
        (true, long, (64 << 20) + 1, true),
    ] {
        let mut params = params();
        params.get_server_output = wants_output;
        // However the test is to end, the time that it took counts.
        params.num = Some(1);
        let cookie = iperf_proto::Cookie::from_random([0; 36]);
        let mut client = Client::new(cookie, params, Deadlines::client(), now);
        client.handle_input(&[9, 10], now);
        client.streams_opened(now);
        client.handle_input(&[1, 2], now);
        let now = now + Duration::from_secs(seconds);
        client.end_test(now);
        client.handle_input(&[13], now);
        client.send_results(&results(), now);
        client.handle_input(&u32::to_be_bytes(length), now);
        assert_eq!(
            client.is_closed(),
            over,
            "{wants_output} {seconds} {length}"
        );
    }
}

#[test]
fn states_may_be_pipelined() {
    let now = Instant::now();
    // TEST_START and TEST_RUNNING come in one segment, and so do results and DISPLAY_RESULTS.
    let mut client = client_at(5, now);
    client.handle_input(&[1, 2], now);
    assert_eq!(client.poll_action(), Some(client::Action::StartClock));
    assert_eq!(client.poll_action(), Some(client::Action::Run));

    let mut client = client_at(10, now);
    let mut segment = framing::frame(&results().to_json());
    segment.extend([14, 0xfe, 0, 0, 0, 1, 0, 0, 0, 1]);
    client.handle_input(&segment, now);
    let shown = client::Action::ShowResults(Box::new(results()));
    assert_eq!(client.poll_action(), Some(shown));
    assert_eq!(client.poll_action(), None);
    assert_eq!(client.state_name(), CLIENT_PHASES[12]);
}

#[test]
fn a_test_may_end_between_the_two_bytes_that_start_it() {
    let now = Instant::now();
    let mut client = client_at(6, now);
    client.end_test(now);
    assert_eq!(client.poll_transmit(), Some(vec![4]));
    client.handle_input(&[2, 13], now);
    assert_eq!(client.poll_action(), Some(client::Action::CollectResults));
}

#[test]
fn a_client_may_break_off_where_its_results_are_due() {
    let now = Instant::now();
    for (byte, action) in [
        (12, server::Action::ClientTerminated),
        (16, server::Action::Done),
    ] {
        let mut server = server_at(5, now);
        server.handle_input(&[byte], now);
        assert_eq!(server.poll_action(), Some(action));
        assert_eq!(server.poll_transmit(), None);
    }
}

#[test]
fn deadlines_beyond_the_clock_are_no_deadlines() {
    let now = Instant::now();
    let endless = Deadlines {
        handshake: Duration::MAX,
        results: Duration::MAX,
        goodbye: Duration::MAX,
    };
    let server = Server::new(endless, now);
    assert_eq!(server.poll_timeout(), None);
}

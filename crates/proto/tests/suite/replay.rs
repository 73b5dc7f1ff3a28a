//! Recordings of real iperf3 processes, with a machine in the place of one of them.

use std::time::{Duration, Instant};

use iperf_proto::Machine as _;
use iperf_proto::{Client, Code, Cookie, Deadlines, Server, State, client, server};

use crate::recording::Recording;

/// Plays the recorded server to a client machine. Gives the names of its actions, its failure and its bytes.
fn play_to_client(
    recording: &Recording,
    chunk: usize,
) -> (Vec<&'static str>, Option<client::Failure>, Vec<u8>) {
    let mut now = Instant::now();
    let params = recording.params().unwrap_or_default();
    let mut client = Client::new(recording.cookie(), params, Deadlines::client(), now);
    let (mut names, mut failure, mut sent) = (Vec::new(), None, Vec::new());
    for entry in &recording.entries {
        now += Duration::from_millis(1);
        match (entry.to_server, entry.kind.as_str()) {
            (false, _) => {
                for piece in entry.bytes.chunks(chunk) {
                    client.handle_input(piece, now);
                }
            }
            (true, "TEST_END") => client.end_test(now),
            (true, "results") => client.send_results(&recording.results(true).unwrap(), now),
            (true, "CLIENT_TERMINATE") => client.terminate(),
            // Either `IPERF_DONE` after a test, or what a client sends when the connection has ended.
            (true, "IPERF_DONE") if client.state_name() == "after the test" => client.finish(),
            (true, "IPERF_DONE") => client.handle_eof(now),
            (true, "cookie" | "params") => {}
            (true, other) => panic!("{other}"),
        }
        while let Some(action) = client.poll_action() {
            match action {
                client::Action::ParamsSent => names.push("ParamsSent"),
                client::Action::Granted(_) => panic!("no recorded server grants anything"),
                client::Action::OpenStreams => {
                    names.push("OpenStreams");
                    client.streams_opened(now);
                }
                client::Action::StartClock => names.push("StartClock"),
                client::Action::Run => names.push("Run"),
                client::Action::CollectResults => names.push("CollectResults"),
                client::Action::ShowResults(results) => {
                    names.push("ShowResults");
                    assert_eq!(Some(*results), recording.results(false));
                }
                client::Action::Counts(_) => panic!("no recorded server tells counts"),
                client::Action::Fail(why) => failure = Some(why),
            }
        }
        sent.extend(client.poll_transmit().unwrap_or_default());
    }
    // All recorded servers close in the end.
    client.handle_eof(now);
    while let Some(action) = client.poll_action() {
        match action {
            client::Action::Fail(why) => failure = Some(why),
            other => panic!("{other:?}"),
        }
    }
    sent.extend(client.poll_transmit().unwrap_or_default());
    assert!(client.is_closed(), "{}", recording.name);
    (names, failure, sent)
}

/// Plays the recorded client to a server machine, whose driver decides as the recorded server did.
fn play_to_server(recording: &Recording, chunk: usize) -> (Vec<server::Action>, Vec<u8>) {
    let mut now = Instant::now();
    let mut server = Server::new(Deadlines::server(), now);
    let (mut actions, mut sent) = (Vec::new(), Vec::new());
    for entry in &recording.entries {
        now += Duration::from_millis(1);
        match (entry.to_server, entry.kind.as_str()) {
            (true, kind) if kind != "cookie" => {
                for piece in entry.bytes.chunks(chunk) {
                    server.handle_input(piece, now);
                }
            }
            (false, "CREATE_STREAMS") => server.accept(None, now),
            (false, "TEST_START") => server.streams_ready(now),
            (false, "EXCHANGE_RESULTS") => server.exchange_results(now),
            (false, "results") => server.send_results(&recording.results(false).unwrap(), now),
            (false, "SERVER_ERROR") => {
                let code = entry.bytes[1..5].try_into().unwrap();
                server.refuse(Code(i32::from_be_bytes(code)), 0, None);
            }
            (false, "SERVER_TERMINATE") => server.terminate(),
            (true, "cookie") | (false, "PARAM_EXCHANGE" | "TEST_RUNNING" | "DISPLAY_RESULTS") => {}
            (_, other) => panic!("{other}"),
        }
        actions.extend(std::iter::from_fn(|| server.poll_action()));
        sent.extend(server.poll_transmit().unwrap_or_default());
    }
    server.handle_eof(now);
    actions.extend(std::iter::from_fn(|| server.poll_action()));
    assert!(server.is_closed(), "{}", recording.name);
    (actions, sent)
}

fn expected_failure(name: &str) -> Option<client::Failure> {
    let error = |code| client::Failure::ServerError {
        code: Code(code),
        errno: 0,
        explanation: None,
    };
    Some(match name {
        "busy-312-312" | "busy-322-322" => client::Failure::Busy,
        "server-terminate-312-312" | "server-terminate-322-322" => {
            client::Failure::ServerTerminated
        }
        "server-error-bitrate-322-322" | "server-error-params-322-322" => error(27),
        "auth-fail-312-312" => error(142),
        "server-error-bitrate-312-312" | "auth-fail-322-322" | "vsock-uds-udp-39v" => {
            client::Failure::ControlClosed
        }
        _ => return None,
    })
}

fn is_whole_test(recording: &Recording) -> bool {
    recording.message(false, "results").is_some()
}

#[test]
fn a_client_completes_with_every_recorded_server() {
    const COURSE: [&str; 6] = [
        "ParamsSent",
        "OpenStreams",
        "StartClock",
        "Run",
        "CollectResults",
        "ShowResults",
    ];
    for recording in Recording::all() {
        let name = &recording.name;
        for chunk in [usize::MAX, 1] {
            let (actions, failure, sent) = play_to_client(&recording, chunk);
            assert_eq!(failure, expected_failure(name), "{name}");
            assert!(COURSE.starts_with(&actions), "{name}: {actions:?}");
            assert_eq!(
                actions.len() == COURSE.len(),
                is_whole_test(&recording),
                "{name}: {actions:?}"
            );
            // But for the two JSON messages, the bytes are those of the real client.
            let states = |wire: &[u8]| {
                let start = Cookie::LEN.min(wire.len());
                states_after_json(&wire[start..])
            };
            assert_eq!(sent[..37], recording.wire(true)[..37], "{name}");
            assert_eq!(states(&sent), states(&recording.wire(true)), "{name}");
        }
    }
}

#[test]
fn a_server_completes_with_every_recorded_client() {
    for recording in Recording::all() {
        let name = &recording.name;
        if name.starts_with("busy") {
            // A busy server answers before there is a machine.
            assert_eq!(recording.wire(false), [State::AccessDenied.to_byte()]);
            continue;
        }
        let params = recording
            .params()
            .map(|params| server::Action::Params(Box::new(params)));
        for chunk in [usize::MAX, 1] {
            let (actions, sent) = play_to_server(&recording, chunk);
            let mut expected: Vec<_> = params.clone().into_iter().collect();
            if let Some(results) = recording.results(true) {
                let results = server::Action::PeerResults(Box::new(results));
                expected.extend([server::Action::EndTest, results, server::Action::Done]);
            } else if name.starts_with("client-terminate") {
                expected.push(server::Action::ClientTerminated);
            } else if recording.entries.last().unwrap().kind == "IPERF_DONE"
                && !name.starts_with("server-terminate")
            {
                expected.push(server::Action::Done);
            }
            assert_eq!(actions, expected, "{name}");

            let recorded = recording.wire(false);
            let (sent, recorded) = (states_after_json(&sent), states_after_json(&recorded));
            match name.as_str() {
                // 3.12 sends one integer with a failed login; this server always sends two.
                "auth-fail-312-312" => assert_eq!(sent, [&recorded[..], &[0; 4]].concat()),
                // 3.22 repeats itself.
                "server-error-bitrate-322-322" => {
                    assert_eq!([&sent[..], &sent[4..]].concat(), recorded[..]);
                }
                // 3.22 answers a terminated client.
                "client-terminate-322-322" => assert_eq!(sent, recorded[..recorded.len() - 9]),
                _ => assert_eq!(sent, recorded, "{name}"),
            }
        }
    }
}

/// A recorded direction without the texts of its JSON messages: states and error codes.
fn states_after_json(mut wire: &[u8]) -> Vec<u8> {
    let mut states = Vec::new();
    while let Some((&byte, rest)) = wire.split_first() {
        if byte == 0 && states.last() != Some(&0xfe) {
            let length = u32::from_be_bytes(wire[..4].try_into().unwrap());
            wire = &wire[4 + usize::try_from(length).unwrap()..];
        } else if byte == 0xfe {
            let end = wire.len().min(9);
            states.extend_from_slice(&wire[..end]);
            wire = &wire[end..];
        } else {
            states.push(byte);
            wire = rest;
        }
    }
    states
}

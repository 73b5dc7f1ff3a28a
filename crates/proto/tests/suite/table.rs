//! What every state byte does in every phase of both machines.

use std::time::Instant;

use iperf_proto::Machine as _;
use iperf_proto::{Code, State, client, server};

use crate::phases::{CLIENT_PHASES, SERVER_PHASES, client_at, drain_client, server_at};

const KNOWN: [u8; 13] = [1, 2, 4, 9, 10, 11, 12, 13, 14, 16, 64, 0xff, 0xfe];

/// What one byte does to a client: the actions, or the way to another phase, in words.
fn client_answer(index: usize, byte: u8) -> String {
    let now = Instant::now();
    let mut client = client_at(index, now);
    client.handle_input(&[byte], now);
    let name = client.state_name();
    let actions = drain_client(&mut client);
    match &actions[..] {
        [] if name == CLIENT_PHASES[index] => "nothing".to_owned(),
        [] => name.to_owned(),
        [client::Action::Fail(failure)] => {
            assert!(client.is_closed());
            let text = failure.to_string();
            match failure {
                client::Failure::Unexpected { state, phase } => {
                    assert_eq!(
                        (*state, *phase),
                        (State::from_byte(byte), CLIENT_PHASES[index])
                    );
                    assert!(text.contains(&state.to_string()) && text.contains(phase));
                    assert_eq!(failure.code(), Code::UNKNOWN_MESSAGE);
                    "unexpected".to_owned()
                }
                client::Failure::UnknownMessage(value) => {
                    assert_eq!(value.cast_unsigned(), byte);
                    assert!(text.contains(&value.to_string()));
                    assert_eq!(failure.code(), Code(110));
                    "unknown".to_owned()
                }
                _ => text,
            }
        }
        [action] => format!("{action:?}"),
        _ => panic!("{actions:?}"),
    }
}

#[test]
fn each_byte_in_each_phase_of_the_client() {
    const ERROR: &str = "while waiting for the server's error code";
    // What is special about a phase. Everything else that is known is unexpected, and the rest unknown.
    let special: [&[(u8, &str)]; 14] = [
        &[(9, "ParamsSent")],
        // What a server of this program grants.
        &[(10, "OpenStreams"), (64, "nothing")],
        &[(1, "nothing")],
        &[(2, "nothing")],
        &[],
        &[(1, "StartClock")],
        &[(2, "Run")],
        &[],
        &[(2, "nothing"), (13, "CollectResults")],
        &[],
        &[],
        &[(14, "ShowResults")],
        &[],
        &[],
    ];
    for (index, special) in special.iter().enumerate() {
        for byte in 0..=255 {
            let expected = match byte {
                _ if index >= 12 => "nothing",
                0xff => "the server is busy running a test. try again later",
                0xfe => ERROR,
                11 => "the server has terminated",
                // The start of a length.
                _ if index == 10 => "nothing",
                _ => special.iter().find(|(b, _)| *b == byte).map_or_else(
                    || {
                        if KNOWN.contains(&byte) {
                            "unexpected"
                        } else {
                            "unknown"
                        }
                    },
                    |(_, answer)| answer,
                ),
            };
            let answer = client_answer(index, byte);
            let answer = answer.split('(').next().unwrap();
            assert_eq!(answer, expected, "byte {byte} {}", CLIENT_PHASES[index]);
        }
    }
}

#[test]
fn bytes_where_results_are_due_are_a_length() {
    let now = Instant::now();
    for byte in 1..=255 {
        if matches!(byte, 11 | 0xfe | 0xff) {
            continue;
        }
        let mut client = client_at(10, now);
        client.handle_input(&[byte, 0, 0, 1], now);
        let actions = drain_client(&mut client);
        assert!(
            matches!(
                actions[..],
                [client::Action::Fail(client::Failure::ResultsUnreadable(_))]
            ),
            "{byte}: {actions:?}"
        );
    }
}

#[test]
fn each_byte_in_each_phase_of_the_server() {
    let now = Instant::now();
    for (index, phase) in SERVER_PHASES.into_iter().enumerate() {
        for byte in 0..=255 {
            let mut server = server_at(index, now);
            server.handle_input(&[byte], now);
            let actions: Vec<_> = std::iter::from_fn(|| server.poll_action()).collect();
            let expected: &[server::Action] = match (index, byte) {
                // The start of a length, or no longer read.
                (0 | 8, _) => &[],
                (_, 16) => &[server::Action::Done],
                (_, 12) => &[server::Action::ClientTerminated],
                // The start of a length; elsewhere TEST_START, which servers ignore.
                (5, _) | (_, 1) => &[],
                (3, 4) => &[server::Action::EndTest],
                (_, byte) if KNOWN.contains(&byte) => {
                    &[server::Action::Fail(server::Failure::Unexpected {
                        state: State::from_byte(byte),
                        phase,
                    })]
                }
                (_, byte) => &[server::Action::Fail(server::Failure::UnknownMessage(
                    byte.cast_signed(),
                ))],
            };
            assert_eq!(actions, expected, "byte {byte} {phase}");
            if let Some(server::Action::Fail(failure)) = actions.first() {
                assert_eq!(failure.code(), Code(110));
                assert_eq!(
                    server.poll_transmit().as_deref(),
                    Some(&[0xfe, 0, 0, 0, 110, 0, 0, 0, 0][..])
                );
                assert!(server.is_closed());
            } else {
                assert_eq!(server.poll_transmit(), None);
            }
            let closes = index == 8 || !matches!(actions[..], [] | [server::Action::EndTest]);
            assert_eq!(server.is_closed(), closes);
        }
    }
}

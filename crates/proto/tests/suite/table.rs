//! Every state byte in every phase of both machines, and what else can happen in each phase.

use std::time::{Duration, Instant};

use iperf_model::{TestConfig, Transport};
use iperf_proto::Machine as _;
use iperf_proto::{
    Client, Code, Cookie, Deadlines, Granted, Params, Results, Server, State, client,
    framing::frame, server,
};

const KNOWN: [u8; 13] = [1, 2, 4, 9, 10, 11, 12, 13, 14, 16, 64, 0xff, 0xfe];

pub(crate) fn params() -> Params {
    Params::from_test(&TestConfig::new(Transport::Tcp))
}

pub(crate) fn results() -> Results {
    let json = r#"{"cpu_util_total":1,"cpu_util_user":1,"cpu_util_system":0,
        "sender_has_retransmits":-1,"streams":[]}"#;
    Results::parse(json.as_bytes()).unwrap()
}

/// The names of a client's phases in their order, and how a test gets from each to the next.
pub(crate) const CLIENT_PHASES: [&str; 14] = [
    "while waiting to send the parameters",
    "while waiting for the server to take the parameters",
    "while opening the data streams",
    // The same name twice more: the server started early.
    "while opening the data streams",
    "while opening the data streams",
    "while waiting for the start of the test",
    "between the start of the test and its first data",
    "during the test",
    "while waiting to send the results",
    "while putting the results together",
    "while waiting for the server's results",
    "after the server's results",
    "after the test",
    "after the end",
];

/// A client in its `index`-th phase, with nothing to send and nothing to do.
pub(crate) fn client_at(index: usize, now: Instant) -> Client {
    let cookie = Cookie::from_random([1; 36]);
    let mut client = Client::new(cookie, params(), Deadlines::client(), now);
    let early = matches!(index, 3 | 4);
    for step in 0..index {
        let step = if early && step >= 2 { step + 100 } else { step };
        match step {
            0 => client.handle_input(&[9], now),
            1 => client.handle_input(&[10], now),
            4 => client.streams_opened(now),
            5 | 102 => client.handle_input(&[1], now),
            6 | 103 => client.handle_input(&[2], now),
            7 => client.end_test(now),
            8 => client.handle_input(&[13], now),
            9 => client.send_results(&results(), now),
            10 => client.handle_input(&frame(&results().to_json()), now),
            11 => client.handle_input(&[14], now),
            12 => client.finish(),
            _ => {}
        }
    }
    drain_client(&mut client);
    assert_eq!(client.state_name(), CLIENT_PHASES[index]);
    client
}

fn drain_client(client: &mut Client) -> Vec<client::Action> {
    while client.poll_transmit().is_some() {}
    std::iter::from_fn(|| client.poll_action()).collect()
}

pub(crate) const SERVER_PHASES: [&str; 9] = [
    "while waiting for the parameters",
    "while looking at the parameters",
    "while accepting the data streams",
    "during the test",
    "while ending the test",
    "while waiting for the client's results",
    "while putting the results together",
    "while waiting for the client's goodbye",
    "after the end",
];

/// A server in its `index`-th phase, with nothing to send and nothing to do.
pub(crate) fn server_at(index: usize, now: Instant) -> Server {
    let mut server = Server::new(Deadlines::server(), now);
    for step in 0..index {
        match step {
            0 => server.handle_input(&frame(&params().to_json()), now),
            1 => server.accept(None, now),
            2 => server.streams_ready(now),
            3 => server.handle_input(&[4], now),
            4 => server.exchange_results(now),
            5 => server.handle_input(&frame(&results().to_json()), now),
            6 => server.send_results(&results(), now),
            _ => server.handle_input(&[16], now),
        }
    }
    while server.poll_transmit().is_some() {}
    while server.poll_action().is_some() {}
    assert_eq!(server.state_name(), SERVER_PHASES[index]);
    server
}

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

/// A client without requests accepts no grants; a client with requests accepts them once.
#[test]
fn grants_are_sent_once_and_only_to_a_client_that_asked() {
    let now = Instant::now();
    let mut test = TestConfig::new(Transport::Tcp);
    test.verify = true;
    let cookie = Cookie::from_random([1; 36]);
    let mut client = Client::new(cookie, Params::from_test(&test), Deadlines::client(), now);
    let granted = Granted::for_test(&test, false);
    client.handle_input(&[9, 64], now);
    client.handle_input(&frame(&granted.to_json()), now);
    assert_eq!(
        drain_client(&mut client),
        [
            client::Action::ParamsSent,
            client::Action::Granted(Box::new(granted))
        ]
    );
    assert_eq!(client.state_name(), CLIENT_PHASES[1]);
    client.handle_input(&[64], now);
    assert!(matches!(
        drain_client(&mut client)[..],
        [client::Action::Fail(client::Failure::Unexpected {
            state: State::Extensions,
            ..
        })]
    ));
}

/// A server that granted something explains its errors; one that did not sends only what iperf3 does.
#[test]
fn errors_are_explained_to_a_client_with_grants() {
    let now = Instant::now();
    let mut test = TestConfig::new(Transport::Tcp);
    test.verify = true;
    let granted = Granted::for_test(&test, false);
    for (extended, text, expected) in [
        (true, Some("it rains"), Some("it rains")),
        (true, None, None),
        (false, Some("it rains"), None),
    ] {
        let mut server = Server::new(Deadlines::server(), now);
        server.handle_input(&frame(&Params::from_test(&test).to_json()), now);
        server.accept(extended.then_some(&granted), now);
        let mut bytes = server.poll_transmit().unwrap();
        server.refuse(Code::STREAM_READ, 0, text);
        bytes.extend(server.poll_transmit().unwrap());

        let cookie = Cookie::from_random([1; 36]);
        let mut client = Client::new(cookie, Params::from_test(&test), Deadlines::client(), now);
        client.handle_input(&bytes, now);
        client.handle_eof(now);
        let failure = client::Failure::ServerError {
            code: Code::STREAM_READ,
            errno: 0,
            explanation: expected.map(str::to_owned),
        };
        let actions = drain_client(&mut client);
        assert_eq!(actions.last(), Some(&client::Action::Fail(failure)));
    }
}

#[test]
fn an_unreadable_explanation_is_none() {
    let now = Instant::now();
    let mut test = TestConfig::new(Transport::Tcp);
    test.verify = true;
    for message in [
        &b"\xff\xff\xff\xff"[..],
        &frame("{"),
        &frame("{}"),
        &frame(r#"{"error":""}"#),
    ] {
        let cookie = Cookie::from_random([1; 36]);
        let mut client = Client::new(cookie, Params::from_test(&test), Deadlines::client(), now);
        client.handle_input(&[9, 64], now);
        client.handle_input(&frame(&Granted::for_test(&test, false).to_json()), now);
        client.handle_input(&[0xfe, 0, 0, 0, 206, 0, 0, 0, 0], now);
        assert!(!client.is_closed());
        client.handle_input(message, now);
        let actions = drain_client(&mut client);
        assert!(
            matches!(
                actions.last(),
                Some(client::Action::Fail(client::Failure::ServerError {
                    code: Code(206),
                    explanation: None,
                    ..
                }))
            ),
            "{actions:?}"
        );
    }
}

#[test]
fn an_unreadable_grant_ends_the_test() {
    let now = Instant::now();
    let mut test = TestConfig::new(Transport::Tcp);
    test.verify = true;
    for message in [&b"\xff\xff\xff\xff"[..], &[0; 4], &frame("{")] {
        let cookie = Cookie::from_random([1; 36]);
        let mut client = Client::new(cookie, Params::from_test(&test), Deadlines::client(), now);
        client.handle_input(&[9, 64], now);
        client.handle_input(message, now);
        let actions = drain_client(&mut client);
        assert!(
            matches!(
                actions[..],
                [
                    _,
                    client::Action::Fail(client::Failure::GrantedUnreadable(_))
                ]
            ),
            "{actions:?}"
        );
    }
}

/// The two phases whose name is the same as before differ in what may come next.
#[test]
fn an_early_start_is_replayed_once_the_streams_stand() {
    let now = Instant::now();
    for (index, actions) in [
        (2, vec![]),
        (3, vec![client::Action::StartClock]),
        (4, vec![client::Action::StartClock, client::Action::Run]),
    ] {
        let mut client = client_at(index, now);
        client.streams_opened(now);
        assert_eq!(drain_client(&mut client), actions);
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
                // The start of a length, or nobody listens.
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

#[test]
fn a_client_waits_with_a_deadline_and_its_driver_without() {
    let now = Instant::now();
    let secs = Duration::from_secs;
    for (index, name) in CLIENT_PHASES.iter().enumerate() {
        let mut client = client_at(index, now);
        let code = match index {
            0 | 1 | 5 | 6 | 8 | 11 => Code::RECV_MESSAGE,
            10 => Code::RECV_RESULTS,
            _ => {
                assert_eq!(client.poll_timeout(), None, "{name}");
                client.handle_timeout(now + secs(1_000_000));
                assert_eq!(client.poll_action(), None, "{name}");
                continue;
            }
        };
        assert_eq!(client.poll_timeout(), Some(now + secs(30)), "{name}");
        client.handle_timeout(now + secs(29));
        assert_eq!(client.poll_action(), None, "{name}");
        client.handle_timeout(now + secs(30));
        let waiting_for = CLIENT_PHASES[index];
        assert_eq!(
            client.poll_action(),
            Some(client::Action::Fail(client::Failure::TimedOut {
                waiting_for,
                code
            }))
        );
        assert_eq!(client.poll_transmit(), Some(vec![16]), "{name}");
        assert_eq!(client.poll_timeout(), None);
        assert!(client.is_closed());
    }
}

#[test]
fn a_server_waits_with_a_deadline_and_its_driver_without() {
    let now = Instant::now();
    let secs = Duration::from_secs;
    for (index, waiting_for) in SERVER_PHASES.into_iter().enumerate() {
        let mut server = server_at(index, now);
        let last_words = match index {
            0 => Some(vec![0xfe, 0, 0, 0, 114, 0, 0, 0, 0]),
            5 => Some(vec![0xfe, 0, 0, 0, 117, 0, 0, 0, 0]),
            7 => None,
            _ => {
                assert_eq!(server.poll_timeout(), None, "{waiting_for}");
                server.handle_timeout(now + secs(1_000_000));
                assert_eq!(server.poll_action(), None, "{waiting_for}");
                continue;
            }
        };
        assert_eq!(server.poll_timeout(), Some(now + secs(4)));
        server.handle_timeout(now + secs(3));
        assert_eq!(server.poll_action(), None);
        server.handle_timeout(now + secs(4));
        assert_eq!(
            server.poll_action(),
            Some(server::Action::Fail(server::Failure::TimedOut {
                waiting_for
            }))
        );
        assert_eq!(server.poll_transmit(), last_words);
        assert_eq!(server.poll_timeout(), None);
        assert!(server.is_closed());
    }
}

#[test]
fn the_end_of_the_connection_in_each_phase_of_the_client() {
    let now = Instant::now();
    for (index, name) in CLIENT_PHASES.iter().enumerate() {
        let mut client = client_at(index, now);
        client.handle_eof(now);
        let failure = match client.poll_action() {
            None => None,
            Some(client::Action::Fail(failure)) => Some(failure.code()),
            other => panic!("{other:?}"),
        };
        let expected = match index {
            9 | 10 => Some(Code(117)),
            12 | 13 => None,
            _ => Some(Code(109)),
        };
        assert_eq!(failure, expected, "{name}");
        // Like real clients, it still tries to send `IPERF_DONE`.
        assert_eq!(client.poll_transmit(), expected.map(|_| vec![16]), "{name}");
    }
}

#[test]
fn the_end_of_the_connection_in_each_phase_of_the_server() {
    let now = Instant::now();
    for (index, name) in SERVER_PHASES.iter().enumerate() {
        let mut server = server_at(index, now);
        server.handle_eof(now);
        let expected = (index != 8).then_some(server::Action::Fail(server::Failure::ClientClosed));
        assert_eq!(server.poll_action(), expected, "{name}");
        assert_eq!(server.poll_transmit(), None, "{name}");
        assert!(server.is_closed());
    }
}

type ClientCommand = fn(&mut Client, Instant);
type ServerCommand = fn(&mut Server, Instant);
type ClientWord = fn(&mut Client);
type ServerWord = fn(&mut Server);

#[test]
fn a_command_at_another_time_does_nothing() {
    let now = Instant::now();
    let client_commands: [(ClientCommand, &[usize]); 3] = [
        (|c, now| c.streams_opened(now), &[2, 3, 4]),
        (|c, now| c.end_test(now), &[6, 7]),
        (|c, now| c.send_results(&results(), now), &[9]),
    ];
    for (command, phases) in client_commands {
        for (index, name) in CLIENT_PHASES.iter().enumerate() {
            let mut client = client_at(index, now);
            command(&mut client, now);
            let moved = client.state_name() != *name;
            assert_eq!(moved, phases.contains(&index), "{name}");
            assert!(moved || client.poll_transmit().is_none());
        }
    }
    let server_commands: [(ServerCommand, usize); 4] = [
        (|s, now| s.accept(None, now), 1),
        (|s, now| s.streams_ready(now), 2),
        (|s, now| s.exchange_results(now), 4),
        (|s, now| s.send_results(&results(), now), 6),
    ];
    for (command, phase) in server_commands {
        for (index, name) in SERVER_PHASES.iter().enumerate() {
            let mut server = server_at(index, now);
            command(&mut server, now);
            let moved = server.state_name() != *name;
            assert_eq!(moved, index == phase, "{name}");
            assert_eq!(server.poll_transmit().is_some(), moved);
        }
    }
}

#[test]
fn each_end_can_break_off_in_each_phase() {
    let now = Instant::now();
    let client_words: [(ClientWord, u8); 3] = [
        (Client::terminate, 12),
        (Client::abandon, 16),
        (Client::finish, 16),
    ];
    for (word, byte) in client_words {
        for index in 0..CLIENT_PHASES.len() {
            let mut client = client_at(index, now);
            let was_open = !client.is_closed();
            word(&mut client);
            assert_eq!(client.poll_transmit(), was_open.then(|| vec![byte]));
            assert!(client.is_closed());
            assert_eq!(client.poll_timeout(), None);
            assert_eq!(client.poll_action(), None);
        }
    }
    let server_words: [(ServerWord, &[u8]); 3] = [
        (Server::terminate, &[11]),
        (Server::deny, &[0xff]),
        (
            |s| s.refuse(Code::TOTAL_RATE, 0x0102_0304, None),
            &[0xfe, 0, 0, 0, 27, 1, 2, 3, 4],
        ),
    ];
    for (word, bytes) in server_words {
        for index in 0..SERVER_PHASES.len() {
            let mut server = server_at(index, now);
            let was_open = !server.is_closed();
            word(&mut server);
            assert_eq!(server.poll_transmit(), was_open.then(|| bytes.to_vec()));
            assert!(server.is_closed());
            assert_eq!(server.poll_timeout(), None);
            assert_eq!(server.poll_action(), None);
        }
    }
}

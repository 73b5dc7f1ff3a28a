//! What else can happen in each phase of both machines: time passes, the connection ends, the driver acts.

use std::time::{Duration, Instant};

use iperf_proto::Machine as _;
use iperf_proto::{Client, Code, Server, client, server};

use crate::phases::{CLIENT_PHASES, SERVER_PHASES, client_at, drain_client, results, server_at};

/// The two phases whose name is the same as before differ in what may come next.
#[test]
fn an_early_start_is_replayed_once_the_streams_are_open() {
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
        let (limit, last_words) = match index {
            0 => (4, Some(vec![0xfe, 0, 0, 0, 114, 0, 0, 0, 0])),
            5 => (10, Some(vec![0xfe, 0, 0, 0, 117, 0, 0, 0, 0])),
            7 => (4, None),
            _ => {
                assert_eq!(server.poll_timeout(), None, "{waiting_for}");
                server.handle_timeout(now + secs(1_000_000));
                assert_eq!(server.poll_action(), None, "{waiting_for}");
                continue;
            }
        };
        assert_eq!(server.poll_timeout(), Some(now + secs(limit)));
        server.handle_timeout(now + secs(limit - 1));
        assert_eq!(server.poll_action(), None);
        server.handle_timeout(now + secs(limit));
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

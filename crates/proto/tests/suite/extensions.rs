//! What a server of this program grants, and how it explains its errors.

use std::time::Instant;

use iperf_model::{TestConfig, Transport};
use iperf_proto::Machine as _;
use iperf_proto::{
    Client, Code, Cookie, Deadlines, Granted, Params, Server, State, client, framing::frame,
};

use crate::phases::{CLIENT_PHASES, drain_client};

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

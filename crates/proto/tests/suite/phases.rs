//! Both machines in each of their phases.

use std::time::Instant;

use iperf_model::{TestConfig, Transport};
use iperf_proto::Machine as _;
use iperf_proto::{Client, Cookie, Deadlines, Params, Results, Server, client, framing::frame};

pub(crate) fn params() -> Params {
    Params::from_test(&TestConfig::new(Transport::Tcp))
}

pub(crate) fn results() -> Results {
    let json = r#"{"cpu_util_total":1,"cpu_util_user":1,"cpu_util_system":0,
        "sender_has_retransmits":-1,"streams":[]}"#;
    Results::parse(json.as_bytes()).unwrap()
}

/// The names of a client's phases in their order.
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

pub(crate) fn drain_client(client: &mut Client) -> Vec<client::Action> {
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

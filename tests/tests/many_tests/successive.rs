//! A client that starts when the one before it is done, has failed or has gone is never refused.

use iperf_harness::wire::{
    CREATE_STREAMS, DISPLAY_RESULTS, EXCHANGE_RESULTS, IPERF_DONE, PARAM_EXCHANGE, PARAMS, RESULTS,
    RawClient, TEST_END, TEST_RUNNING, TEST_START, framed,
};
use iperf_harness::{HANG, Peer, Server};

/// The client has ended the test early.
const CLIENT_TERMINATE: u8 = 12;

/// Runs a client, to the end of its test.
type Client = fn(u16);

const CLIENTS: [Client; 7] = [
    done,
    terminated,
    killed,
    failed,
    killed_early,
    killed_at_the_start,
    without_streams,
];

/// Opens a control connection and sends parameters, which the server must accept at once.
fn agreed(port: u16) -> RawClient {
    let mut client = RawClient::connect(port);
    let cookie = *client.cookie();
    client.control.send(&cookie);
    client.control.expect(PARAM_EXCHANGE);
    client.control.send_json(PARAMS);
    client.control.expect(CREATE_STREAMS);
    client
}

fn running(port: u16) -> RawClient {
    let mut client = agreed(port);
    client.open_data();
    client.control.expect(TEST_START);
    client.control.expect(TEST_RUNNING);
    client
}

/// Like iperf3, it does not wait until the server has closed the connection.
fn done(port: u16) {
    let mut client = running(port);
    client.data[0].send(&vec![0; 131_072]);
    client.control.send(&[TEST_END]);
    client.control.expect(EXCHANGE_RESULTS);
    client.control.send(&framed(RESULTS));
    client.control.expect_json();
    client.control.expect(DISPLAY_RESULTS);
    client.control.send(&[IPERF_DONE]);
}

fn terminated(port: u16) {
    running(port).control.send(&[CLIENT_TERMINATE]);
}

fn killed(port: u16) {
    drop(running(port));
}

fn failed(port: u16) {
    let mut client = running(port);
    client.control.send(&[99]);
    assert!(
        client.control.drain(HANG),
        "the server closes the connection"
    );
}

fn killed_early(port: u16) {
    drop(agreed(port));
}

fn killed_at_the_start(port: u16) {
    agreed(port).open_data();
}

fn without_streams(port: u16) {
    let mut client = agreed(port);
    client.control.send(&[IPERF_DONE]);
    assert!(
        client.control.drain(HANG),
        "the server closes the connection"
    );
}

/// Runs clients of every kind one after another; each asserts that it is served.
fn one_after_another(options: &[&str]) {
    let server = Server::start(Peer::Ours, options);
    for client in CLIENTS {
        for _ in 0..25 {
            client(server.port());
        }
    }
    let log = server.stop();
    assert!(!log.stderr.contains("panic"), "{log}");
}

#[test]
fn clients_one_after_another_are_never_refused() {
    one_after_another(&[]);
}

#[test]
fn clients_one_after_another_are_never_refused_at_their_limit() {
    one_after_another(&["--tests", "0", "--tests-per-client", "1"]);
}

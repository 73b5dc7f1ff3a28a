//! Data that was sent and did not arrive, on streams that lose nothing: a test whose end alone was cut off fails, and a client
//! reports what is missing.

use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::Duration;

use iperf_harness::json::{self, int, text};
use iperf_harness::pair::{run_client, start_client};
use iperf_harness::process::wait_for;
use iperf_harness::proxy::{Damage, Place, Proxy};
use iperf_harness::wire::{
    DISPLAY_RESULTS, EXCHANGE_RESULTS, PARAMS, RESULTS, Raw, RawClient, RawServer, Reply,
    SERVER_ERROR, TEST_END, TEST_RUNNING, TEST_START,
};
use iperf_harness::{HANG, Peer, Problems, Server};
use socket2::SockRef;

const RESET: &str = "unable to read from stream socket: Connection reset by peer";

/// Closes a connection with a reset, and waits until it has arrived: the other end's socket is gone from the kernel's list.
fn reset(data: Raw) {
    let port = |address: io::Result<SocketAddr>| {
        let address = address.expect("a connected socket");
        format!(":{:04X}", address.port())
    };
    let (own, peers) = (port(data.0.local_addr()), port(data.0.peer_addr()));
    let immediately = Some(Duration::ZERO);
    SockRef::from(&data.0)
        .set_linger(immediately)
        .expect("an option of the socket");
    drop(data);
    let gone = wait_for(HANG, || {
        let all = fs::read_to_string("/proc/net/tcp").expect("the list of sockets");
        let is_there = all.lines().any(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let mut is = |port: &str| columns.next().is_some_and(|one| one.ends_with(port));
            is(&peers) && is(&own)
        });
        (!is_there).then_some(())
    });
    gone.expect("a reset arrives");
}

/// A client that sends a part of its test, ends the stream in this way, and then ends the test as if all were well.
fn ends_a_test(params: &str, end_stream: fn(Raw)) -> (Reply, String) {
    let server = Server::start(Peer::Ours, &["-J"]);
    let mut client = RawClient::up_to_running(server.port(), params, 1);
    let mut data = client.data.remove(0);
    data.send(&[0; 10_000]);
    end_stream(data);
    client.control.send(&[TEST_END]);
    let reply = client.control.reply(HANG);
    drop(client);
    let end = server.stop();
    let documents = json::documents(&end.stdout);
    let error = documents.first().and_then(|first| text(first, "/error"));
    (reply, error.unwrap_or_default().to_owned())
}

#[test]
fn a_stream_that_is_reset_just_before_the_end_fails_the_test() {
    let by_amount = PARAMS
        .replace("\"time\":1", "\"time\":0")
        .replace("\"num\":0", "\"num\":524288");
    let long = PARAMS.replace("\"time\":1", "\"time\":60");
    for params in [PARAMS, &by_amount, &long].repeat(5) {
        let (reply, error) = ends_a_test(params, reset);
        assert_eq!(reply, Reply::State(SERVER_ERROR), "{params}: {error}");
        assert!(error.contains(RESET), "{params}: {error:?}");
    }
}

/// iperf3 does not report what it sent: a stream that ends in order may be complete.
#[test]
fn a_stream_that_ends_in_order_just_before_the_end_does_not() {
    let (reply, _) = ends_a_test(PARAMS, |data| {
        let _ = data.0.shutdown(Shutdown::Write);
    });
    assert_eq!(reply, Reply::State(EXCHANGE_RESULTS));
}

/// The client that receives has its time over before the server has had a second to report why the stream was lost.
#[test]
fn a_client_whose_stream_is_reset_just_before_the_end_fails() {
    let server = RawServer::start(|stage| {
        stage.take_params();
        stage.take_stream();
        stage.control.send(&[TEST_START, TEST_RUNNING]);
        let mut data = stage.data.remove(0);
        data.send(&[0; 10_000]);
        thread::sleep(Duration::from_millis(150));
        reset(data);
        if stage.control.reply(HANG) == Reply::State(TEST_END) {
            stage.control.send(&[EXCHANGE_RESULTS]);
            stage.control.expect_json();
            stage.control.send_json(RESULTS);
            stage.control.send(&[DISPLAY_RESULTS]);
            stage.stall();
        }
    });
    let client = start_client(Peer::Ours, server.port(), "-R -t 1").finish(HANG);
    let mut f = Problems::new();
    f.equal("exit code", client.code(), Some(1));
    f.holds("the reason", client.stderr.contains(RESET));
    f.assert_none(client);
    server.finish();
}

#[test]
fn a_client_reports_how_much_of_its_amount_is_missing() {
    for args in ["-n 1M", "-n 1M -J", "-n 1M -O 1"] {
        let server = Server::start(Peer::Ours, &["-J"]);
        let place = Place {
            connection: 1,
            from_client: true,
            offset: 900_000,
        };
        let proxy = Proxy::tcp(server.port(), place, Damage::Drop(4096));
        let client = run_client(Peer::Ours, proxy.port(), args);
        let mut f = Problems::new();
        f.holds("the damage is done", proxy.finish());
        f.holds("the client succeeds", client.succeeded());
        let warning = "4096 of 1048576 bytes that were sent did not arrive";
        f.holds("the warning", client.stderr.contains(warning));
        if args.contains("-J") {
            let document = client.document();
            f.equal(
                "received",
                int(&document, "/end/sum_received/bytes"),
                Some(1_048_576 - 4096),
            );
        }
        f.assert_none(format!("{args}\n{client}"));
    }
}

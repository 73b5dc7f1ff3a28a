//! The library as a program uses it: the examples, results, errors, stopping and dropping, on the loopback interface.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "../examples/compare.rs"]
mod compare;
#[path = "../examples/events.rs"]
mod events;
#[path = "../examples/measure.rs"]
mod measure;
#[path = "../examples/server.rs"]
mod server;

use std::fs;
use std::time::Duration;

use iperf::{Client, Error, Event, RunningServer, Server};
use tokio::time::timeout;

/// Far beyond what any of these takes; a hang is what it finds.
const PATIENCE: Duration = Duration::from_secs(120);

async fn server() -> (RunningServer, u16) {
    let server = Server::builder().bind("127.0.0.1").port(0).start();
    let server = server.await.unwrap();
    let port = server.address().unwrap().port();
    (server, port)
}

#[test]
fn the_examples_run() {
    measure::main().unwrap();
    events::main().unwrap();
    server::main().unwrap();
    compare::main().unwrap();
}

#[tokio::test]
async fn both_ends_have_the_same_bytes() {
    let (mut server, port) = server().await;
    let client = Client::builder("127.0.0.1")
        .port(port)
        .bytes(3_000_000)
        .streams(2);
    let client = client.title("both ends").build().unwrap();
    let document = timeout(PATIENCE, client.run()).await.unwrap().unwrap();
    let received = document.end.sum_received.unwrap();
    assert!(received.bytes >= 3_000_000, "{received:?}");
    assert_eq!(document.title.as_deref(), Some("both ends"));
    let seen = timeout(PATIENCE, server.next_test())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen.end.sum_received.unwrap().bytes, received.bytes);
    server.stop();
    timeout(PATIENCE, server.stopped()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stopped_test_has_what_was_measured() {
    let (_server, port) = server().await;
    let client = Client::builder("127.0.0.1")
        .port(port)
        .duration(Duration::from_secs(86_400))
        .interval(Duration::from_millis(100));
    let mut test = client.build().unwrap().start().unwrap();
    while let Some(event) = timeout(PATIENCE, test.events().next()).await.unwrap() {
        if let Event::Interval(_) = event {
            test.stop();
        }
    }
    let document = timeout(PATIENCE, test.document()).await.unwrap().unwrap();
    assert!(!document.intervals.is_empty());
    let error = document.error.unwrap();
    assert!(error.contains("the client has terminated"), "{error}");
}

#[tokio::test]
async fn a_dropped_test_ends_and_the_server_serves_the_next_one() {
    let (mut server, port) = server().await;
    let endless = Client::builder("127.0.0.1")
        .port(port)
        .duration(Duration::from_secs(86_400));
    let mut test = endless.build().unwrap().start().unwrap();
    while let Some(event) = timeout(PATIENCE, test.events().next()).await.unwrap() {
        if let Event::TestStarted(_) = event {
            break;
        }
    }
    drop(test);
    let ended = timeout(PATIENCE, server.next_test())
        .await
        .unwrap()
        .unwrap();
    let error = ended.error.unwrap();
    assert!(error.contains("the client has terminated"), "{error}");
    let next = Client::builder("127.0.0.1").port(port).bytes(100_000);
    let next = next.build().unwrap();
    timeout(PATIENCE, next.run()).await.unwrap().unwrap();
}

/// A program moves handles and futures to tasks of its own.
#[tokio::test]
async fn two_clients_at_once_and_a_stopper_in_another_task() {
    let server = Server::builder().bind("127.0.0.1").port(0).tests(2);
    let mut server = server.start().await.unwrap();
    let port = server.address().unwrap().port();
    let endless = Client::builder("127.0.0.1")
        .port(port)
        .interval(Duration::from_millis(100))
        .duration(Duration::from_secs(86_400));
    let mut first = endless.build().unwrap().start().unwrap();
    let stopper = first.stopper();
    let follow = tokio::spawn(async move {
        while let Some(event) = first.events().next().await {
            if let Event::Interval(_) = event {
                break;
            }
        }
        first
    });
    let first = timeout(PATIENCE, follow).await.unwrap().unwrap();
    // The first one still runs.
    let second = Client::builder("127.0.0.1").port(port).bytes(1_000_000);
    let second = second.build().unwrap();
    let second = tokio::spawn(async move { second.run().await });
    let second = timeout(PATIENCE, second).await.unwrap().unwrap().unwrap();
    assert!(second.end.sum_received.unwrap().bytes >= 1_000_000);
    tokio::spawn(async move { stopper.stop() }).await.unwrap();
    let first = timeout(PATIENCE, first.document()).await.unwrap().unwrap();
    let error = first.error.unwrap();
    assert!(error.contains("the client has terminated"), "{error}");

    let stopper = server.stopper();
    let ended = tokio::spawn(async move {
        while server.next_test().await.is_some() {}
        server.stopped().await
    });
    stopper.clone().stop();
    timeout(PATIENCE, ended).await.unwrap().unwrap().unwrap();
    // It is over: another stop does nothing.
    stopper.stop();
}

#[test]
fn handles_and_errors_can_go_to_other_threads() {
    fn goes<T: Send + Sync + 'static>() {}
    goes::<Client>();
    goes::<iperf::ClientBuilder>();
    goes::<iperf::Test>();
    goes::<iperf::Events>();
    goes::<Server>();
    goes::<RunningServer>();
    goes::<iperf::Stopper>();
    goes::<Error>();
    goes::<iperf::Document>();
}

#[tokio::test]
async fn failures_are_values() {
    let (server, port) = server().await;
    let second = Server::builder().bind("127.0.0.1").port(port).start().await;
    assert!(matches!(second, Err(Error::Server(_))), "{second:?}");
    server.stop();
    server.stopped().await.unwrap();
    let nobody = Client::builder("127.0.0.1").port(port).build().unwrap();
    let error = timeout(PATIENCE, nobody.run()).await.unwrap().unwrap_err();
    let Error::Test { document, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(error.to_string().contains("unable to connect"), "{error}");
    assert_eq!(document.error, Some(error.to_string()));
}

#[test]
fn what_is_not_allowed_is_named() {
    let second = Duration::from_secs(1);
    for (client, message) in [
        (
            Client::builder("host").udp().streams(129),
            "streams is 129, and must be from 1 to 128",
        ),
        (
            Client::builder("host").duration(second / 2),
            "duration is 500ms, and must be whole seconds from 1 to 86400",
        ),
        (
            Client::builder("host").omit(601 * second),
            "omit is 601s, and must be whole seconds from 0 to 600",
        ),
        (
            Client::builder("host").interval(second / 100),
            "interval is 10ms, and must be 0, or from 0.1 s to 60 s",
        ),
        (
            Client::builder("host").bytes(0),
            "bytes is 0, and must be 1 or more",
        ),
        (
            Client::builder("host").udp().length(8),
            "length is 8, and must be from 16 to 65507 over UDP",
        ),
        (
            Client::vsock(3).length(17 << 20),
            "length is 17825792, and must be from 1 to 16777216",
        ),
        (
            Client::builder("host").length(16 << 20).streams(17),
            "length is 16777216, and must be at most 268435456 divided by the number of streams",
        ),
    ] {
        let error = client.build().unwrap_err();
        assert!(matches!(error, Error::Build(_)), "{error:?}");
        assert_eq!(error.to_string(), message);
    }
}

/// The signals that this process handles, as a mask.
fn handled() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

#[tokio::test]
async fn nothing_of_the_process_changes() {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let before = handled();
    let (server, port) = server().await;
    let client = Client::builder("127.0.0.1").port(port).bytes(100_000);
    client.build().unwrap().run().await.unwrap();
    drop(server);
    let urgent = 1 << (23 - 1);
    assert_eq!(handled() | urgent, before | urgent, "SIGURG alone");
    assert_eq!(fs::read_to_string("/proc/self/limits").unwrap(), limits);
}

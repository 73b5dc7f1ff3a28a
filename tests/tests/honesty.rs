//! What both ends say was moved is what crossed the network, by the counters of an interface that nobody else uses.

use std::process::Command;
use std::time::Duration;

use iperf_tests::json::{self, int};
use iperf_tests::{Peer, Running};

/// Bytes of a test.
const AMOUNT: u64 = 64 << 20;
/// The default block.
const BLOCK: u64 = 128 << 10;
/// Bytes of an IPv4 and a TCP header with timestamps, as the loopback interface counts them with each packet.
const HEADERS: u64 = 20 + 32;

/// Runs a test of `AMOUNT` bytes in a network namespace of its own. Returns its document, and the bytes and packets
/// that the loopback interface received.
fn moved(args: &str) -> (serde_json::Value, u64, u64) {
    let script = r#"ip link set lo up && "$0" --loopback -J "$@" && cat /proc/net/dev"#;
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--map-root-user", "sh", "-c", script])
        .arg(Peer::Ours.path())
        .args(["-n", &AMOUNT.to_string()])
        .args(args.split_whitespace());
    let end = Running::start(command).finish(Duration::from_secs(60));
    assert!(end.succeeded(), "{end}");
    let (document, devices) = end.stdout.split_once("\n}\n").expect("a document");
    let document = json::parse(&format!("{document}\n}}")).expect("a document");
    let lo = devices
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"))
        .expect("the counters of lo");
    let mut counters = lo.split_whitespace().map(|n| n.parse().expect("a number"));
    let (bytes, packets) = (counters.next(), counters.next());
    (document, bytes.unwrap(), packets.unwrap())
}

fn the_interface_agrees(args: &str, streams: u64) {
    let (document, bytes, packets) = moved(args);
    let payload = bytes - HEADERS * packets;
    for sum in ["sum_sent", "sum_received"] {
        let counted = int(&document, &format!("/end/{sum}/bytes")).unwrap();
        let counted = u64::try_from(counted).unwrap();
        assert!(
            payload.abs_diff(counted) <= BLOCK * streams,
            "{args}: {sum} {counted}, on the wire {payload} ({bytes} in {packets} packets)"
        );
        assert!(counted >= AMOUNT, "{args}: {sum} {counted}");
    }
}

#[test]
fn one_stream() {
    the_interface_agrees("", 1);
}

#[test]
fn four_streams_that_the_server_sends() {
    the_interface_agrees("-P 4 -R", 4);
}

#[test]
fn without_copies() {
    the_interface_agrees("-Z", 1);
    the_interface_agrees("-Z --skip-rx-copy", 1);
}

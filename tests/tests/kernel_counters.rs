//! The reported amounts are those that crossed the network, by the counters of an interface without other traffic.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::process::Command;

use iperf_harness::json::{self, int};
use iperf_harness::{HANG, Peer, Running};

/// Bytes of a test.
const AMOUNT: u64 = 64 << 20;
/// The default block.
const BLOCK: u64 = 128 << 10;
/// Bytes of an IPv4 and a TCP header with timestamps, as the loopback interface counts them with each packet.
const HEADERS: u64 = 20 + 32;

/// The outcome of a test in a network namespace of its own.
struct KernelCounts {
    document: serde_json::Value,
    /// What the loopback interface received.
    bytes: u64,
    packets: u64,
    /// Segments that TCP sent again.
    again: u64,
}

/// Runs a test of `AMOUNT` bytes.
fn run(args: &str) -> KernelCounts {
    // Without probes for lost tails, which on a busy machine are sent although nothing is lost.
    let script = r#"ip link set lo up && echo 0 > /proc/sys/net/ipv4/tcp_early_retrans &&
        "$0" --loopback -J "$@" && cat /proc/net/dev /proc/net/snmp"#;
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--map-root-user", "sh", "-c", script])
        .arg(Peer::Ours.path())
        .args(["-n", &AMOUNT.to_string()])
        .args(args.split_whitespace());
    let end = Running::start(command).finish(HANG);
    assert!(end.succeeded(), "{end}");
    let (document, kernel) = end.stdout.split_once("\n}\n").expect("a document");
    let document = json::parse(&format!("{document}\n}}")).expect("a document");
    let lo = kernel
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"))
        .expect("the counters of lo");
    let mut counters = lo.split_whitespace().map(|n| n.parse().expect("a number"));
    let (bytes, packets) = (counters.next(), counters.next());
    KernelCounts {
        document,
        bytes: bytes.expect("bytes"),
        packets: packets.expect("packets"),
        again: tcp_counter(kernel, "RetransSegs"),
    }
}

/// A counter of `/proc/net/snmp`: a line of names, then one of numbers.
fn tcp_counter(snmp: &str, name: &str) -> u64 {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, numbers) = (lines.next().expect("names"), lines.next().expect("numbers"));
    let mut pairs = names.split(' ').zip(numbers.split(' '));
    let (_, number) = pairs.find(|(key, _)| *key == name).expect("the counter");
    number.parse().expect("a number")
}

fn the_interface_agrees(args: &str, streams: u64) {
    // What TCP sent twice the interface counted twice, so that only a run without it can be compared.
    let mut runs = (0..20).map(|_| run(args));
    let clean = runs.find(|run| run.again == 0);
    let KernelCounts {
        document,
        bytes,
        packets,
        ..
    } = clean.expect("a run in which nothing was sent twice");
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
fn the_interface_counts_one_stream() {
    the_interface_agrees("", 1);
}

#[test]
fn the_interface_counts_four_streams_from_the_server() {
    the_interface_agrees("-P 4 -R", 4);
}

#[test]
fn the_interface_counts_zero_copy_streams() {
    the_interface_agrees("-Z", 1);
    the_interface_agrees("-Z --skip-rx-copy", 1);
}

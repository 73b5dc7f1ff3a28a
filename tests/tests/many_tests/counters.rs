//! What the kernel counts on the loopback interface of a namespace, beside what the tests in it report.

use iperf_harness::Problems;
use iperf_harness::json::{int, list};
use iperf_harness::netns::Namespace;
use serde_json::Value;

/// Bytes of an IPv4 and a TCP header with timestamps; SYN segments have 8 more.
const TCP_HEADERS: i64 = 20 + 32;
const UDP_HEADERS: i64 = 20 + 8;
/// What a control connection carries for a test, with the output of 64 KiB that one end may send to the other.
const CONTROL: i64 = 96 << 10;
/// A segment that is sent again has at most this many bytes.
const SEGMENT: i64 = 64 << 10;

/// Counters of a namespace, or how they have grown.
#[derive(Debug)]
pub(crate) struct Counters {
    bytes: i64,
    packets: i64,
    datagrams_in: i64,
    datagrams_out: i64,
    sent_again: i64,
}

/// What documents report together.
#[derive(Debug, Default)]
struct Reported {
    tests: i64,
    tcp_sent: i64,
    tcp_received: i64,
    datagrams_sent: i64,
    datagrams_received: i64,
    /// Each stream of datagrams begins with a hello and its answer.
    hellos: i64,
}

impl Counters {
    pub(crate) fn of(namespace: &Namespace) -> Self {
        let dev = namespace.run("cat", &["/proc/net/dev"]);
        let lo: Vec<i64> = dev
            .lines()
            .find_map(|line| line.trim().strip_prefix("lo:"))
            .expect("the counters of lo")
            .split_whitespace()
            .map(|number| number.parse().expect("a number"))
            .collect();
        let counter = |name| i64::try_from(namespace.counter(name)).expect("a small number");
        Self {
            bytes: lo[0],
            packets: lo[1],
            datagrams_in: counter("UdpInDatagrams"),
            datagrams_out: counter("UdpOutDatagrams"),
            sent_again: counter("TcpRetransSegs"),
        }
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            bytes: self.bytes - before.bytes,
            packets: self.packets - before.packets,
            datagrams_in: self.datagrams_in - before.datagrams_in,
            datagrams_out: self.datagrams_out - before.datagrams_out,
            sent_again: self.sent_again - before.sent_again,
        }
    }

    /// Every datagram that an end reports was one of the kernel's, and the bytes of TCP on the interface lie between those
    /// that arrived in time to be counted and those that were sent. A hello that was repeated is one more, with its answer.
    pub(crate) fn check(&self, documents: &[Value], repeated: usize, f: &mut Problems) {
        let repeated = 2 * i64::try_from(repeated).expect("a small number");
        let is_all =
            |counted: i64, reported: i64| (reported..=reported + repeated).contains(&counted);
        let reported = Reported::of(documents);
        f.holds(
            format!("datagrams sent, by the kernel {self:?} and the documents {reported:?}"),
            is_all(
                self.datagrams_out,
                reported.datagrams_sent + reported.hellos,
            ),
        );
        f.holds(
            format!("datagrams received, by the kernel {self:?} and the documents {reported:?}"),
            is_all(
                self.datagrams_in,
                reported.datagrams_received + reported.hellos,
            ),
        );
        let of_udp = reported.datagram_bytes(documents) + UDP_HEADERS * self.datagrams_out;
        let of_tcp = self.bytes - of_udp - TCP_HEADERS * (self.packets - self.datagrams_out);
        let most = reported.tcp_sent + CONTROL * reported.tests + SEGMENT * self.sent_again;
        f.holds(
            format!(
                "TCP carried {of_tcp} bytes, by the kernel {self:?} and the documents {reported:?}"
            ),
            (reported.tcp_received..=most).contains(&of_tcp),
        );
    }
}

impl Reported {
    fn of(documents: &[Value]) -> Self {
        let mut all = Self::default();
        for document in documents {
            let (sent, received) = (both(document, "sum_sent"), both(document, "sum_received"));
            all.tests += 1;
            if let Some(block) = block_of_udp(document) {
                all.datagrams_sent += sent / block;
                all.datagrams_received += received / block;
                let streams = list(document, "/start/connected").len();
                all.hellos += 2 * i64::try_from(streams).expect("a small number");
            } else {
                all.tcp_sent += sent + omitted(document);
                all.tcp_received += received;
            }
        }
        all
    }

    /// Bytes of datagrams that were sent, with hellos.
    fn datagram_bytes(&self, documents: &[Value]) -> i64 {
        let tests = documents.iter().filter(|it| block_of_udp(it).is_some());
        tests.map(|it| both(it, "sum_sent")).sum::<i64>() + 4 * self.hellos
    }
}

/// A sum of a test in both directions.
fn both(document: &Value, sum: &str) -> i64 {
    ["", "_bidir_reverse"]
        .iter()
        .filter_map(|direction| int(document, &format!("/end/{sum}{direction}/bytes")))
        .sum()
}

/// Bytes of the intervals that a test's sums leave out (`-O`).
fn omitted(document: &Value) -> i64 {
    list(document, "/intervals")
        .iter()
        .filter(|interval| interval.pointer("/sum/omitted") == Some(&Value::Bool(true)))
        .filter_map(|interval| int(interval, "/sum/bytes"))
        .sum()
}

/// The size of a test's datagrams, if it has some.
fn block_of_udp(document: &Value) -> Option<i64> {
    let protocol = document.pointer("/start/test_start/protocol")?;
    let block = int(document, "/start/test_start/blksize")?;
    (protocol == "UDP").then_some(block)
}

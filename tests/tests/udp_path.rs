//! UDP over a path that takes packets of 1500 bytes: what goes together must be cut as if each datagram had gone alone.

use std::time::Duration;

use iperf_harness::json::{int, text};
use iperf_harness::netns::{Namespace, wire};
use iperf_harness::pair::{udp_pair, words};
use iperf_harness::{HANG, Peer, Problems, Running, Server, priority};
use serde_json::Value;

const MTU: u64 = 1500;

/// One of the two families of addresses.
struct Family {
    server: &'static str,
    /// Bytes of the IP header and of the header that each fragment has.
    header: u64,
    fragment_header: u64,
    /// The system's count of fragments made.
    counter: &'static str,
}

const V4: Family = Family {
    server: "10.9.0.2",
    header: 20,
    fragment_header: 0,
    counter: "IpFragCreates",
};
const V6: Family = Family {
    server: "fd09::2",
    header: 40,
    fragment_header: 8,
    counter: "Ip6FragCreates",
};

impl Family {
    /// The packets of a datagram with this many bytes.
    fn packets(&self, length: u64) -> u64 {
        let bytes = 8 + length;
        if self.header + bytes <= MTU {
            return 1;
        }
        // All fragments but the last one are a multiple of 8 bytes long.
        bytes.div_ceil((MTU - self.header - self.fragment_header) / 8 * 8)
    }
}

/// Runs a test between the two ends; the documents of the client and of the server.
fn run(ends: &[Namespace; 2], host: &str, args: &str) -> (Value, Value, String) {
    let [client, server] = ends;
    let run = udp_pair(args).host(host).run_as(
        |command| client.enter(&command),
        |command| server.enter(&command),
    );
    let (client, server) = run.documents();
    (client, server, run.to_string())
}

#[test]
fn datagrams_of_every_length_arrive_and_are_cut_as_if_each_went_alone() {
    const COUNT: u64 = 400;
    priority::raise();
    let ends = wire(1500);
    for family in [V4, V6] {
        for length in [16, 1000, 1452, 1453, 1472, 1473, 4000, 30_000] {
            let args = format!("-k {COUNT} -b 100M/20 -l {length}");
            let before = ends[0].counter(family.counter);
            let (client, server, story) = run(&ends, family.server, &args);
            let fragments = ends[0].counter(family.counter) - before;
            let mut f = Problems::new();
            let packets = family.packets(length);
            f.equal(
                "fragments",
                fragments,
                if packets > 1 { COUNT * packets } else { 0 },
            );
            let moved_by = text(&client, "/end/streams/0/udp/moved_by");
            let possible = if packets == 1 { "gso" } else { "sendmmsg" };
            f.equal("moved_by", moved_by, Some(possible));
            for end in [&client, &server] {
                let sum = |key: &str| int(end, &format!("/end/sum_received/{key}"));
                f.equal("bytes", sum("bytes"), i64::try_from(COUNT * length).ok());
                f.equal("packets", sum("packets"), i64::try_from(COUNT).ok());
                f.equal("lost_packets", sum("lost_packets"), Some(0));
            }
            f.into_result(&story)
                .unwrap_or_else(|e| panic!("{length} to {}: {e}", family.server));
        }
    }
}

#[test]
fn the_default_length_fills_a_packet_and_is_batched_by_default() {
    priority::raise();
    let ends = wire(1500);
    for family in [V4, V6] {
        let before = ends[0].counter(family.counter);
        let (client, server, story) = run(&ends, family.server, "-n 4M -b 600M");
        let sent = |key: &str| int(&client, &format!("/end/sum_sent/{key}"));
        let received = |key: &str| int(&server, &format!("/end/sum_received/{key}"));
        let mut f = Problems::new();
        f.equal("fragments", ends[0].counter(family.counter), before);
        f.equal(
            "moved_by",
            text(&client, "/end/streams/0/udp/moved_by"),
            Some("gso"),
        );
        f.equal("packets", received("packets"), sent("packets"));
        f.equal("bytes", received("bytes"), sent("bytes"));
        f.equal("lost", received("lost_packets"), Some(0));
        f.into_result(&story)
            .unwrap_or_else(|e| panic!("{}: {e}", family.server));
    }
}

/// The longest nap of a receiving client, in microseconds, which is never beyond the limit.
fn longest_nap(ends: &[Namespace; 2], args: &str) -> i64 {
    let (client, _, story) = run(ends, V4.server, &format!("-R -t 1 {args}"));
    let stream = |key: &str| int(&client, &format!("/end/streams/0/udp/{key}"));
    let longest = stream("rcv_nap_us");
    let mut f = Problems::new();
    f.positive("packets", stream("packets"));
    f.holds(
        format!("a nap of {longest:?} us"),
        longest.is_some_and(|longest| (0..=500).contains(&longest)),
    );
    f.into_result(&story)
        .unwrap_or_else(|e| panic!("{args}: {e}"));
    longest.unwrap_or_default()
}

/// A receiving client reports how it was woken.
#[test]
fn receivers_nap_at_high_rates_unless_that_is_turned_off() {
    let ends = wire(1500);
    // One that is behind its sender all the time never waits, so it does not nap either.
    for args in ["-b 500M -l 1448", "-b 500M -l 1448 --no-gso"] {
        let naps = (0..8).any(|_| longest_nap(&ends, args) > 0);
        assert!(naps, "no nap in any of the tests: {args}");
    }
    longest_nap(&ends, "-b 0 -l 1448");
    for args in [
        "-b 0 -l 1448 --rcv-lowat off",
        // Less in all than a receiver looks at the clock for. At more, what a busy machine sends late arrives as a burst.
        "-b 400K -l 1448",
    ] {
        assert_eq!(longest_nap(&ends, args), 0, "{args}");
    }
}

/// A path that gets narrower during a test: the system refuses to cut a packet into segments that no longer fit.
#[test]
fn a_path_that_shrinks_ends_offload_and_not_the_test() {
    priority::raise();
    let ends = wire(1500);
    let server = Server::start_with(Peer::Ours, &["-1", "-J"], |command| ends[1].enter(&command));
    let mut command = Peer::Ours.command();
    let port = server.port().to_string();
    command.args(["-J", "-c", V4.server, "-p", &port]);
    command.args(words("-u -t 3 -b 50M/20 -l 1400"));
    let client = Running::start(ends[0].enter(&command));
    std::thread::sleep(Duration::from_millis(1200));
    ends[0].run("ip", &["link", "set", "left", "mtu", "1300"]);
    let (client, server) = (client.finish(HANG), server.finish(HANG));
    let story = format!("{client}{server}");
    let mut f = Problems::new();
    let document = client.document();
    f.equal(
        "moved_by",
        text(&document, "/end/streams/0/udp/moved_by"),
        Some("sendmmsg"),
    );
    let sum = |key: &str| int(&document, &format!("/end/{key}"));
    f.equal("lost", sum("sum_received/lost_packets"), Some(0));
    f.equal(
        "packets",
        sum("sum_received/packets"),
        sum("sum_sent/packets"),
    );
    f.positive("fragments", i64::try_from(ends[0].counter(V4.counter)).ok());
    f.into_result(&story).unwrap_or_else(|e| panic!("{e}"));
}

//! Blocks above iperf3's largest, 1 MiB: between two ends of this program all of their bytes arrive, in bounded memory;
//! they are not requested from an iperf3 server.

use std::time::Duration;

use iperf_harness::json::{self, int, list};
use iperf_harness::pair::start_client;
use iperf_harness::process::wait_for;
use iperf_harness::proxy::{HalfClose, Vmm};
use iperf_harness::{Finished, HANG, Peer, Problems, Server, procfs};
use nix::sys::signal::Signal;

const MIB: i64 = 1 << 20;

/// Both ends' documents report this many bytes as sent, and all of them as received.
fn check(args: &str, sent: i64, client: &Finished, server: &Finished) {
    let mut f = Problems::new();
    f.holds(
        "both ends succeed",
        client.succeeded() && server.succeeded(),
    );
    let document = json::parse(&client.stdout).unwrap_or_default();
    for sum in ["sum_sent", "sum_received"] {
        f.equal(
            sum,
            int(&document, &format!("/end/{sum}/bytes")),
            Some(sent),
        );
    }
    f.holds(
        "there are streams",
        !list(&document, "/end/streams").is_empty(),
    );
    f.assert_none(format!("{args}\n{client}{server}"));
}

#[test]
fn blocks_of_16_mib_arrive_over_tcp() {
    for (args, sent) in [
        ("-l 16M --verify -k 4", 64),
        ("-l 16M --verify -k 4 -R", 64),
        ("-l 16M --verify -k 4 -Z", 64),
        ("-l 16M --verify -k 4 -Z -R", 64),
        ("-l 16M --verify -k 2 --zerocopy=msg --zerocopy-rx=off", 32),
        ("-l 16M --verify -k 2 --zerocopy=splice", 32),
        ("-l 16M -k 4 --zerocopy-rx=splice", 64),
        ("-l 3M --verify -k 8 -P 4", 24),
        ("-l 2M --verify -k 8 --bidir", 16),
    ] {
        let server = Server::start(Peer::Ours, &["-1", "-J"]);
        let client = start_client(Peer::Ours, server.port(), &format!("-J {args}")).finish(HANG);
        check(args, sent * MIB, &client, &server.finish(HANG));
    }
}

#[test]
fn blocks_of_16_mib_arrive_through_a_vmm() {
    const PORT: u32 = 5300;
    for args in ["-l 16M --verify -k 2", "-l 16M --verify -k 2 -Z -R"] {
        let vmm = Vmm::start(HalfClose::Passed, Duration::ZERO);
        let server = vmm.serve(PORT, "-1 -J");
        let client = vmm.client(PORT, &format!("-J {args}")).finish(HANG);
        check(args, 32 * MIB, &client, &server.finish(HANG));
        vmm.finish();
    }
}

#[test]
fn iperf3s_servers_are_not_sent_larger_blocks_than_they_take() {
    for peer in [Peer::New, Peer::Old] {
        for args in ["-l 16M -n 1M", "-l 1048577 -n 1M -R"] {
            let server = Server::start(peer, &[]);
            let client = start_client(Peer::Ours, server.port(), args).finish(HANG);
            assert_eq!(client.code(), Some(1), "{client}");
            // The servers' own check, or ours.
            let reasons = [
                "block size too large (maximum = 1048576 bytes)",
                "-l above 1M needs iperf at both ends, and the server is another program",
            ];
            let is_told = reasons.iter().any(|reason| client.stderr.contains(reason));
            assert!(is_told, "{client}");
            // No data stream was opened.
            assert!(!client.stdout.contains("local "), "{client}");
        }
    }
}

/// A server's buffers do not grow with what its clients call a block; as a sender it has one block of each stream.
#[test]
fn memory_is_bounded() {
    for (args, most_mib) in [("-l 16M -P 16", 64), ("-l 16M -P 16 -R", 64)] {
        let server = Server::start(Peer::Ours, &["-1"]);
        let client = start_client(Peer::Ours, server.port(), &format!("-t 600 {args}"));
        let connected = || (procfs::open_files(server.id()) > 16).then_some(());
        wait_for(HANG, connected).expect("the streams are connected");
        std::thread::sleep(Duration::from_millis(800));
        let mib = procfs::resident_kib(server.id()) >> 10;
        client.signal(Signal::SIGINT);
        let client = client.finish(HANG);
        let ended = "the client has terminated";
        assert!(client.stderr.contains(ended), "{client}");
        assert!(mib < most_mib, "{args}: {mib} MiB");
    }
    let server = Server::start(Peer::Ours, &[]);
    let client = start_client(Peer::Ours, server.port(), "-t 1 -l 16M -P 17");
    let client = client.finish(HANG);
    assert_eq!(client.code(), Some(1), "{client}");
    let reason = "-l 16777216 with -P 17: blocks above 1048576 bytes may have 268435456 bytes";
    assert!(client.stderr.contains(reason), "{client}");
}

//! Many streams, also more than iperf3 has: they are opened many at a time, share threads, and each still carries its own data.

use std::collections::BTreeSet;
use std::process::Command;
use std::thread;
use std::time::Duration;

use iperf_harness::json::{int, list};
use iperf_harness::pair::{run_client, start_client, tcp_pair};
use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer, Problems, Running, Server, procfs};
use nix::sys::signal::Signal;

/// Each stream of a test with `--verify` has a pattern of its own, so a stream in another's place would be noticed.
fn carry_their_own_data(args: &str, streams: usize) {
    let run = tcp_pair("-l 16K").client_args(args).run();
    let (mut f, mut sums) = (Problems::new(), Vec::new());
    run.check_success(&mut f);
    for (end, finished) in [("client", &run.client), ("server", &run.server)] {
        let document = finished.document();
        let rows = list(&document, "/end/streams");
        f.equal(format!("{end}: streams"), rows.len(), streams);
        let idle = rows.iter().filter(|row| {
            let bytes = |side| int(row, &format!("/{side}/bytes"));
            ["sender", "receiver"]
                .iter()
                .all(|side| bytes(side) == Some(0))
        });
        f.equal(
            format!("{end}: streams that carried nothing"),
            idle.count(),
            0,
        );
        let ids: BTreeSet<_> = rows.iter().map(|row| int(row, "/sender/socket")).collect();
        f.equal(format!("{end}: different streams"), ids.len(), streams);
        let sum =
            ["sum_sent", "sum_received"].map(|sum| int(&document, &format!("/end/{sum}/bytes")));
        sums.push((end, sum));
    }
    // A server knows its own half.
    let [client_sums, server_sums] = [sums[0].1, sums[1].1];
    let own = usize::from(!args.contains("-R"));
    f.equal("all that is sent arrives", client_sums[0], client_sums[1]);
    f.equal("both ends agree", server_sums[own], client_sums[own]);
    let errors = [&run.client, &run.server]
        .map(|end| end.stderr.clone())
        .join("");
    f.assert_none(format!("{args}\n{errors}"));
}

#[test]
fn hundreds_of_streams_carry_their_own_data() {
    carry_their_own_data("-P 200 --verify -k 12800", 200);
    carry_their_own_data("-P 1000 -k 64000", 1000);
}

/// Streams that share a thread at one end or at both, whose turns are of one block or of many.
#[test]
fn dozens_of_streams_carry_their_own_data() {
    carry_their_own_data("-P 64 --verify -k 12800", 64);
    carry_their_own_data("-P 64 --verify -l 100 -k 128000 -R", 64);
    carry_their_own_data("-P 24 --verify -l 1K -k 48000 --bidir", 48);
}

#[test]
fn reverse_streams_carry_their_own_data() {
    carry_their_own_data("-P 200 -R --verify -k 12800", 200);
}

#[test]
fn iperf3s_servers_get_no_request_beyond_their_options() {
    for (peer, args) in [(Peer::New, "-P 129"), (Peer::Old, "-P 1000 -R")] {
        let server = Server::start(peer, &[]);
        let client = run_client(Peer::Ours, server.port(), &format!("-t 1 {args}"));
        assert_eq!(client.code(), Some(1), "{client}");
        // The servers' own check, or ours.
        let reasons = [
            "invalid number of parallel streams (min = 1, max = 128)",
            "-P above 128 needs iperf at both ends, and the server is another program",
        ];
        let is_told = reasons.iter().any(|reason| client.stderr.contains(reason));
        assert!(is_told, "{client}");
    }
}

#[test]
fn a_limit_of_open_files_that_does_not_suffice_is_named() {
    let server = Server::start(Peer::Ours, &[]);
    let mut command = Command::new("prlimit");
    command
        .args(["--nofile=200:200", "--"])
        .arg(Peer::Ours.path())
        .args(["-c", "127.0.0.1", "-t", "1", "-P", "300", "-p"])
        .arg(server.port().to_string());
    let client = Running::start(command).finish(HANG);
    assert_eq!(client.code(), Some(1), "{client}");
    for words in ["RLIMIT_NOFILE", "300 streams need", "the hard limit is 200"] {
        assert!(client.stderr.contains(words), "{client}");
    }
}

#[test]
fn a_server_with_too_few_open_files_names_its_limit_to_its_own_clients() {
    let server = Server::start_with(Peer::Ours, &[], |command| {
        let mut limited = Command::new("prlimit");
        limited.args(["--nofile=60:60", "--"]);
        limited.arg(command.get_program()).args(command.get_args());
        limited
    });
    for args in ["-t 1 -P 100", "-t 1 -P 100 -R -u", "-t 1 -P 100 --rr"] {
        let client = run_client(Peer::Ours, server.port(), args);
        assert_eq!(client.code(), Some(1), "{client}");
        for words in ["100 streams need", "the limit is 60", "ulimit -n"] {
            assert!(client.stderr.contains(words), "{args}: {client}");
        }
    }
    let client = run_client(Peer::New, server.port(), "-t 1 -P 100");
    let told = "unable to accept stream connection";
    assert!(client.stderr.contains(told), "{client}");
    assert!(!client.stderr.contains("ulimit"), "{client}");
    let client = run_client(Peer::Ours, server.port(), "-t 1");
    assert!(client.succeeded(), "{client}");
}

/// The threads of a sending client.
fn threads_of_a_client(streams: usize) -> usize {
    let server = Server::start(Peer::New, &["-1"]);
    let args = format!("-t 600 -P {streams} -i 0");
    let client = start_client(Peer::Ours, server.port(), &args);
    let flows = || (procfs::open_files(client.id()) > streams).then_some(());
    let all = wait_for(HANG, flows);
    assert!(all.is_some(), "the streams are not connected");
    thread::sleep(Duration::from_millis(500));
    let threads = procfs::threads(client.id());
    client.signal(Signal::SIGINT);
    let client = client.finish(HANG);
    usize::try_from(threads).unwrap_or_else(|_| panic!("{threads} threads\n{client}"))
}

#[test]
fn senders_have_a_thread_each_up_to_eight_per_processor() {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let most = (8 * processors).min(120);
    let (each, shared) = (threads_of_a_client(most), threads_of_a_client(most + 1));
    assert!(each > most, "{most} streams: {each} threads");
    if most == 8 * processors {
        assert!(
            shared < processors + 6,
            "{} streams: {shared} threads",
            most + 1
        );
    }
}

/// What two ends with a thousand connections have while data flows: threads, and KiB of memory. The client's comes first.
fn with_a_thousand(args: &str) -> [(u64, u64); 2] {
    let server = Server::start(Peer::Ours, &["-1"]);
    let args = format!("-t 600 -P 1000 -i 0 {args}");
    let client = start_client(Peer::Ours, server.port(), &args);
    let ids = [client.id(), server.id()];
    let connected = || (procfs::open_files(ids[1]) > 1000).then_some(());
    let all = wait_for(HANG, connected);
    assert!(all.is_some(), "the streams are not connected");
    thread::sleep(Duration::from_secs(1));
    let have = ids.map(|id| (procfs::threads(id), procfs::resident_kib(id)));
    client.signal(Signal::SIGINT);
    let (client, server) = (client.finish(HANG), server.finish(HANG));
    let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
    for (threads, _) in have {
        assert!(
            threads < 16 + processors,
            "{args}: {have:?}\n{client}{server}"
        );
    }
    have
}

#[test]
fn a_thousand_streams_need_few_threads_and_little_memory() {
    let [_, (_, kib)] = with_a_thousand("");
    // At most 16 KiB per stream. Without streams it is about 12 MiB, in a debug build.
    assert!(kib < 16 * 1024 + 16_000, "{kib} KiB");
}

#[test]
fn a_thousand_exchanges_need_few_threads() {
    let [_, (_, kib)] = with_a_thousand("--rr");
    assert!(kib < 16 * 1024 + 16_000, "{kib} KiB");
    let [(_, kib), _] = with_a_thousand("--rr -R");
    assert!(kib < 16 * 1024 + 16_000, "{kib} KiB");
}

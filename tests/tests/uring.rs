//! `--io=uring`: data flows through io_uring where the kernel has it, by system calls elsewhere, and both ends report which.

use std::process::Command;
use std::thread;

use iperf_harness::json::{int, list, text};
use iperf_harness::pair::tcp_pair;
use iperf_harness::{HANG, Peer, Problems, Running, Server};
use iperf_zc::probe;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::Value;

/// What each end that moves TCP streams by copy is to report here.
fn expected() -> (&'static str, Option<String>) {
    match probe::uring_support() {
        Ok(()) => ("uring", None),
        Err(reason) => ("calls", Some(reason.to_string())),
    }
}

/// What an end reports of its own side of a stream.
fn reported(stream: &Value) -> (&str, Option<String>) {
    let own = if stream["sender"]["io"].is_object() {
        "sender"
    } else {
        "receiver"
    };
    let used = text(stream, &format!("/{own}/io/used")).unwrap_or("nothing");
    let reason = text(stream, &format!("/{own}/io/reason"));
    (used, reason.map(str::to_owned))
}

/// Runs a test with io_uring at both ends, and checks that every byte arrived and that each stream of each end reports
/// `wanted`.
fn both_report(args: &str, wanted: &(&str, Option<String>)) {
    let pair = tcp_pair("--io=uring").server_args("--io=uring");
    let run = pair.client_args(args).run();
    let mut f = Problems::new();
    run.check_success(&mut f);
    let (client, server) = run.documents();
    for (end, document) in [("client", &client), ("server", &server)] {
        let streams = list(document, "/end/streams");
        f.holds(format!("{end}: there are streams"), !streams.is_empty());
        for stream in streams {
            f.equal(format!("{end}: io"), &reported(stream), wanted);
        }
    }
    let sum = |sum| int(&client, &format!("/end/{sum}/bytes"));
    f.holds("something was sent", sum("sum_sent") > Some(0));
    if args.contains("-n") || args.contains("-k") {
        f.equal("bytes", sum("sum_received"), sum("sum_sent"));
    }
    f.assert_none(format!("{args}\n{}{}", run.client, run.server));
}

#[test]
fn data_arrives_as_it_was_sent() {
    for args in [
        "-n 200M --verify",
        "-n 200M --verify -R",
        "-n 50M -P 3 --verify --bidir",
        "-k 20000 -l 64 --verify",
        "-n 20M -l 4K -O 1 --verify",
        "-t 1 -b 100M --verify",
    ] {
        both_report(args, &expected());
    }
}

#[test]
fn a_test_ends_in_time() {
    for args in ["-t 1", "-t 1 -R", "-t 1 -P 4 --bidir", "-t 1 -l 1M -N"] {
        both_report(args, &expected());
    }
}

#[test]
fn blocks_are_sent_without_a_copy_and_accounted() {
    let pair = tcp_pair("--io=uring --zerocopy=msg -n 100M -V").server_args("--io=uring");
    let run = pair.run();
    let mut f = Problems::new();
    run.check_success(&mut f);
    let (client, _) = run.documents();
    let stream = &list(&client, "/end/streams")[0];
    f.equal("io", reported(stream), expected());
    let count = |key: &str| int(stream, &format!("/sender/zerocopy/{key}")).unwrap_or(-1);
    let bytes = count("bytes_copied") + count("bytes_not_copied");
    f.equal("all bytes", Some(bytes), int(stream, "/sender/bytes"));
    f.holds("completions", count("completions") > 0);
    f.assert_none(run.client.to_string());
}

#[test]
fn what_goes_by_system_calls_is_reported_with_the_reason() {
    for (args, reason) in [
        (
            "-t 1 -P 2 --threads 1",
            "streams that share a thread make system calls",
        ),
        ("-t 1 -Z", "there is no splice through io_uring"),
    ] {
        let run = tcp_pair("--io=uring").client_args(args).run();
        let (client, _) = run.documents();
        for stream in list(&client, "/end/streams") {
            let wanted = ("calls", Some(reason.to_owned()));
            assert_eq!(reported(stream), wanted, "{args}: {}", run.client);
        }
    }
    let server = Server::start(Peer::Ours, &["-1"]);
    let mut client = Peer::Ours.command();
    let port = server.port().to_string();
    client.args([
        "-c",
        "127.0.0.1",
        "-p",
        &port,
        "-u",
        "-t",
        "1",
        "--io=uring",
    ]);
    let client = Running::start(client).finish(HANG);
    let line = "io: tx calls (io_uring moves TCP streams only)";
    assert!(client.stdout.contains(line), "{client}");
}

/// Starts a command that may not set up io_uring, as in a container with the usual filter.
fn start_without_uring(command: Command) -> Running {
    let filter = SeccompFilter::new(
        [(nix::libc::SYS_io_uring_setup, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(nix::libc::EPERM.cast_unsigned()),
        std::env::consts::ARCH.try_into().expect("a known machine"),
    );
    let filter = BpfProgram::try_from(filter.expect("a filter")).expect("a program");
    // The filter is the thread's, and its children's.
    let start = move || {
        apply_filter(&filter).expect("a filter for this thread");
        Running::start(command)
    };
    thread::spawn(start).join().expect("a started command")
}

#[test]
fn a_filter_that_forbids_io_uring_is_named() {
    let server = Server::start(Peer::Ours, &["-1"]);
    let mut command = Peer::Ours.command();
    command.args(["-c", "127.0.0.1", "-p", &server.port().to_string()]);
    command.args(["-n", "10M", "--verify", "--io=uring"]);
    let client = start_without_uring(command).finish(HANG);
    assert_eq!(client.code(), Some(0), "{client}");
    let line = "io: tx calls (io_uring_setup: Operation not permitted)";
    assert!(client.stdout.contains(line), "{client}");
}

/// The kernel of this machine stays as it is: a file takes the place of the sysctl, and a filter that of what the kernel does
/// about it.
#[test]
fn a_sysctl_that_forbids_io_uring_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    for (value, reason) in [
        (
            "1",
            "1: it takes CAP_SYS_ADMIN or a group (kernel.io_uring_group)",
        ),
        ("2", "2"),
    ] {
        let sysctl = directory.path().join(value);
        std::fs::write(&sysctl, format!("{value}\n")).expect("a file");
        let server = Server::start(Peer::Ours, &["-1"]);
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .arg("mount --bind \"$0\" /proc/sys/kernel/io_uring_disabled && exec \"$@\"")
            .arg(&sysctl)
            .arg(Peer::Ours.path())
            .args(["-c", "127.0.0.1", "-p", &server.port().to_string()])
            .args(["-n", "10M", "--verify", "--io=uring"]);
        let client = start_without_uring(command).finish(HANG);
        assert_eq!(client.code(), Some(0), "{client}");
        let line = format!(
            "io: tx calls (io_uring_setup: Operation not permitted, since the sysctl kernel.io_uring_disabled is {reason})"
        );
        assert!(client.stdout.contains(&line), "{line}\n{client}");
    }
}

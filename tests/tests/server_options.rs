//! What a server allows and for how long it waits: limits of rate and time, `-1`, the idle time-out.

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

use iperf_harness::pair::run_client;
use iperf_harness::process::wait_for;
use iperf_harness::service::serves;
use iperf_harness::wire::{Raw, RawClient};
use iperf_harness::{HANG, Peer, Problems, Server, parallel};

const TOO_FAST: &str = "total required bandwidth is larger than server limit";

/// A client and a server with limits.
struct Case {
    server: &'static str,
    client: Peer,
    args: &'static str,
    /// The client's error; `None` when it is served.
    refused: Option<&'static str>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} client {}, server {}",
            self.client, self.args, self.server
        )
    }
}

impl Case {
    fn check(&self) -> Result<(), String> {
        let args: Vec<&str> = self.server.split_whitespace().collect();
        let server = Server::start(Peer::Ours, &args);
        let client = run_client(self.client, server.port(), self.args);
        if self.refused.is_some() {
            server.wait_for_complaint("error - ");
        }
        let end = server.stop();
        let mut f = Problems::new();
        if let Some(refused) = self.refused {
            // 3.12 ends well when it writes JSON, whatever happens.
            let forgiving = self.client == Peer::Old && self.args.contains("-J");
            f.equal("exit code", client.code(), Some(i32::from(!forgiving)));
            let said = client.complaint();
            // A real client that sends may see its data connection end before it reads why.
            let cut =
                self.client != Peer::Ours && said.contains("unable to write to stream socket");
            f.holds(
                format!("the client reports {said:?}"),
                said.contains(refused) || cut,
            );
            f.holds("the server reports why", end.stderr.contains("error - "));
        } else {
            f.holds("the client succeeds", client.succeeded());
        }
        f.holds("the client ends by itself", !client.timed_out);
        f.into_result(format!("{client}{end}"))
    }
}

fn for_all(server: &'static str, rows: &[(&'static str, Option<&'static str>)]) {
    let mut cases = Vec::new();
    for &(args, refused) in rows {
        for client in [Peer::Ours, Peer::New, Peer::Old] {
            cases.push(Case {
                server,
                client,
                args,
                refused,
            });
        }
    }
    parallel::each(&cases, 8, Case::check);
}

#[test]
fn rates_above_the_limit_are_refused() {
    for_all(
        "--server-bitrate-limit 10M",
        &[
            ("-t 1 -b 10M", None),
            ("-t 1 -b 5M --bidir", None),
            ("-t 1 -b 11M", Some(TOO_FAST)),
            ("-t 1 -b 11M -J", Some(TOO_FAST)),
            ("-t 1 -b 6M -P 2", Some(TOO_FAST)),
            ("-t 1 -b 6M --bidir", Some(TOO_FAST)),
            ("-t 1 -u -b 11M", Some(TOO_FAST)),
        ],
    );
}

#[test]
fn a_test_that_gets_too_fast_is_ended() {
    for_all(
        "--server-bitrate-limit 10M/1",
        &[("-t 5", Some(TOO_FAST)), ("-t 5 -R", Some(TOO_FAST))],
    );
}

/// The window belongs to the server: it has room for two of these tests, each of which is far shorter.
#[test]
fn short_tests_add_up_to_the_limit_of_the_rate() {
    for client in [Peer::Ours, Peer::New] {
        let server = Server::start(Peer::Ours, &["--server-bitrate-limit", "10M/60"]);
        let mut f = Problems::new();
        for (test, refused) in [(1, false), (2, false), (3, true)] {
            // A server that still ends the last client's test is busy.
            // The one that is to be refused takes 4 s, so that it is not over before the server looks at it.
            let slowly = if refused { "--fq-rate 60M" } else { "" };
            let end = loop {
                let end = run_client(client, server.port(), &format!("-n 30M -J {slowly}"));
                if !end.complaint().contains("busy") {
                    break end;
                }
            };
            let said = end.complaint();
            let cut = client != Peer::Ours && said.contains("unable to write to stream socket");
            let as_expected = if refused {
                said.contains(TOO_FAST) || cut
            } else {
                said.is_empty()
            };
            f.holds(format!("test {test} of {client}: {said:?}"), as_expected);
        }
        server.wait_for_complaint(TOO_FAST);
        let end = server.stop();
        f.holds("the server reports why", end.stderr.contains(TOO_FAST));
        f.assert_none(end);
    }
}

#[test]
fn tests_above_the_longest_are_refused() {
    let text = Some("client's requested duration exceeds the server's maximum permitted limit");
    let cases = [
        ("-t 2", None),
        ("-t 1 -O 1", None),
        ("-t 3", text),
        ("-t 2 -O 1", text),
        ("-t 0", text),
    ]
    .map(|(args, refused)| Case {
        server: "--server-max-duration 2",
        client: Peer::Ours,
        args,
        refused,
    });
    parallel::each(&cases, cases.len(), Case::check);
    // In iperf3's own words; 3.12 has no such error.
    let real = [
        (Peer::New, Some("maximum permitted")),
        (Peer::Old, Some("error - ")),
    ];
    let cases = real.map(|(client, refused)| Case {
        server: "--server-max-duration 2",
        client,
        args: "-t 3",
        refused,
    });
    parallel::each(&cases, cases.len(), Case::check);
}

#[test]
fn an_idle_server_of_one_test_ends() {
    let server = Server::start(Peer::Ours, &["-1", "--idle-timeout", "1"]);
    let end = server.finish(HANG);
    assert_eq!(end.code(), Some(0), "{end}");
    assert_eq!(end.stderr, "", "{end}");
    assert!(end.took.as_secs_f64() >= 1.0, "{end}");
}

/// Being idle is no reason to end for a server of many tests, and a running test is not idle.
#[test]
fn an_idle_server_of_many_tests_continues() {
    let server = Server::start(Peer::Ours, &["--idle-timeout", "1"]);
    std::thread::sleep(Duration::from_millis(2500));
    serves(server.port(), Peer::Ours, HANG).unwrap();
    let end = server.stop();
    assert_eq!(end.code(), Some(0), "{end}");

    let server = Server::start(Peer::Ours, &["-1", "--idle-timeout", "3"]);
    let client = run_client(Peer::Ours, server.port(), "-t 5 -b 1M");
    let end = server.finish(HANG);
    assert!(client.succeeded() && end.succeeded(), "{client}{end}");
}

/// With `-1` a refused test counts as the one test, and so does one with parameters that can't be read. A handshake that
/// breaks before the parameters does not.
#[test]
fn what_counts_as_the_one_test() {
    let server = Server::start(Peer::Ours, &["-1", "--server-max-duration", "1"]);
    let client = run_client(Peer::Ours, server.port(), "-t 5");
    let end = server.finish(HANG);
    assert_eq!(client.code(), Some(1), "{client}");
    assert_eq!(end.code(), Some(0), "{end}");

    let mut server = Server::start(Peer::Ours, &["-1"]);
    drop(Raw::connect(server.port()));
    Raw::connect(server.port()).send(b"GET / HTTP/1.0\r\n\r\n");
    Raw::connect(server.port()).send(&[b'a'; 37]);
    drop(RawClient::up_to_params(server.port()));
    assert!(
        server.process.is_alive(),
        "{}",
        server.process.stderr_so_far()
    );
    serves(server.port(), Peer::New, HANG).unwrap();
    let end = server.finish(HANG);
    assert_eq!(end.code(), Some(0), "{end}");
}

#[test]
fn unreadable_parameters_count_as_the_one_test() {
    for unreadable in [
        &b"\0\0\0\x05hello"[..],
        b"\0\0\0\0",
        b"\x7f\xff\xff\xff",
        b"GET / HTTP/1.0\r\n\r\n",
    ] {
        let server = Server::start(Peer::Ours, &["-1"]);
        let mut client = RawClient::up_to_params(server.port());
        client.control.send(unreadable);
        assert!(client.control.drain(HANG), "{unreadable:?}");
        let end = server.finish(HANG);
        assert_eq!(end.code(), Some(0), "{unreadable:?}\n{end}");
        assert!(
            end.stderr.contains("unable to receive parameters"),
            "{unreadable:?}\n{end}"
        );
    }
}

/// A local port of data connections has no meaning for a server.
#[test]
fn a_client_port_is_ignored() {
    let server = Server::start(Peer::Ours, &["-1", "--cport", "5555"]);
    serves(server.port(), Peer::Ours, HANG).unwrap();
    let end = server.finish(HANG);
    assert_eq!((end.code(), end.stderr.as_str()), (Some(0), ""), "{end}");
}

/// Times of control connections that a server was given are what its kernel gets.
#[test]
fn keepalive_and_send_timeout_of_a_server_reach_its_control_connections() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("calls");
    let server = Server::start_with(
        Peer::Ours,
        &["-1", "--cntl-ka=50/2/3", "--snd-timeout", "7000"],
        |command| {
            // -D: the server stays the child that the test started.
            let mut traced = Command::new("strace");
            traced.args(["-D", "-f", "-qq", "-e", "trace=setsockopt", "-o"]);
            traced.arg(&log).arg("--").arg(command.get_program());
            traced.args(command.get_args());
            traced
        },
    );
    serves(server.port(), Peer::Ours, HANG).unwrap();
    let end = server.finish(HANG);
    assert!(end.succeeded(), "{end}");
    for option in [
        "TCP_USER_TIMEOUT, [7000]",
        "SO_KEEPALIVE, [1]",
        "TCP_KEEPIDLE, [50]",
        "TCP_KEEPINTVL, [2]",
        "TCP_KEEPCNT, [3]",
    ] {
        let written = wait_for(HANG, || {
            let calls = fs::read_to_string(&log).ok()?;
            calls.contains(option).then_some(())
        });
        let calls = fs::read_to_string(&log).unwrap_or_default();
        assert!(written.is_some(), "{option} is missing in {calls}");
    }
}

/// Linux does not pace MPTCP sockets: the test runs, and a warning says why it is not paced.
#[test]
fn kernel_pacing_over_mptcp_is_a_warning() {
    let server = Server::start(Peer::Ours, &[]);
    let end = run_client(Peer::Ours, server.port(), "-m -n 1M --fq-rate 100M");
    assert!(end.succeeded(), "{end}");
    let warning = "the kernel does not pace the streams (--fq-rate)";
    assert!(end.stderr.contains(warning), "{end}");
}

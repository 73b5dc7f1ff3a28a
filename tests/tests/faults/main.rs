//! Each system call of a short test fails once, with errors that kernels really give. What may come of it is a right result or
//! a clear error, within a deadline: no panic, no hang, no wrong result, and a server that continues.
//!
//! strace makes the calls fail, the N-th one of each thread. The sweep takes long and is run by hand:
//!
//! ```text
//! cargo nextest run -p iperf-tests --config-file tests/nextest.toml --test faults --run-ignored only
//! IPERF_CASE='client -u sendmmsg' …       a part of it, by the text of its cases
//! ```

mod calls;

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

use iperf_harness::pair::{start_client, words};
use iperf_harness::port::Port;
use iperf_harness::process::{Running, wait_for};
use iperf_harness::{Finished, Peer, Server, json, parallel};

/// Longer than every time limit of a short test with `PATIENCE`.
const LIMIT: Duration = Duration::from_secs(75);
/// How many of the calls of a kind are made to fail.
const DEPTH: usize = 4;
/// Keeps a server's waits short that are for networks.
const PATIENCE: &str = "--rcv-timeout 3000 --snd-timeout 3000";
/// What each test moves.
const BYTES: i64 = 512 * 1024;

const MODES: [&str; 9] = [
    "-n 512K",
    "-n 512K -R",
    "-n 512K --bidir -P 2",
    "-n 512K --zerocopy=sendfile",
    "-n 512K -R -Z",
    "-n 512K -u -b 0",
    "-n 512K -u -b 100M -R",
    "-n 50 --rr=64,64",
    "-n 512K --zerocopy=msg",
];

/// Which end's calls fail.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Client,
    Server,
}

/// One call that fails.
#[derive(Clone, Debug)]
struct Case {
    end: End,
    mode: &'static str,
    call: &'static str,
    /// Which of the calls of a thread, from 1.
    number: usize,
    error: &'static str,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            End::Client => "client",
            End::Server => "server",
        };
        let Self {
            mode,
            call,
            number,
            error,
            ..
        } = self;
        write!(f, "{end} {mode} {call} {number} {error}")
    }
}

/// The program under strace.
fn traced(options: &[&str], args: &str) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq"])
        .args(options)
        .arg("--")
        .arg(Peer::Ours.path());
    command.args(words(args));
    command
}

/// strace options that make a call fail.
fn injection(case: &Case) -> [String; 4] {
    let Case {
        call,
        number,
        error,
        ..
    } = case;
    let rule = format!("inject={call}:error={error}:when={number}");
    ["-e".into(), format!("trace={call}"), "-e".into(), rule]
}

fn client_args(port: u16, mode: &str) -> String {
    format!("-c 127.0.0.1 -p {port} -J --connect-timeout 5000 --snd-timeout 3000 {mode}")
}

fn server_args(port: u16) -> String {
    format!("-s -p {port} -1 --forceflush {PATIENCE}")
}

/// No panic, no signal, no hang; a failure has a reason.
fn is_clean(end: &Finished) -> Result<(), String> {
    let loader = end.code() == Some(127) && end.stderr.contains("error while loading");
    let reason = !end.stderr.trim().is_empty() || end.stdout.contains("\"error\"");
    match end.code() {
        _ if end.timed_out => Err("it hangs".to_owned()),
        None => Err("a signal ended it".to_owned()),
        _ if end.stderr.contains("panicked") => Err("it panics".to_owned()),
        Some(0) => Ok(()),
        Some(1) if reason => Ok(()),
        Some(127) if loader => Ok(()),
        Some(code) => Err(format!("exit code {code}, and no reason")),
    }
}

/// A client's success is a right result.
fn is_right(end: &Finished, mode: &str) -> Result<(), String> {
    is_clean(end)?;
    // Its output may be what has failed; without any, it has to fail.
    if end.code() != Some(0) {
        return Ok(());
    }
    let document = json::parse(&end.stdout).map_err(|error| format!("success, but {error}"))?;
    if let Some(error) = json::text(&document, "/error") {
        return Err(format!("success, and yet: {error}"));
    }
    let sums: &[&str] = match mode {
        mode if mode.contains("--rr") => return Ok(()),
        mode if mode.contains("--bidir") => &["", "_bidir_reverse"],
        _ => &[""],
    };
    for sum in sums {
        let bytes = |side: &str| json::int(&document, &format!("/end/sum_{side}{sum}/bytes"));
        let (sent, received) = (bytes("sent"), bytes("received"));
        let is_right = if mode.contains("-u") {
            received <= sent && received > Some(0)
        } else {
            sent >= Some(BYTES) && received <= sent && received > Some(0)
        };
        let whole = mode.contains("-u") || mode.contains("--bidir") || received == sent;
        if !(is_right && whole) {
            return Err(format!(
                "{sent:?} bytes sent and {received:?} received{sum}"
            ));
        }
    }
    Ok(())
}

/// The call did not fail: the program made it less often this time.
const VOID: &str = "the call did not fail";

fn check(case: &Case) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace");
    let name = file.display().to_string();
    let rule = injection(case);
    let options: Vec<&str> = ["-o", &name]
        .into_iter()
        .chain(rule.iter().map(String::as_str))
        .collect();
    match case.end {
        End::Client => check_client(case, &options),
        End::Server => check_server(case, &options),
    }?;
    let trace = fs::read_to_string(&file).unwrap_or_default();
    if trace.contains("(INJECTED)") {
        Ok(())
    } else {
        Err(VOID.to_owned())
    }
}

fn check_client(case: &Case, options: &[&str]) -> Result<(), String> {
    let server = Server::start(
        Peer::Ours,
        &words(PATIENCE)
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    let client =
        Running::start(traced(options, &client_args(server.port(), case.mode))).finish(LIMIT);
    let right = is_right(&client, case.mode).map_err(|problem| format!("{problem}\n{client}"));
    let next = goes_on(server.port())
        .map_err(|problem| format!("afterwards the server fails: {problem}\n{client}"));
    let server = server.stop();
    let clean = is_clean(&server).map_err(|problem| format!("the server: {problem}\n{server}"));
    right.and(next).and(clean)
}

/// Another client is served.
fn goes_on(port: u16) -> Result<(), String> {
    let end = start_client(Peer::Ours, port, "-n 64K -J --wait 30").finish(LIMIT);
    if end.succeeded() {
        Ok(())
    } else {
        Err(end.to_string())
    }
}

fn check_server(case: &Case, options: &[&str]) -> Result<(), String> {
    let port = Port::reserve();
    let mut server = Running::start(traced(options, &server_args(port.number())));
    wait_for(Duration::from_secs(4), || {
        let listens = server.stdout_so_far().contains("listening on");
        (listens || !server.is_alive()).then_some(())
    });
    let client = Running::start({
        let mut command = Peer::Ours.command();
        command.args(words(&client_args(port.number(), case.mode)));
        command
    })
    .finish(LIMIT);
    let right =
        is_right(&client, case.mode).map_err(|problem| format!("the client: {problem}\n{client}"));
    // A failed test may not have counted as the one of `-1`.
    let ended = wait_for(Duration::from_secs(8), || {
        (!server.is_alive()).then_some(())
    })
    .is_some();
    let next = if ended {
        Ok(())
    } else {
        goes_on(port.number())
            .map_err(|problem| format!("the server does not go on: {problem}\n{client}"))
    };
    let server = server.finish(LIMIT);
    let clean =
        is_clean(&server).map_err(|problem| format!("the server: {problem}\n{server}\n{client}"));
    right.and(next).and(clean)
}

/// Every call that an end makes in a mode, and every error of it.
fn cases(end: End, mode: &'static str) -> Vec<Case> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace");
    let name = file.display().to_string();
    let options = ["-o", &name];
    let client = match end {
        End::Client => {
            let server = Server::start(Peer::Ours, &["-1"]);
            let client =
                Running::start(traced(&options, &client_args(server.port(), mode))).finish(LIMIT);
            server.finish(LIMIT);
            client
        }
        End::Server => {
            let port = Port::reserve();
            let server = Running::start(traced(&options, &server_args(port.number())));
            let args = format!("{} --wait 20", client_args(port.number(), mode));
            let mut command = Peer::Ours.command();
            command.args(words(&args));
            let client = Running::start(command).finish(LIMIT);
            server.finish(LIMIT);
            client
        }
    };
    assert!(client.succeeded(), "{client}");
    let made = calls::made(&file);
    assert!(made.len() > 15, "{made:?}");
    let mut cases = Vec::new();
    for (call, errors) in calls::ERRORS {
        for number in 1..=made.get(call).copied().unwrap_or(0).min(DEPTH) {
            cases.extend(errors.iter().map(|error| Case {
                end,
                mode,
                call,
                number,
                error,
            }));
        }
    }
    cases
}

#[test]
#[ignore = "takes more than an hour"]
fn each_call_fails_once() {
    let mut all = Vec::new();
    for end in [End::Client, End::Server] {
        for mode in MODES {
            all.extend(cases(end, mode));
        }
    }
    println!("{} cases", all.len());
    parallel::each(&all, 4, |case| {
        let outcome = check(case);
        if matches!(&outcome, Err(problem) if problem == VOID) {
            return Ok(());
        }
        // At once: the sweep takes long.
        if let Err(problem) = &outcome {
            println!("──── {case}\n{problem}");
        }
        outcome
    });
}

/// Without a failing call every mode succeeds.
#[test]
fn the_tests_themselves_succeed() {
    let server = Server::start(Peer::Ours, &["--tests", "0"]);
    for mode in MODES {
        let args = client_args(server.port(), mode);
        let client = Running::start(traced(&["-o", "/dev/null"], &args)).finish(LIMIT);
        assert_eq!(client.code(), Some(0), "{client}");
        is_right(&client, mode).unwrap_or_else(|problem| panic!("{problem}\n{client}"));
    }
}

/// A few of the sweep, among them what once went wrong.
#[test]
fn some_calls_fail_once() {
    let case = |end, mode, call, number, error| Case {
        end,
        mode: MODES[mode],
        call,
        number,
        error,
    };
    let (client, server) = (End::Client, End::Server);
    let some = [
        case(client, 0, "socket", 1, "EMFILE"),
        case(client, 0, "setsockopt", 1, "ENOPROTOOPT"),
        case(client, 0, "clone3", 2, "EAGAIN"),
        case(client, 0, "epoll_create1", 1, "EMFILE"),
        case(client, 1, "recvfrom", 1, "ECONNRESET"),
        case(client, 2, "getsockopt", 2, "ENOBUFS"),
        case(client, 3, "sendfile", 1, "EINTR"),
        case(client, 5, "sendmmsg", 1, "ENOBUFS"),
        case(client, 7, "getrandom", 1, "ENOSYS"),
        case(server, 0, "accept4", 1, "EMFILE"),
        case(server, 0, "bind", 1, "EADDRINUSE"),
        case(server, 1, "clone3", 3, "EAGAIN"),
        case(server, 2, "eventfd2", 2, "EMFILE"),
        case(server, 4, "vmsplice", 1, "ENOMEM"),
        case(server, 5, "recvmmsg", 1, "ENOMEM"),
        case(server, 6, "bind", 2, "EADDRINUSE"),
    ];
    parallel::each(&some, 4, check);
}

//! A call that fails, the test around it, and what may come of it.

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

use iperf_harness::pair::{start_client, words};
use iperf_harness::port::Port;
use iperf_harness::process::{Running, wait_for};
use iperf_harness::{Finished, Peer, Server, json};

use crate::calls::is_real;
use crate::sites::descriptor;
use crate::{BYTES, LIMIT, PATIENCE};

/// Which end's calls fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Client,
    Server,
}

/// One call that fails.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) end: End,
    pub(crate) mode: &'static str,
    pub(crate) call: &'static str,
    /// Only calls about this file count and fail.
    pub(crate) path: Option<String>,
    /// Which of the calls of a thread, from 1.
    pub(crate) number: usize,
    pub(crate) error: &'static str,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The client succeeds with a right result.
    Right,
    /// An error with a reason.
    Error,
    /// The call did not fail, or another one did: the program made it less often this time.
    Void,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Client => "client",
            End::Server => "server",
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            end,
            mode,
            call,
            path,
            number,
            error,
        } = self;
        let path = path.as_deref().unwrap_or("any");
        write!(f, "{end}/{mode}/{call}/{path}/{number}/{error}")
    }
}

/// The program under strace.
pub(crate) fn traced(options: &[&str], args: &str) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "--seccomp-bpf"])
        .args(options)
        .arg("--")
        .arg(Peer::Ours.path());
    command.args(words(args));
    command
}

/// strace options that make a call fail.
fn injection(case: &Case) -> Vec<String> {
    let Case {
        call,
        number,
        error,
        ..
    } = case;
    let rule = format!("inject={call}:error={error}:when={number}");
    let mut options = vec!["-e".into(), format!("trace={call}"), "-e".into(), rule];
    if let Some(path) = &case.path {
        options.extend(["-P".to_owned(), path.clone()]);
    }
    options
}

pub(crate) fn client_args(port: u16, mode: &str) -> String {
    format!("-c 127.0.0.1 -p {port} -J --connect-timeout 5000 --snd-timeout 3000 {mode}")
}

pub(crate) fn server_args(port: u16) -> String {
    format!("-s -p {port} -1 --forceflush {PATIENCE}")
}

/// No panic, no signal, no hang; a failure has a reason.
pub(crate) fn is_clean(end: &Finished) -> Result<(), String> {
    let reason = !end.stderr.trim().is_empty() || end.stdout.contains("\"error\"");
    match end.code() {
        _ if end.timed_out => Err("it hangs".to_owned()),
        None => Err("a signal ended it".to_owned()),
        _ if end.stderr.contains("panicked") => Err("it panics".to_owned()),
        Some(0) => Ok(()),
        Some(1) if reason => Ok(()),
        Some(code) => Err(format!("exit code {code}, and no reason")),
    }
}

/// A client's success is a right result: what both ends count, without loss unless it is of datagrams.
pub(crate) fn is_right(end: &Finished, mode: &str) -> Result<(), String> {
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
        let whole = mode.contains("-u") || received == sent;
        if !(is_right && whole) {
            return Err(format!(
                "{sent:?} bytes sent and {received:?} received{sum}"
            ));
        }
    }
    Ok(())
}

/// Runs the test around a failing call.
pub(crate) fn check(case: &Case, server: &Server) -> Result<Outcome, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace");
    let name = file.display().to_string();
    let rule = injection(case);
    let options: Vec<&str> = ["-yy", "-o", &name]
        .into_iter()
        .chain(rule.iter().map(String::as_str))
        .collect();
    let succeeded = match case.end {
        End::Client => check_client(case, server, &options),
        End::Server => check_server(case, &options),
    };
    let trace = fs::read_to_string(&file).unwrap_or_default();
    let failed: Vec<_> = trace
        .lines()
        .filter(|line| line.ends_with("(INJECTED)"))
        .collect();
    // This time the number was that of another call, and what it is about never gives such an error.
    let is_void = failed.is_empty() || !failed.iter().all(|line| is_real_line(case, line));
    match succeeded {
        _ if is_void => Ok(Outcome::Void),
        Ok(true) => Ok(Outcome::Right),
        Ok(false) => Ok(Outcome::Error),
        Err(problem) => Err(problem),
    }
}

/// Whether the call in a line of a trace may have failed so.
fn is_real_line(case: &Case, line: &str) -> bool {
    let arguments = line.split_once('(').map_or("", |(_, arguments)| arguments);
    line.contains(" resumed>") || is_real(case.call, descriptor(arguments), case.error)
}

/// A server for clients whose calls fail.
pub(crate) fn own_server() -> Server {
    let options = format!("{PATIENCE} --tests 0");
    Server::start(Peer::Ours, &options.split(' ').collect::<Vec<_>>())
}

/// Whether the client succeeded, if everything is as it may be.
fn check_client(case: &Case, server: &Server, options: &[&str]) -> Result<bool, String> {
    let client =
        Running::start(traced(options, &client_args(server.port(), case.mode))).finish(LIMIT);
    is_right(&client, case.mode).map_err(|problem| format!("{problem}\n{client}"))?;
    if !client.succeeded() {
        goes_on(server.port())
            .map_err(|problem| format!("afterwards the server fails: {problem}\n{client}"))?;
    }
    Ok(client.succeeded())
}

/// Another client.
fn next_client(port: u16) -> Finished {
    start_client(Peer::Ours, port, "-n 512K -J --wait 30").finish(LIMIT)
}

/// Another client is served.
fn goes_on(port: u16) -> Result<(), String> {
    let end = next_client(port);
    if end.succeeded() {
        Ok(())
    } else {
        Err(end.to_string())
    }
}

fn check_server(case: &Case, options: &[&str]) -> Result<bool, String> {
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
    let ended = wait_for(Duration::from_secs(3), || {
        (!server.is_alive()).then_some(())
    })
    .is_some();
    // The thread of its next test makes the same calls, and the same one fails.
    let next = if ended {
        Ok(())
    } else {
        let next = next_client(port.number());
        is_right(&next, "")
            .map_err(|problem| format!("the server does not go on: {problem}\n{next}\n{client}"))
    };
    let server = server.finish(LIMIT);
    let clean =
        is_clean(&server).map_err(|problem| format!("the server: {problem}\n{server}\n{client}"));
    right.and(next).and(clean)?;
    Ok(client.succeeded())
}

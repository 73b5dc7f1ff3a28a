//! A system that gives no threads or no descriptors: an error in the program's own words, no panic, and a server that
//! serves again when there are some.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use iperf_harness::process::wait_for;
use iperf_harness::service::serves;
use iperf_harness::{Finished, HANG, Peer, Port, Problems, Running, Server, procfs};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// The program where anybody may run it.
fn program() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("iperf");
    fs::copy(Peer::Ours.path(), &path).unwrap();
    (folder, path)
}

/// A separate user, so that its threads are counted separately.
fn user() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let offset = std::process::id() * 64 % 1_000_000 + NEXT.fetch_add(1, Ordering::Relaxed);
    format!("--reuid={}", 700_000 + offset)
}

/// Starts a command with no descriptors but the standard ones, whatever the test was started with: they would count.
const WITHOUT_INHERITED: &str = r#"exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec "$@""#;

/// Run by a user, with a limit as prlimit(1) writes it.
fn limited(user: &str, program: &Path, limit: &str, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", WITHOUT_INHERITED, "sh", "setpriv", user])
        .args(["--clear-groups", "--", "prlimit", limit, "--"])
        .arg(program)
        .args(args)
        .env("LC_ALL", "C");
    command
}

/// It ends, well or with an error of its own.
fn ends_orderly(f: &mut Problems, what: &str, end: &Finished) {
    let own_error = end.code() == Some(1) && end.stderr.starts_with("iperf: error - ");
    f.holds(
        format!("{what} ends orderly:\n{end}"),
        !end.stderr.contains("panicked") && (end.succeeded() || own_error),
    );
}

fn clients(limits: &[String]) {
    let (_folder, program) = program();
    let server = Server::start(Peer::Ours, &[]);
    let port = server.port().to_string();
    let mut f = Problems::new();
    let mut refused = 0;
    for limit in limits {
        for args in ["-P 2", "-u -R", "--loopback"] {
            let mut words = vec!["-t", "1"];
            if args == "--loopback" {
                words.push(args);
            } else {
                words.extend(["-c", "127.0.0.1", "-p", &port]);
                words.extend(args.split(' '));
            }
            let end = Running::start(limited(&user(), &program, limit, &words)).finish(HANG);
            refused += u32::from(!end.succeeded());
            ends_orderly(&mut f, &format!("{limit} {args}"), &end);
        }
    }
    f.holds("some limits are too low", refused > 3);
    f.into_result(String::new()).unwrap();
}

#[test]
fn a_client_without_threads_ends_with_an_error() {
    clients(&(1..6).map(|n| format!("--nproc={n}")).collect::<Vec<_>>());
}

#[test]
fn a_client_without_descriptors_ends_with_an_error() {
    clients(
        &[4, 6, 8, 12, 14, 16]
            .iter()
            .map(|n| format!("--nofile={n}"))
            .collect::<Vec<_>>(),
    );
}

/// A server that is starved, tried with clients that leave in the middle, and then given what it needs.
fn starve(f: &mut Problems, program: &Path, limit: &str, plenty: Option<&str>) {
    let (port, user) = (Port::reserve(), user());
    let number = port.number().to_string();
    let command = limited(&user, program, limit, &["-s", "-p", &number]);
    let mut server = Running::start(command);
    let up = wait_for(HANG, || {
        let listens = procfs::listens(server.id(), port.number());
        (listens || !server.is_alive()).then_some(listens)
    });
    if up != Some(true) {
        ends_orderly(f, &format!("a server with {limit}"), &server.finish(HANG));
        return;
    }
    for _ in 0..20 {
        let mut client = Peer::Ours.command();
        client.args([
            "-c",
            "127.0.0.1",
            "-n",
            "64K",
            "--connect-timeout",
            "1000",
            "-p",
            &number,
        ]);
        Running::start(client).finish(Duration::from_millis(200));
    }
    f.holds(format!("a server with {limit} lives"), server.is_alive());
    f.holds(
        format!(
            "a server with {limit} does not panic:\n{}",
            server.stderr_so_far()
        ),
        !server.stderr_so_far().contains("panicked"),
    );
    let Some(plenty) = plenty else {
        server.signal(Signal::SIGTERM);
        let end = server.finish(HANG);
        return f.holds(format!("it obeys:\n{end}"), end.succeeded());
    };
    let raise = [
        &user,
        "--clear-groups",
        "--",
        "prlimit",
        "--pid",
        &server.id().to_string(),
        plenty,
    ];
    let raised = Command::new("setpriv").args(raise).status().unwrap();
    f.holds("the limit is raised", raised.success());
    if let Err(error) = serves(port.number(), Peer::Ours, HANG) {
        f.add(format!(
            "after {limit}: {error}\n{}",
            server.stderr_so_far()
        ));
    }
}

#[test]
fn a_server_that_was_starved_of_threads_serves_again() {
    let (_folder, program) = program();
    let mut f = Problems::new();
    for n in [1, 2, 3] {
        starve(
            &mut f,
            &program,
            &format!("--nproc={n}:100"),
            Some("--nproc=100:100"),
        );
    }
    f.into_result(String::new()).unwrap();
}

#[test]
fn a_server_that_is_short_of_descriptors_continues() {
    let (_folder, program) = program();
    let mut f = Problems::new();
    for (n, plenty) in [
        (6, None),
        (12, None),
        (14, None),
        (40, Some("--nofile=40:40")),
    ] {
        starve(&mut f, &program, &format!("--nofile={n}:{n}"), plenty);
    }
    f.into_result(String::new()).unwrap();
}

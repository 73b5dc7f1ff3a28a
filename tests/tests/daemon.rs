//! A server in the background, its pid file and log file, and how servers end.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{self, Command};

use iperf_harness::pair::{run_client, words};
use iperf_harness::process::wait_for;
use iperf_harness::{Finished, HANG, Peer, Port, Running, Server, json, procfs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getsid};
use tempfile::TempDir;

/// Runs a server to its end, in a directory of its own.
fn run(dir: &TempDir, args: &str) -> Finished {
    let mut command = Peer::Ours.command();
    command.arg("-s").args(words(args)).current_dir(dir.path());
    Running::start(command).finish(HANG)
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn name() -> String {
    Peer::Ours.program_name()
}

/// A daemon, which has no parent to wait for it; dropping this ends it.
struct Daemon(Pid);

impl Daemon {
    fn of(pidfile: &Path) -> Self {
        let text = text(pidfile);
        Self(Pid::from_raw(text.parse().unwrap_or_else(|e| {
            panic!("the pid file has {text:?}: {e}")
        })))
    }

    fn number(&self) -> u32 {
        u32::try_from(self.0.as_raw()).expect("a process id")
    }

    /// Gone, or dead and not yet noticed by its parent.
    fn is_gone(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let state = stat.rsplit(") ").next().unwrap_or_default();
        state.is_empty() || state.starts_with('Z')
    }

    fn ends(&self) -> bool {
        wait_for(HANG, || self.is_gone().then_some(())).is_some()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

#[test]
fn a_daemon_can_be_reached_as_soon_as_its_command_returns() {
    let (dir, port) = (directory(), Port::reserve());
    let args = format!(
        "-D -p {} --pidfile server.pid --logfile server.log",
        port.number()
    );
    let parent = run(&dir, &args);
    let client = run_client(Peer::Ours, port.number(), "-n 256K");
    let pidfile = dir.path().join("server.pid");
    let daemon = Daemon::of(&pidfile);

    assert_eq!(parent.code(), Some(0), "{parent}");
    assert_eq!(
        (parent.stdout.as_str(), parent.stderr.as_str()),
        ("", ""),
        "{parent}"
    );
    assert!(client.succeeded(), "{client}");
    let mode = fs::metadata(&pidfile).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(procfs::listens(daemon.number(), port.number()));
    assert_eq!(
        getsid(Some(daemon.0)),
        Ok(daemon.0),
        "it has a session of its own"
    );
    for fd in 0..3 {
        let file = fs::read_link(format!("/proc/{}/fd/{fd}", daemon.0)).unwrap();
        assert_eq!(file, Path::new("/dev/null"), "descriptor {fd}");
    }

    kill(daemon.0, Signal::SIGTERM).unwrap();
    assert!(daemon.ends(), "SIGTERM ends it");
    assert!(!pidfile.exists(), "its pid file is gone");
    let log = text(&dir.path().join("server.log"));
    for part in [
        "Server listening on ",
        "receiver\n",
        "the server has terminated by signal Terminated(15)",
    ] {
        assert!(log.contains(part), "no {part:?} in {log}");
    }
}

#[test]
fn a_daemon_of_one_test_ends_after_it() {
    let (dir, port) = (directory(), Port::reserve());
    let parent = run(
        &dir,
        &format!("-D -1 -p {} --pidfile server.pid", port.number()),
    );
    assert!(parent.succeeded(), "{parent}");
    let pidfile = dir.path().join("server.pid");
    let daemon = Daemon::of(&pidfile);
    let client = run_client(Peer::New, port.number(), "-t 1 -b 1M");
    assert!(client.succeeded(), "{client}");
    assert!(daemon.ends() && !pidfile.exists());
}

#[test]
fn a_daemon_that_cannot_listen_reports_it_where_it_was_started() {
    let (dir, taken) = (directory(), Server::start(Peer::Ours, &[]));
    let end = run(
        &dir,
        &format!("-D -p {} --pidfile server.pid", taken.port()),
    );
    let message = "error - unable to start listener for connections: Address already in use";
    assert_eq!(end.code(), Some(1), "{end}");
    assert_eq!(
        end.stderr,
        format!("{0}: {message}\n{0}: exiting\n", name()),
        "{end}"
    );
    assert!(!dir.path().join("server.pid").exists());
}

#[test]
fn a_pid_file_of_a_living_process_is_respected() {
    let (dir, port) = (directory(), Port::reserve());
    let pidfile = dir.path().join("server.pid");
    let content = format!("{}\n", process::id());
    fs::write(&pidfile, &content).unwrap();
    for mode in ["", "-D"] {
        let end = run(
            &dir,
            &format!("-1 {mode} -p {} --pidfile server.pid", port.number()),
        );
        assert_eq!(end.code(), Some(1), "{end}");
        assert!(
            end.stderr
                .starts_with(&format!("{}: error - Another instance of iperf", name())),
            "{end}"
        );
        assert!(end.stderr.ends_with(" appears to be running\n"), "{end}");
        assert_eq!(text(&pidfile), content);
    }
}

#[test]
fn a_pid_file_exists_while_the_server_runs() {
    let dir = directory();
    let pidfile = dir.path().join("server.pid");
    // No process has that number: it is the highest that the kernel can give, plus one.
    fs::write(&pidfile, "4194305").unwrap();
    let here = |mut command: Command| {
        command.current_dir(dir.path());
        command
    };
    let server = Server::start_with(Peer::Ours, &["-1", "--pidfile", "server.pid"], here);
    assert_eq!(text(&pidfile), server.id().to_string());
    let other = directory();
    let second = run(
        &other,
        &format!("-p {} --pidfile {}", server.port(), pidfile.display()),
    );
    assert_eq!(second.code(), Some(1), "{second}");
    let client = run_client(Peer::Ours, server.port(), "-n 256K");
    let server = server.finish(HANG);
    assert!(client.succeeded() && server.succeeded(), "{client}{server}");
    assert!(!pidfile.exists());

    let end = run(&dir, "-1 --pidfile no/such/directory");
    assert_eq!(end.code(), Some(1), "{end}");
    let message = "error - unable to write PID file: No such file or directory";
    assert_eq!(end.stderr, format!("{}: {message}\n", name()), "{end}");
}

#[test]
fn signals_end_an_idle_server_well() {
    for (signal, described) in [
        (Signal::SIGINT, "Interrupt(2)"),
        (Signal::SIGTERM, "Terminated(15)"),
        (Signal::SIGHUP, "Hangup(1)"),
    ] {
        let dir = directory();
        let pidfile = dir.path().join("server.pid");
        let server = Server::start(Peer::Ours, &["--pidfile", &pidfile.to_string_lossy()]);
        server.process.signal(signal);
        let end = server.finish(HANG);
        assert_eq!(end.code(), Some(0), "{end}");
        let message = format!("interrupt - the server has terminated by signal {described}");
        assert_eq!(end.stderr, format!("{}: {message}\n", name()), "{end}");
        assert!(!pidfile.exists(), "{signal}");
    }
}

/// Everything that would be seen is in the file, and a later run adds to it.
#[test]
fn a_log_file_takes_everything() {
    let dir = directory();
    let log = dir.path().join("log");
    fs::File::create(&log)
        .unwrap()
        .write_all(b"what was there before\n")
        .unwrap();
    let args = [
        "--logfile",
        &log.to_string_lossy(),
        "--server-max-duration",
        "5",
    ];
    let server = Server::start(Peer::Ours, &args);
    let client = run_client(
        Peer::Ours,
        server.port(),
        &format!("-t 1 -b 1M --logfile {}/client", dir.path().display()),
    );
    let refused = run_client(Peer::Ours, server.port(), "-t 9");
    let end = server.stop();
    assert!(
        client.succeeded() && !refused.succeeded(),
        "{client}{refused}"
    );
    for quiet in [&end, &client] {
        assert_eq!(
            (quiet.stdout.as_str(), quiet.stderr.as_str()),
            ("", ""),
            "{quiet}"
        );
    }
    let first = text(&log);
    for part in [
        "what was there before\n-----",
        "receiver\n",
        "error - client's requested duration exceeds the server's maximum permitted limit",
        "the server has terminated by signal",
    ] {
        assert!(first.contains(part), "{part:?} in {first}");
    }
    let written = text(&dir.path().join("client"));
    assert!(
        written.starts_with("Connecting to host") && written.ends_with("iperf Done.\n"),
        "{written}"
    );

    let again = Server::start(Peer::Ours, &args);
    again.stop();
    let both = text(&log);
    assert!(
        both.starts_with(&first) && both.len() > first.len(),
        "{both}"
    );

    let port = Port::reserve();
    let args = format!(
        "-c 127.0.0.1 -p {} --logfile {}",
        port.number(),
        log.display()
    );
    let mut command = Peer::Ours.command();
    command.args(words(&args));
    let failed = Running::start(command).finish(HANG);
    assert_eq!(
        (failed.code(), failed.stderr.as_str()),
        (Some(1), ""),
        "{failed}"
    );
    assert!(
        text(&log).contains("error - unable to connect to server"),
        "{}",
        text(&log)
    );
}

/// A program that is started as `iperf3` names itself `iperf3` in its messages.
#[test]
fn the_program_answers_to_the_name_it_is_called_by() {
    let dir = directory();
    let link = dir.path().join("iperf3");
    symlink(fs::canonicalize(Peer::Ours.path()).unwrap(), &link).unwrap();
    let start = |args: &str| {
        let mut command = Command::new(&link);
        command.args(words(args)).env("LC_ALL", "C");
        Running::start(command)
    };
    let port = Port::reserve();
    let end = start(&format!("-c 127.0.0.1 -p {} -t 1", port.number())).finish(HANG);
    assert!(
        end.stderr
            .starts_with("iperf3: error - unable to connect to server"),
        "{end}"
    );
    let end = start("-c host -s").finish(HANG);
    assert!(
        end.stderr.starts_with("iperf3: parameter error - "),
        "{end}"
    );

    let server = Server::start(Peer::Ours, &["-1", "-J"]);
    let end = start(&format!("-c 127.0.0.1 -p {} -J -n 256K", server.port())).finish(HANG);
    let document = json::parse(&end.stdout).unwrap();
    let version = json::text(&document, "/start/version");
    assert!(
        version.is_some_and(|version| version.starts_with("iperf 3.")),
        "{end}"
    );
    assert!(server.finish(HANG).succeeded());
}

/// Logs go to standard error, and are plain text when that is no terminal.
#[test]
fn debugging_leaves_the_output_alone() {
    let server = Server::start(Peer::Ours, &["-1", "-d"]);
    let client = run_client(Peer::Ours, server.port(), "-J -d -n 256K");
    let server = server.finish(HANG);
    for end in [&client, &server] {
        assert!(end.succeeded(), "{end}");
        assert!(!end.stderr.is_empty(), "-d logs something\n{end}");
        assert!(
            !end.stderr.contains('\u{1b}'),
            "colours without a terminal: {:?}",
            end.stderr
        );
    }
    assert!(json::parse(&client.stdout).is_ok(), "{client}");
}

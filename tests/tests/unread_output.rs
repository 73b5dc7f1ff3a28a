//! Output without a reader, that is read late, or that can't be written: neither a measurement nor a signal waits for
//! it, a server keeps serving, and a client's exit code shows that its output is incomplete.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use iperf_harness::process::wait_for;
use iperf_harness::service::serves;
use iperf_harness::{HANG, Peer, Running, Server};
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

/// A pipe with a name, held open at its reading end.
struct Pipe {
    folder: TempDir,
    end: File,
}

impl Pipe {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let end = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&path)
            .unwrap();
        Self { folder, end }
    }

    /// A pipe that has no room.
    fn full() -> Self {
        let mut pipe = Self::new();
        while pipe.end.write(&[b'x'; 4096]).is_ok() {}
        pipe
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("pipe")
    }

    /// What is in it now.
    fn read(&mut self) -> String {
        let mut bytes = Vec::new();
        // Ends with "would block" at the latest.
        let _ = self.end.read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }
}

/// The same command with its output elsewhere.
fn redirected(command: &Command, to: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("exec \"$0\" \"$@\" {to}"))
        .arg(command.get_program())
        .args(command.get_args())
        .env("LC_ALL", "C");
    shell
}

fn client(port: u16, args: &str, to: &str) -> Running {
    let mut command = Peer::Ours.command();
    command
        .args(["-c", "127.0.0.1", "-p", &port.to_string()])
        .args(args.split_whitespace());
    Running::start(redirected(&command, to))
}

#[test]
fn a_server_serves_and_obeys_signals_while_its_output_is_unread() {
    for (args, streams) in [("-i 0.1", ">"), ("-d4", "2>"), ("-J", ">")] {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let pipe = Pipe::full();
            let to = format!("{streams}{}", pipe.path().display());
            let args: Vec<_> = args.split(' ').collect();
            let server = Server::start_with(Peer::Ours, &args, |command| redirected(&command, &to));
            for _ in 0..2 {
                let end = client(server.port(), "-t 1", "").finish(HANG);
                assert!(end.succeeded(), "{to}: {end}");
            }
            server.process.signal(signal);
            let end = server.finish(HANG);
            assert!(!end.timed_out, "{end}");
        }
    }
}

#[test]
fn a_client_measures_while_its_output_is_unread_and_its_results_wait() {
    let mut pipe = Pipe::full();
    let server = Server::start(Peer::Ours, &["-1"]);
    let to = format!("> {}", pipe.path().display());
    let mut client = client(server.port(), "-t 1 -i 0.1", &to);
    let end = server.finish(HANG);
    assert!(end.stdout.contains("receiver"), "{end}");
    // The results have not reached anybody.
    assert!(client.is_alive());
    let mut seen = String::new();
    wait_for(HANG, || {
        seen.push_str(&pipe.read());
        (!client.is_alive()).then_some(())
    });
    seen.push_str(&pipe.read());
    let end = client.finish(Duration::ZERO);
    assert!(end.succeeded(), "{end}");
    assert!(seen.ends_with("\niperf Done.\n"), "{seen}");
}

#[test]
fn a_client_obeys_signals_while_its_output_is_unread() {
    for args in ["-t 600 -i 0.1", "-t 1"] {
        let pipe = Pipe::full();
        let server = Server::start(Peer::Ours, &[]);
        let to = format!("> {}", pipe.path().display());
        let client = client(server.port(), args, &to);
        let began = wait_for(HANG, || {
            server
                .process
                .stdout_so_far()
                .contains("Accepted")
                .then_some(())
        });
        assert!(began.is_some());
        std::thread::sleep(Duration::from_millis(1500));
        client.signal(Signal::SIGINT);
        let end = client.finish(HANG);
        assert!(!end.timed_out, "{end}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let server = Server::start(Peer::Ours, &[]);
    let text = |place: &str| {
        format!("iperf: error - unable to write to {place}: No space left on device\n")
    };
    for (args, to, place) in [
        ("-n 1M", "> /dev/full", "stdout"),
        ("-n 1M -J", "> /dev/full", "stdout"),
        ("-n 1M --json-stream", "> /dev/full", "stdout"),
        ("-n 1M --logfile /dev/full", "", "/dev/full"),
        ("-h", "> /dev/full", "stdout"),
        ("-v", "> /dev/full", "stdout"),
    ] {
        let end = client(server.port(), args, to).finish(HANG);
        assert_eq!(end.code(), Some(1), "{args}: {end}");
        assert_eq!(end.stderr, text(place), "{args}");
    }
    // With no place for the error either, the exit code remains.
    let end = client(server.port(), "-n 1M -d4", "> /dev/full 2>&1").finish(HANG);
    assert_eq!(end.code(), Some(1), "{end}");
}

#[test]
fn half_a_document_is_an_error() {
    let server = Server::start(Peer::Ours, &[]);
    let mut shell = Command::new("unshare");
    shell
        .args(["--mount", "sh", "-c"])
        // A page is less than a document.
        .arg(
            "mount -t tmpfs -o size=4k tmpfs /mnt || exit 99\n\
             \"$0\" \"$@\" > /mnt/document; code=$?; head -c 1 /mnt/document; exit $code",
        )
        .arg(Peer::Ours.path())
        .args(["-c", "127.0.0.1", "-n", "1M", "-J", "-P", "8", "-p"])
        .arg(server.port().to_string())
        .env("LC_ALL", "C");
    let end = Running::start(shell).finish(HANG);
    assert_eq!(end.code(), Some(1), "{end}");
    assert_eq!(
        end.stderr,
        "iperf: error - unable to write to stdout: No space left on device\n"
    );
    assert_eq!(end.stdout, "{", "the first half is there");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let server = Server::start(Peer::Ours, &[]);
    for args in ["-n 1M", "-n 1M -J", "-h"] {
        let end = client(server.port(), args, "| true").finish(HANG);
        assert_eq!(end.stderr, "", "{args}: {end}");
        assert!(end.succeeded(), "{args}: {end}");
    }
}

#[test]
fn a_server_continues_without_a_place_for_its_output() {
    for args in ["-d4", "-J", "--json-stream"] {
        let server = Server::start_with(Peer::Ours, &[args], |command| {
            redirected(&command, "> /dev/full 2>&1")
        });
        for _ in 0..2 {
            serves(server.port(), Peer::Ours, HANG).unwrap();
        }
        // Its reader leaves.
        let pipe = Pipe::new();
        let to = format!("> {} 2>&1", pipe.path().display());
        let server = Server::start_with(Peer::Ours, &[args], |command| redirected(&command, &to));
        drop(pipe);
        for _ in 0..2 {
            serves(server.port(), Peer::Ours, HANG).unwrap();
        }
    }
}

#[test]
fn a_log_file_that_is_a_pipe_without_a_reader_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let args = format!("-t 1 --logfile {}", path.display());
    let end = client(9, &args, "").finish(HANG);
    assert_eq!(end.code(), Some(1), "{end}");
    assert_eq!(
        end.stderr,
        "iperf: error - unable to open log file: No such device or address\n"
    );
}

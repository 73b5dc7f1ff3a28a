//! Pipes where files are expected: they may never have a reader or writer, and a server must continue and react to signals.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use iperf_harness::pair::{run_client, start_client};
use iperf_harness::{HANG, Peer, Server};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

fn pipe() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    (folder, path)
}

#[test]
fn a_server_whose_file_is_a_pipe_without_another_end_continues_and_obeys() {
    let (_folder, path) = pipe();
    let server = Server::start(Peer::Ours, &["-F", path.to_str().unwrap()]);
    for (args, code) in [("-t 1", 1), ("-t 1 -R", 0), ("-t 1", 1), ("-t 1 -R", 0)] {
        let end = run_client(Peer::Ours, server.port(), args);
        assert_eq!(end.code(), Some(code), "{args}: {end}");
    }
    let running = start_client(Peer::Ours, server.port(), "-t 600 -R");
    std::thread::sleep(Duration::from_secs(1));
    let end = server.stop();
    assert!(!end.timed_out, "{end}");
    drop(running);
}

#[test]
fn a_reader_that_does_not_read_blocks_no_test() {
    let (_folder, path) = pipe();
    let reader = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let server = Server::start(Peer::Ours, &["-F", path.to_str().unwrap()]);
    for _ in 0..2 {
        let end = run_client(Peer::Ours, server.port(), "-t 1");
        assert!(!end.timed_out, "{end}");
    }
    let end = server.stop();
    assert!(!end.timed_out, "{end}");
    drop(reader);
}

#[test]
fn a_pipe_is_sent_to_its_end() {
    let (_folder, path) = pipe();
    let server = Server::start(Peer::Ours, &["-1"]);
    let args = format!("-F {}", path.display());
    let client = start_client(Peer::Ours, server.port(), &args);
    // The writer comes late.
    std::thread::sleep(Duration::from_millis(700));
    fs::write(&path, vec![7; 3_000_000]).unwrap();
    let end = client.finish(HANG);
    assert!(end.succeeded(), "{end}");
    assert!(end.stdout.contains("2.86 MBytes"), "{end}");
    server.finish(HANG);
}

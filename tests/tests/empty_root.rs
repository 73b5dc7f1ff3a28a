//! The program in a root folder that holds nothing else, as in an image from scratch: no /dev, /proc, /sys, /tmp or /etc.
//! Tests run; what needs a missing file names it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use iperf_harness::netns::Namespace;
use iperf_harness::pair::words;
use iperf_harness::{Finished, Peer, Running, json, parallel};

const LIMIT: Duration = Duration::from_secs(60);

/// A folder with the program and the libraries that it is linked to.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let libraries = Command::new("ldd").arg(Peer::Ours.path()).output().unwrap();
    for line in String::from_utf8(libraries.stdout).unwrap().lines() {
        let place = line.split_whitespace().find(|word| word.starts_with('/'));
        if let Some(place) = place.map(Path::new) {
            let inside = root.path().join(place.strip_prefix("/").unwrap());
            fs::create_dir_all(inside.parent().unwrap()).unwrap();
            fs::copy(place, inside).unwrap();
        }
    }
    fs::copy(Peer::Ours.path(), root.path().join("iperf")).unwrap();
    root
}

fn run(namespace: &Namespace, root: &Path, args: &str) -> Finished {
    let mut command = Command::new("unshare");
    command
        .arg(format!("--root={}", root.display()))
        .arg("/iperf")
        .args(words(args));
    Running::start(namespace.enter(&command)).finish(LIMIT)
}

#[test]
fn tests_run_in_an_empty_root() {
    let (namespace, root) = (Namespace::new(), root());
    let kept: PathBuf = root.path().join("result.html");
    parallel::each(
        &[
            "--loopback -n 4M",
            "--loopback -n 4M -R -Z",
            "--loopback -n 100K -u -b 0 -l 1448",
            "--loopback -n 1000 --rr",
            "--loopback -n 4M -P 130",
            "--loopback -n 4M --verify --limits --html /result.html",
        ],
        2,
        |args| {
            let end = run(&namespace, root.path(), &format!("{args} -J"));
            if !end.succeeded() {
                return Err(end.to_string());
            }
            let document = json::parse(&end.stdout).map_err(|error| error.to_string())?;
            let received = json::int(&document, "/end/sum_received/bytes");
            if args.contains("--rr") || received > Some(0) {
                Ok(())
            } else {
                Err(end.to_string())
            }
        },
    );
    assert!(kept.is_file());
}

#[test]
fn what_an_empty_root_lacks_is_named() {
    let (namespace, root) = (Namespace::new(), root());
    for (args, named) in [
        ("-c somewhere.test -n 1M", "/etc/resolv.conf"),
        ("-s -D -p 5201", "/dev/null"),
        ("--loopback -n 4M --zerocopy-rx=splice", "/dev/null"),
        ("bench --rounds 8 /iperf", "/proc/self/exe"),
        (
            "sweep --vary length=4K,8K --rounds 5 -- --loopback -n 1M",
            "/proc/self/exe",
        ),
    ] {
        let end = run(&namespace, root.path(), args);
        assert!(matches!(end.code(), Some(1 | 2)), "{end}");
        assert!(
            end.stdout.contains(named) || end.stderr.contains(named),
            "{named}: {end}"
        );
        assert!(!end.stderr.contains("panicked"), "{end}");
    }
}

//! The folder in which the commands of a page run, with the files that pages name.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use iperf_harness::{Peer, paths};

/// Makes the folder for a page.
pub(crate) fn make(page: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("bin")).unwrap();
    let programs = [
        ("bin/iperf", Peer::Ours),
        ("bin/iperf3", Peer::New),
        ("iperf-base", Peer::Ours),
        ("iperf-new", Peer::Ours),
    ];
    for (name, peer) in programs {
        symlink(peer.path(), at(name)).unwrap();
    }
    fs::create_dir(at("textfile")).unwrap();
    if page.ends_with("bench.md") {
        for name in ["old", "new"] {
            fs::create_dir(at(name)).unwrap();
            symlink(Peer::Ours.path(), at(name).join("iperf")).unwrap();
        }
        return folder;
    }
    let samples = paths::workspace().join("crates/results/tests/data/samples");
    for (sample, name) in [
        ("iperf-rs-vsock-json.json", "ours.json"),
        ("iperf-vsock-json.json", "iperf-vsock.json"),
        ("uperf-vsock-stream-a.txt", "uperf.txt"),
        ("iperf-rs-vsock-json.json", "base.json"),
        ("iperf-rs-vsock-json.json", "new.json"),
    ] {
        fs::copy(samples.join(sample), at(name)).unwrap();
    }
    let table =
        "| pages | 8 | 32 |\n|---|---|---|\n| zero-copy | 24 | 10.6 |\n| copy | 13 | 16.4 |\n";
    fs::write(at("table.md"), table).unwrap();
    // README.md makes its own runs.
    let made = page.ends_with("README.md");
    for (name, factor) in [
        ("base", 1.0),
        ("new", 1.001),
        ("slower", 0.8),
        ("results", 1.0),
    ] {
        if !made {
            fs::create_dir(at(name)).unwrap();
            write_runs(&at(name), factor);
        }
    }
    folder
}

/// Runs of nuttcp with these rates around 1000 Mbit/s.
fn write_runs(directory: &Path, factor: f64) {
    for run in 0..8_u32 {
        let rate = factor * (1000.0 + f64::from(run * 7 % 11));
        let text = format!(
            "{} MB / 2.00 sec = {rate} Mbps 6 %TX 9 %RX 0 retrans 0.07 msRTT\n",
            rate / 4.0
        );
        fs::write(directory.join(format!("{run}.txt")), text).unwrap();
    }
}

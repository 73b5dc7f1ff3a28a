//! A CPU quota, of either version of cgroups.

use std::fs;
use std::path::{Path, PathBuf};

use iperf_harness::pair::start_client;
use iperf_harness::{HANG, Peer, Server, json, priority};

use super::causes;

/// A cgroup that limits its programs to a twentieth of a processor. Removed when dropped, once it is empty.
struct Group(PathBuf);

impl Group {
    /// Creates it where this machine lets one do so.
    fn create() -> Result<Self, String> {
        let name = format!("iperf-limits-{}", std::process::id());
        // Its share comes before those of all others, so that nothing but the quota limits it.
        let first = (
            "cpu",
            [("cpu.cfs_quota_us", "5000"), ("cpu.shares", "262144")],
        );
        let second = ("", [("cpu.max", "5000 100000"), ("cpu.weight", "10000")]);
        let mut reasons = Vec::new();
        for (root, files) in [first, second] {
            let folder = Path::new("/sys/fs/cgroup").join(root).join(&name);
            let made = fs::create_dir(&folder).and_then(|()| {
                let group = Self(folder.clone());
                for (file, value) in files {
                    fs::write(folder.join(file), value)?;
                }
                Ok(group)
            });
            match made {
                Ok(group) => return Ok(group),
                Err(error) => reasons.push(format!("{}: {error}", folder.display())),
            }
        }
        Err(reasons.join("; "))
    }

    fn take(&self, process: u32) -> std::io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), process.to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that did not run reports it")]
fn a_cpu_quota_is_named() {
    let group = match Group::create() {
        Ok(group) => group,
        Err(reason) => {
            eprintln!("NOT RUN: a_cpu_quota_is_named: no cgroup can be given a quota: {reason}");
            return;
        }
    };
    let server = Server::start(Peer::Ours, &["-1"]);
    group.take(server.id()).expect("a server in the group");
    // The sender waits for nothing else, either.
    priority::raise();
    let client = start_client(Peer::Ours, server.port(), "-J -t 2");
    let end = client.finish(HANG);
    server.finish(HANG);
    assert!(end.succeeded(), "{end}");
    let document = json::parse(&end.stdout).expect("a document");
    let limits = json::list(&document, "/end/limits").iter();
    let evidence = limits
        .filter(|limit| json::text(limit, "/cause") == Some("CPU quota"))
        .find_map(|limit| json::text(limit, "/evidence"));
    assert!(
        evidence.is_some_and(|text| text.starts_with("the receiver's cgroup was throttled")),
        "{:?}: {document:#}",
        causes(&document)
    );
}

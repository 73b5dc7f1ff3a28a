//! Processors that packets, or other machines, keep from working for the test.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use iperf_harness::netns::Namespace;
use iperf_harness::pair::words;
use iperf_harness::{HANG, Peer, Running, Server, json};
use serde_json::Value;

use super::over_a_wire;

/// The evidence of both ends for a cause.
fn evidence<'a>(document: &'a Value, cause: &str) -> Vec<&'a str> {
    let limits = json::list(document, "/end/limits").iter();
    let limits = limits.filter(|limit| json::text(limit, "/cause") == Some(cause));
    limits
        .filter_map(|limit| json::text(limit, "/evidence"))
        .collect()
}

/// Each packet that arrives is compared with thousands of addresses, on one processor.
fn filter_each_packet(here: &Namespace, there: &Namespace) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("filters");
    let filter = "filter add dev right parent ffff: protocol ip prio 1 u32 match ip dst 192.0.2.1 flowid :1\n";
    fs::write(&path, filter.repeat(6000)).expect("a file");
    there.run("tc", &["qdisc", "add", "dev", "right", "ingress"]);
    there.run("tc", &["-batch", path.to_str().expect("a path")]);
    // Each datagram is a packet of its own.
    here.run("ip", &["link", "set", "left", "gso_max_segs", "1"]);
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let mask = if processors > 1 { "2" } else { "1" };
    let file = "/sys/class/net/right/queues/rx-0/rps_cpus";
    let script = format!("mount -t sysfs sysfs /sys && echo {mask} > {file}");
    there.run("unshare", &["--mount", "sh", "-c", &script]);
}

#[test]
fn a_processor_that_handles_packets_all_the_time_is_named() {
    let document = over_a_wire(filter_each_packet, "-u -b 400M -l 400 -t 2 -A 0");
    // Where others take the processor, the thread waits for it, and the packets are in the evidence as well.
    let found = evidence(&document, "receiver's CPU");
    assert!(
        found.iter().any(|text| text.contains("handled packets")),
        "{document:#}"
    );
}

/// `/proc/stat` of a machine of which a fifth is stolen. Its numbers have a fixed width, so a reader finds whole ones.
fn stolen(ticks: u64) -> String {
    let mut text = String::new();
    for name in ["cpu ", "cpu0"] {
        let (worked, idle, stolen) = (3 * ticks, ticks, ticks);
        writeln!(
            text,
            "{name} {worked:012} 0 0 {idle:012} 0 0 0 {stolen:012} 0 0"
        )
        .expect("text grows");
    }
    text
}

/// No hypervisor can be told to steal here: a file takes the place of the kernel's.
#[test]
fn stolen_time_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("stat");
    let file = File::create(&path).expect("a file");
    let server = Server::start(Peer::Ours, &["-1"]);
    let script = format!(
        "mount --bind {} /proc/stat && exec \"$@\"",
        path.to_str().expect("a path")
    );
    let port = server.port().to_string();
    let mut client = Command::new("unshare");
    client.args(["--mount", "sh", "-c", &script, "client"]);
    client
        .arg(Peer::Ours.path())
        .args(["-c", "127.0.0.1", "-p", &port]);
    client.args(words("-t 1 -J"));
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let end = thread::scope(|scope| {
        file.write_all_at(stolen(1).as_bytes(), 0).expect("a file");
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let ticks = 1 + u64::try_from(begun.elapsed().as_millis()).unwrap_or(0);
                file.write_all_at(stolen(ticks).as_bytes(), 0)
                    .expect("a file");
                thread::sleep(Duration::from_millis(10));
            }
        });
        let end = Running::start(client).finish(HANG);
        over.store(true, Ordering::Relaxed);
        end
    });
    server.finish(HANG);
    let document = json::parse(&end.stdout).unwrap_or_else(|error| panic!("{error}: {end}"));
    let wanted = "the hypervisor gave 20 % of the processors' time to others than the sender";
    // The server may have time stolen for real.
    let found = evidence(&document, "steal time");
    assert!(found.contains(&wanted), "{found:?}: {end}");
}

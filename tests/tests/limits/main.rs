//! What limits a test is named: each situation is made for real.

mod cgroup;
mod processors;
mod situations;

use std::fs::File;
use std::process::{Command, Stdio};

use iperf_harness::netns::{Namespace, wire};
use iperf_harness::pair::{run_client, words};
use iperf_harness::{HANG, Peer, Running, Server, json, parallel, priority};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

/// The causes that a document names for what the client sends.
fn causes(document: &Value) -> Vec<String> {
    causes_of_direction(document, "client to server")
}

/// The causes that a document names for a direction. What a hypervisor takes from the machine of the tests is no part of
/// their situations.
fn causes_of_direction(document: &Value, direction: &str) -> Vec<String> {
    let limits = json::list(document, "/end/limits").iter();
    let limits = limits.filter(|limit| json::text(limit, "/direction") == Some(direction));
    let causes = limits.filter_map(|limit| json::text(limit, "/cause"));
    let causes = causes.filter(|cause| *cause != "steal time");
    causes.map(str::to_owned).collect()
}

/// A test of a client with a server of ours, on this machine.
fn causes_of(server: &str, client: &str) -> Result<Vec<String>, String> {
    let words = words(server);
    let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
    args.push("-1");
    let server = Server::start(Peer::Ours, &args);
    let end = run_client(Peer::Ours, server.port(), &format!("-J {client}"));
    let document = json::parse(&end.stdout).map_err(|error| format!("{error}: {end}"))?;
    if end.succeeded() {
        Ok(causes(&document))
    } else {
        Err(end.to_string())
    }
}

#[test]
fn a_rate_a_small_window_and_their_absence_are_distinguished() {
    let rows = [
        ("-t 1 -b 50M", "-b", true),
        ("-t 1 -u -b 20M", "-b", true),
        ("-t 1 -P 2 -b 20M -O 1", "-b", true),
        ("-t 1", "-b", false),
    ];
    parallel::each(&rows.map(|(args, ..)| args), 2, |args| {
        let (_, cause, holds) = rows.iter().find(|row| row.0 == *args).ok_or("no row")?;
        // Where others use the processors, they are what keeps a test from its rate.
        if *holds {
            priority::raise();
        }
        // Of a test without a rate there may be nothing to name, if several causes each took a small part of its time.
        let found = causes_of("", args)?;
        if found.iter().any(|name| name == cause) == *holds {
            Ok(())
        } else {
            Err(format!("{args}: {found:?}"))
        }
    });
}

/// Both ends of a wire, with a server of ours at one. The client's document is returned.
fn over_a_wire(prepare: impl FnOnce(&Namespace, &Namespace), client: &str) -> Value {
    let [here, there] = wire(1500);
    prepare(&here, &there);
    let server = Server::start_with(Peer::Ours, &["-1"], |command| there.enter(&command));
    let mut end = Peer::Ours.command();
    end.args(["-c", "10.9.0.2", "-p", &server.port().to_string(), "-J"])
        .args(words(client));
    let client = Running::start(here.enter(&end));
    let client = client.finish(HANG);
    let server = server.finish(HANG);
    assert!(client.succeeded(), "{client}{server}");
    json::parse(&client.stdout).expect("a document")
}

#[test]
fn a_pacing_rate_is_named() {
    priority::raise();
    let document = over_a_wire(|_, _| {}, "-t 2 --fq-rate 20M");
    let found = causes(&document);
    assert!(found.iter().any(|name| name == "--fq-rate"), "{document:#}");
}

#[test]
fn an_interface_that_drops_packets_is_named() {
    priority::raise();
    let document = over_a_wire(
        |_, there| {
            // Larger packets than it takes; what it sends itself is small.
            there.run("ip", &["link", "set", "right", "mtu", "1000"]);
        },
        "-u -l 1400 -b 5M -t 2",
    );
    let found = causes(&document);
    assert!(
        found.iter().any(|name| name == "interface drops"),
        "{document:#}"
    );
}

#[test]
fn a_small_receive_window_is_named() {
    priority::raise();
    let document = over_a_wire(
        |_, there| {
            there.run(
                "sh",
                &["-c", "echo 4096 8192 8192 > /proc/sys/net/ipv4/tcp_rmem"],
            );
            // Acknowledgements take half a millisecond, so the sender waits for them more than it works.
            let slow = "qdisc add dev right root tbf rate 1mbit burst 1600 limit 30k";
            there.run("tc", &slow.split(' ').collect::<Vec<_>>());
        },
        "-t 2",
    );
    let found = causes(&document);
    assert!(
        found.iter().any(|name| name == "receive window"),
        "{document:#}"
    );
}

#[test]
fn a_narrow_link_is_congestion() {
    priority::raise();
    let document = over_a_wire(
        |here, _| {
            let shape = "qdisc add dev left root tbf rate 20mbit burst 16k limit 60k";
            here.run("tc", &shape.split(' ').collect::<Vec<_>>());
        },
        "-t 3",
    );
    let found = causes(&document);
    assert!(
        found.iter().any(|name| name == "congestion"),
        "{document:#}"
    );
    // A pair of virtual interfaces reports 10 Gbit/s, and carries what the machine can.
    assert!(!found.iter().any(|name| name == "link"), "{document:#}");
}

#[test]
fn one_congested_stream_of_eight_is_named() {
    priority::raise();
    let narrow = [
        "qdisc add dev left root handle 1: htb",
        "class add dev left parent 1: classid 1:3 htb rate 5mbit burst 16k",
        "qdisc add dev left parent 1:3 bfifo limit 60k",
        // One of the clients' ports.
        "filter add dev left parent 1: protocol ip u32 match ip sport 6003 0xffff flowid 1:3",
    ];
    let document = over_a_wire(
        |here, _| {
            for line in narrow {
                here.run("tc", &line.split(' ').collect::<Vec<_>>());
            }
        },
        "-t 3 -P 8 --cport 6000 -b 20M -C cubic",
    );
    let limits = json::list(&document, "/end/limits").iter();
    let found = limits
        .filter(|limit| json::text(limit, "/cause") == Some("congestion"))
        .find_map(|limit| json::text(limit, "/evidence"));
    let start = "1 of 8 streams, at less than half of the mean rate: ";
    assert!(
        found.is_some_and(|text| text.starts_with(start)),
        "{document:#}"
    );
}

/// A program that does nothing but work, on processor 0.
fn busy() -> std::process::Child {
    let mut set = CpuSet::new();
    set.set(0).expect("a processor");
    let child = Command::new("sh")
        .args(["-c", "while :; do :; done"])
        .stdout(Stdio::null())
        .spawn()
        .expect("a shell");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    sched_setaffinity(pid, &set).expect("a binding");
    child
}

#[test]
fn a_processor_that_others_use_is_named() {
    if File::open("/proc/thread-self/schedstat").is_err() {
        return;
    }
    // One of the two ends waits for a processor at any time: with so many others, 6 of 7 parts, and one of the ends half of
    // them.
    let mut others: Vec<_> = (0..6).map(|_| busy()).collect();
    let found = causes_of("", "-t 3 -A 0,0");
    for other in &mut others {
        let _ = other.kill();
        let _ = other.wait();
    }
    let found = found.expect("a test that ends");
    let cpu = |name: &String| name.ends_with("CPU");
    assert!(found.iter().any(cpu), "{found:?}");
}

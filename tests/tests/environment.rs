//! `start.environment` and `end.environment`: what machine each end runs on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use iperf_harness::pair::{run_client, words};
use iperf_harness::{Finished, HANG, Peer, Running, Server, json, netns};
use serde_json::Value;

fn document(end: &Finished) -> Value {
    assert_eq!(end.code(), Some(0), "{end}");
    json::parse(&end.stdout).unwrap()
}

/// A path of jq, as people write it.
fn jq(document: &Value, filter: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), document.to_string()).unwrap();
    let output = std::process::Command::new("jq")
        .args(["-r", filter])
        .arg(file.path())
        .output()
        .expect("jq runs; tests/run installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{filter}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn each_end_describes_itself_and_its_peer() {
    let ends = netns::wire(1400);
    let server = Server::start_with(Peer::Ours, &["-J"], |command| ends[1].enter(&command));
    let port = server.port().to_string();
    let mut command = Peer::Ours.command();
    command.args(words("-c 10.9.0.2 -t 1 -J -p")).arg(&port);
    let end = Running::start(ends[0].enter(&command)).finish(HANG);
    let client = document(&end);
    server.stop();

    let own = "/start/environment";
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    for place in [own, "/end/environment/remote"] {
        let facts = json::at(&client, place);
        assert_eq!(facts["kernel"], format!("Linux {}", release.trim()));
        assert!(facts["cpus_usable"].as_u64() >= Some(1), "{facts}");
        assert_eq!(facts["interface"]["driver"], "veth", "{facts}");
        assert_eq!(facts["interface"]["mtu"], 1400, "{facts}");
        let offloads = facts["interface"]["offloads"].to_string();
        assert!(offloads.contains("tcp-segmentation-offload"), "{facts}");
    }
    let reported =
        "\\(.end.environment.remote_version) \\(.start.environment.sysctl.tcp_rmem | length)";
    assert_eq!(
        jq(&client, &format!("\"{reported}\"")),
        format!("{} 3", own_version())
    );
    let steal = json::float(&client, "/end/environment/steal_percent").unwrap();
    assert!((0.0..=100.0).contains(&steal), "{steal}");
}

/// The version that the program sends to its peers: the one that `-v` prints, but without the commit.
fn own_version() -> String {
    let mut command = Peer::Ours.command();
    command.arg("-v");
    let end = Running::start(command).finish(HANG);
    let first = end.stdout.lines().next().unwrap();
    let version = first.strip_prefix("iperf ").unwrap();
    match version.split_once(", commit ") {
        Some((version, _)) => format!("{version})"),
        None => version.to_owned(),
    }
}

#[test]
fn an_end_that_withholds_its_environment_sends_none() {
    for (server_args, client_args, own, remote) in [
        ("", "--no-environment", false, false),
        ("--no-environment", "", true, false),
        ("", "", true, true),
    ] {
        let server = Server::start(
            Peer::Ours,
            &words(server_args)
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        );
        let end = run_client(Peer::Ours, server.port(), &format!("-t 1 -J {client_args}"));
        let document = document(&end);
        let has = |pointer| !json::at(&document, pointer).is_null();
        assert_eq!(has("/start/environment"), own, "{client_args}");
        assert_eq!(has("/end/environment"), own, "{client_args}");
        assert_eq!(has("/end/environment/remote"), remote, "{server_args}");
    }
}

#[test]
fn iperf3_is_sent_no_environment_and_reports_none() {
    for peer in [Peer::Old, Peer::New] {
        let server = Server::start(peer, &[]);
        let end = run_client(Peer::Ours, server.port(), "-t 1 -J");
        let document = document(&end);
        assert!(json::at(&document, "/start/environment").is_object());
        assert!(json::at(&document, "/end/environment/remote").is_null());
        server.stop();

        let server = Server::start(Peer::Ours, &["-J"]);
        let end = run_client(peer, server.port(), "-t 1 -J --get-server-output");
        assert!(!end.stdout.contains("environment"), "{end}");
        server.stop();
    }
}

#[test]
fn the_first_of_the_json_lines_has_the_facts() {
    let mut command = Peer::Ours.command();
    command.args(words("--loopback -t 1 --json-stream"));
    let end = Running::start(command).finish(HANG);
    let lines: Vec<Value> = end
        .stdout
        .lines()
        .map(|line| json::parse(line).unwrap())
        .collect();
    assert_eq!(lines[0]["event"], "start");
    assert_eq!(lines[0]["data"]["environment"]["interface"]["name"], "lo");
    let last = lines.last().unwrap();
    assert!(
        last["data"]["environment"]["steal_percent"].is_number(),
        "{last}"
    );
}

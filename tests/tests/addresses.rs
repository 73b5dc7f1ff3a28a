//! Addresses that are more than an IP: link-local ones with their scope, and names that have several.

use std::fs;
use std::process::Command;

use iperf_harness::netns::{Namespace, wire};
use iperf_harness::pair::words;
use iperf_harness::{Finished, HANG, Peer, Running, Server};
use tempfile::TempDir;

/// A wire with ends that also have the link-local addresses fe80::9:1 and fe80::9:2.
fn link_local() -> [Namespace; 2] {
    let ends = wire(1500);
    for (end, line) in ends.iter().zip([
        "addr add fe80::9:1/64 dev left nodad",
        "addr add fe80::9:2/64 dev right nodad",
    ]) {
        end.run("ip", &words(line));
    }
    ends
}

fn client(end: &Namespace, port: u16, args: &str) -> Finished {
    let mut command = Peer::Ours.command();
    command.args(["-p", &port.to_string()]).args(words(args));
    Running::start(end.enter(&command)).finish(HANG)
}

/// Each way in which streams are opened makes addresses of its own.
#[test]
fn link_local_addresses_keep_their_scope_in_all_modes() {
    let ends = link_local();
    for listen in [&[][..], &["-B", "fe80::9:2%right"]] {
        let server = Server::start_with(Peer::Ours, listen, |command| ends[1].enter(&command));
        for mode in [
            "",
            "-R",
            "--bidir -P 2",
            "-P 3 --cport 7000",
            "-m",
            "-u",
            "-u -R -P 2",
            "-u --bidir --cport 7100",
            "-L 77",
        ] {
            for bind in ["", "-B fe80::9:1%left", "-B fe80::9:1%left --bind-dev left"] {
                let args = format!("-c fe80::9:2%left -n 100K {mode} {bind}");
                let end = client(&ends[0], server.port(), &args);
                assert!(end.succeeded(), "{args}\n{end}");
                let local = bind.is_empty() || end.stdout.contains("local fe80::9:1 port");
                assert!(local, "{args}\n{end}");
            }
        }
    }
}

/// The same command, where `server.test` has these addresses.
fn with_hosts(command: &Command, directory: &TempDir, addresses: &[&str]) -> Command {
    let hosts = addresses.join(" server.test\n") + " server.test\n";
    let file = directory.path().join("hosts");
    fs::write(&file, hosts).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut inside = Command::new("unshare");
    inside
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"")
        .arg(file)
        .arg(command.get_program())
        .args(command.get_args());
    inside
}

/// 10.9.0.3 and fd09::3 are unused: what is sent to them is dropped silently.
fn with_silent_addresses() -> [Namespace; 2] {
    let ends = wire(1500);
    for address in ["10.9.0.3", "fd09::3"] {
        let line = format!("neigh add {address} lladdr 02:00:00:00:00:03 dev left nud permanent");
        ends[0].run("ip", &words(&line));
    }
    ends
}

#[test]
fn the_next_address_is_tried_while_the_first_is_silent() {
    let ends = with_silent_addresses();
    let server = Server::start_with(Peer::Ours, &[], |command| ends[1].enter(&command));
    for (addresses, connected) in [
        (&["fd09::3", "10.9.0.2"][..], "connected to 10.9.0.2 port"),
        (&["10.9.0.3", "10.9.0.2"], "connected to 10.9.0.2 port"),
        (
            &["fd09::3", "10.9.0.3", "fd09::2"],
            "connected to fd09::2 port",
        ),
    ] {
        for mode in ["", "-u -R"] {
            let directory = TempDir::new().expect("a directory");
            let args = format!("-c server.test --connect-timeout 10000 -n 100K {mode}");
            let mut command = Peer::Ours.command();
            command
                .args(["-p", &server.port().to_string()])
                .args(words(&args));
            let command = with_hosts(&command, &directory, addresses);
            let end = Running::start(ends[0].enter(&command)).finish(HANG);
            assert!(end.succeeded(), "{addresses:?} {mode}\n{end}");
            assert!(
                end.stdout.contains(connected),
                "{addresses:?} {mode}\n{end}"
            );
        }
    }
}

#[test]
fn silent_addresses_share_one_time_limit() {
    let ends = with_silent_addresses();
    let directory = TempDir::new().expect("a directory");
    let mut command = Peer::Ours.command();
    command.args(words("-c server.test --connect-timeout 700"));
    let command = with_hosts(&command, &directory, &["fd09::3", "10.9.0.3"]);
    let end = Running::start(ends[0].enter(&command)).finish(HANG);
    assert_eq!(end.code(), Some(1), "{end}");
    assert!(end.stderr.contains(": Connection timed out"), "{end}");
}

//! The numbers by which output names streams are those of iperf3 3.12, at both ends and in each mode.
//!
//! The table is held against 3.12 itself, which prints descriptors: its processes start with 0, 1 and 2 open only.

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;
use std::time::Duration;

use iperf_harness::pair::words;
use iperf_harness::proxy::{HalfClose, Vmm};
use iperf_harness::{Finished, HANG, Peer, Problems, Running, Server, json, parallel};
use regex::Regex;
use serde_json::Value;

/// A way to run a test, and the numbers of its streams.
struct Mode {
    client_args: &'static str,
    server_args: &'static [&'static str],
    client: &'static [i64],
    server: &'static [i64],
}

const fn mode(client_args: &'static str, client: &'static [i64], server: &'static [i64]) -> Mode {
    Mode {
        client_args,
        server_args: &[],
        client,
        server,
    }
}

const MODES: [Mode; 14] = [
    mode("", &[5], &[5]),
    mode("-R", &[5], &[5]),
    mode("-Z -P 2", &[5, 7], &[5, 8]),
    mode("--bidir", &[5, 7], &[5, 8]),
    mode("-P 4", &[5, 7, 9, 11], &[5, 8, 10, 12]),
    mode("-P 3 -R", &[5, 7, 9], &[5, 8, 10]),
    mode("-P 2 --bidir", &[5, 7, 9, 11], &[5, 8, 10, 12]),
    mode("-u", &[5], &[5]),
    mode("-u --bidir", &[5, 7], &[5, 6]),
    mode("-u -P 4", &[5, 7, 9, 11], &[5, 6, 9, 11]),
    mode("-u -P 3 -R", &[5, 7, 9], &[5, 6, 9]),
    mode("-F /dev/zero -P 3", &[5, 8, 11], &[5, 8, 10]),
    Mode {
        client_args: "-P 3",
        server_args: &["-F", "/dev/null"],
        client: &[5, 7, 9],
        server: &[5, 9, 12],
    },
    Mode {
        client_args: "-P 3 -R",
        server_args: &["-F", "/dev/zero"],
        client: &[5, 7, 9],
        server: &[5, 9, 12],
    },
];

/// Closes what it inherited but the usual three. A plain sh can close no descriptor above 9.
const CLOSED: &str = r#"
for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    if [ "$fd" -gt 2 ]; then eval "exec $fd<&-"; fi
done
exec "$0" "$@"
"#;

/// The same command without inherited descriptors.
fn closed(command: &Command) -> Command {
    let mut shell = Command::new("bash");
    shell
        .args(["-c", CLOSED])
        .arg(command.get_program())
        .args(command.get_args())
        .env("LC_ALL", "C");
    shell
}

/// The numbers of a document, which are the same wherever it names streams.
fn of_document(f: &mut Problems, end: &Finished, label: &str, want: &[i64]) {
    let document = end.document();
    let numbers = |streams: &[Value], pointer: &str| -> Vec<i64> {
        streams
            .iter()
            .filter_map(|s| json::int(s, pointer))
            .collect()
    };
    let connected = numbers(json::list(&document, "/start/connected"), "/socket");
    f.equal(format!("{label}, connected"), connected.as_slice(), want);
    let first = numbers(json::list(&document, "/intervals/0/streams"), "/socket");
    f.equal(format!("{label}, intervals"), first.as_slice(), want);
    let ends = json::list(&document, "/end/streams");
    for (pointer, is_there) in [
        (
            "/udp/socket",
            document.pointer("/end/streams/0/udp").is_some(),
        ),
        (
            "/sender/socket",
            document.pointer("/end/streams/0/sender").is_some(),
        ),
        (
            "/receiver/socket",
            document.pointer("/end/streams/0/receiver").is_some(),
        ),
    ] {
        if is_there {
            f.equal(
                format!("{label}, end {pointer}"),
                numbers(ends, pointer).as_slice(),
                want,
            );
        }
    }
}

/// The numbers of a text: those of the lines that connect, and no other in the columns.
fn of_text(f: &mut Problems, end: &Finished, label: &str, want: &[i64]) {
    let columns = Regex::new(r"(?m)^\[ *(\d+)\](.*)$").expect("a pattern");
    let (mut connected, mut named) = (Vec::new(), BTreeSet::new());
    for line in columns.captures_iter(&end.stdout) {
        let number: i64 = line[1].parse().expect("digits");
        named.insert(number);
        if line[2].starts_with(" local ") {
            connected.push(number);
        }
    }
    f.equal(format!("{label}, connected"), connected.as_slice(), want);
    f.equal(
        format!("{label}, all lines"),
        named,
        want.iter().copied().collect(),
    );
}

struct Case {
    client: Peer,
    server: Peer,
    mode: &'static Mode,
    format: &'static str,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, server, mode) = (self.client, self.server, self.mode);
        let (of_client, of_server) = (mode.client_args, mode.server_args);
        write!(
            f,
            "{client} client {of_client} {}, {server} server {of_server:?}",
            self.format
        )
    }
}

#[test]
fn streams_have_the_numbers_of_iperf3() {
    let mut cases = Vec::new();
    for mode in &MODES {
        for format in ["", "-J"] {
            for (client, server) in [(Peer::Ours, Peer::Old), (Peer::Old, Peer::Ours)] {
                cases.push(Case {
                    client,
                    server,
                    mode,
                    format,
                });
            }
        }
    }
    parallel::each(&cases, 8, |case| {
        let mode = case.mode;
        let mut server_args = vec!["-1"];
        server_args.extend(words(case.format).first().map(|_| case.format));
        server_args.extend(mode.server_args);
        let server = Server::start_with(case.server, &server_args, |command| closed(&command));
        let mut command = case.client.command();
        let port = server.port().to_string();
        command.args([
            "-c",
            "127.0.0.1",
            "-t",
            "1",
            "-b",
            "10M",
            "-l",
            "1000",
            "-p",
            &port,
        ]);
        command.args(words(&format!("{} {}", mode.client_args, case.format)));
        let client = Running::start(closed(&command)).finish(HANG);
        let server = server.finish(HANG);

        let mut f = Problems::new();
        let check = if case.format == "-J" {
            of_document
        } else {
            of_text
        };
        check(&mut f, &client, "client", mode.client);
        check(&mut f, &server, "server", mode.server);
        f.into_result(format!("{client}{server}"))
    });
}

#[test]
fn streams_over_vsock_and_loopback_have_the_numbers_of_byte_streams() {
    let mut f = Problems::new();
    let vmm = Vmm::start(HalfClose::Passed, Duration::ZERO);
    let server = vmm.serve(1_910_445_940, "-1 -J");
    let client = vmm
        .client(1_910_445_940, "-t 1 -b 10M --bidir -P 2 -J")
        .finish(HANG);
    let server = server.finish(HANG);
    of_document(&mut f, &client, "vsock client", &[5, 7, 9, 11]);
    of_document(&mut f, &server, "vsock server", &[5, 8, 10, 12]);

    let mut command = Peer::Ours.command();
    command.args(words("--loopback -t 1 -b 10M -u -P 3"));
    let loopback = Running::start(command).finish(HANG);
    of_text(&mut f, &loopback, "loopback", &[5, 7, 9]);
    f.assert_none(format!("{client}{server}{loopback}"));
}

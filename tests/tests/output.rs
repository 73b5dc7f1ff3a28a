//! Our output beside iperf3's for the same command: the same lines, the same keys, types and order.
//!
//! Recorded outputs of 3.22 lie in `tests/data/samples`; more commands are run with the newest real iperf3 next to
//! ours. Figures are masked, and how often an interval repeats is left open, because both depend on the clock.

use std::fmt;
use std::fs;
use std::path::Path;

use iperf_tests::compare::compare;
use iperf_tests::{Findings, Outcome, Pair, Peer, parallel};

const WORKERS: usize = 8;

/// A command pair, and the files that hold what a real client and a real server wrote for it.
#[derive(Clone, Copy)]
struct Sample {
    client: &'static str,
    server: &'static str,
    client_file: &'static str,
    server_file: &'static str,
}

const fn sample(
    client: &'static str,
    server: &'static str,
    client_file: &'static str,
    server_file: &'static str,
) -> Sample {
    Sample {
        client,
        server,
        client_file,
        server_file,
    }
}

/// Which files were recorded with which commands. An empty name: that end was not recorded.
const SAMPLES: [Sample; 42] = [
    sample("-t 2", "", "tcp-322.txt", "server-tcp-322.txt"),
    sample(
        "-t 2 -R",
        "",
        "tcp-reverse-322.txt",
        "server-tcp-reverse-322.txt",
    ),
    sample(
        "-t 2 -P 2 -b 20M",
        "",
        "tcp-p2-322.txt",
        "server-tcp-p2-322.txt",
    ),
    sample(
        "-t 2 --bidir -b 20M",
        "",
        "tcp-bidir-322.txt",
        "server-tcp-bidir-322.txt",
    ),
    sample(
        "-t 2 --bidir -P 2 -b 20M",
        "",
        "tcp-bidir-p2-322.txt",
        "server-tcp-bidir-p2-322.txt",
    ),
    sample(
        "-t 2 -V -b 20M",
        "-V",
        "tcp-verbose-322.txt",
        "server-tcp-verbose-322.txt",
    ),
    sample(
        "-t 2 -R -V -b 20M",
        "-V",
        "tcp-reverse-verbose-322.txt",
        "server-tcp-reverse-verbose-322.txt",
    ),
    sample(
        "-t 1 --bidir -V -b 20M",
        "-V",
        "tcp-bidir-verbose-322.txt",
        "server-tcp-bidir-verbose-322.txt",
    ),
    sample("-n 1M -V -i 0.5", "", "tcp-bytes-verbose-322.txt", ""),
    sample(
        "-t 2 -O 1 -b 20M",
        "",
        "tcp-omit-322.txt",
        "server-tcp-omit-322.txt",
    ),
    sample(
        "-t 2 -O 1 -b 20M -P 2",
        "",
        "tcp-omit-p2-322.txt",
        "server-tcp-omit-p2-322.txt",
    ),
    sample(
        "-t 2 -i 0 -b 20M",
        "",
        "tcp-i0-322.txt",
        "server-tcp-i0-322.txt",
    ),
    sample(
        "-t 1 -i 0.5 -b 20M",
        "-i 0.5",
        "tcp-i05-322.txt",
        "server-tcp-i05-322.txt",
    ),
    sample("-t 1 -f k -b 20M", "", "tcp-format-kbits-322.txt", ""),
    sample("-t 1 -f m -b 20M", "", "tcp-format-mbits-322.txt", ""),
    sample("-t 1 -f g -b 20M", "", "tcp-format-gbits-322.txt", ""),
    sample("-t 1 -f t -b 20M", "", "tcp-format-tbits-322.txt", ""),
    sample("-t 1 -f K -b 20M", "", "tcp-format-Kbytes-322.txt", ""),
    sample("-t 1 -f M -b 20M", "", "tcp-format-Mbytes-322.txt", ""),
    sample("-t 1 -f G -b 20M", "", "tcp-format-Gbytes-322.txt", ""),
    sample("-t 1 -f T -b 20M", "", "tcp-format-Tbytes-322.txt", ""),
    sample(
        "-t 1 -b 20M --timestamps",
        "--timestamps",
        "tcp-timestamps-322.txt",
        "server-tcp-timestamps-322.txt",
    ),
    sample(
        "-t 1 -b 20M '--timestamps=%H:%M:%S '",
        "",
        "tcp-timestamps-format-322.txt",
        "",
    ),
    sample(
        "-t 1 -b 20M -T 'my title'",
        "",
        "tcp-title-322.txt",
        "server-tcp-title-322.txt",
    ),
    sample(
        "-t 1 -b 20M --get-server-output",
        "",
        "tcp-get-server-output-322.txt",
        "",
    ),
    sample(
        "-t 1 -b 20M --get-server-output",
        "-J",
        "tcp-get-server-output-json-322.txt",
        "",
    ),
    sample(
        "-F f.bin",
        "-F recv.bin",
        "tcp-file-322.txt",
        "server-tcp-file-322.txt",
    ),
    sample("-J -t 2", "-J", "tcp-322.json", "server-tcp-322.json"),
    sample(
        "-J -t 2 -R",
        "-J",
        "tcp-reverse-322.json",
        "server-tcp-reverse-322.json",
    ),
    sample("-J -t 2 -P 2", "", "tcp-p2-322.json", ""),
    sample(
        "-J -t 2 --bidir -P 2",
        "-J",
        "tcp-bidir-p2-322.json",
        "server-tcp-bidir-p2-322.json",
    ),
    sample("-J -t 2 -O 1", "", "tcp-omit-322.json", ""),
    sample("-J -t 2 -i 0 -b 10M", "", "tcp-i0-322.json", ""),
    sample(
        "-J -F f.bin",
        "-J -F recv.bin",
        "tcp-file-322.json",
        "server-tcp-file-322.json",
    ),
    sample(
        "-J -t 1 -T 'my title' --extra-data xd --get-server-output -b 2M",
        "-J",
        "tcp-title-extra-server-json-322.json",
        "server-tcp-title-extra-server-json-322.json",
    ),
    sample(
        "-J -t 1 --get-server-output -b 2M",
        "",
        "tcp-server-text-322.json",
        "",
    ),
    sample(
        "-J -t 1 -P 2 -N -M 1400 -w 256K -b 50M/4 --fq-rate 1G -S 0x10 -C cubic",
        "",
        "tcp-many-options-322.json",
        "",
    ),
    sample(
        "--json-stream -t 2",
        "--json-stream",
        "tcp-json-stream-322.jsonl",
        "server-tcp-json-stream-322.jsonl",
    ),
    sample(
        "--json-stream -t 2 --bidir",
        "",
        "tcp-bidir-json-stream-322.jsonl",
        "",
    ),
    sample(
        "--json-stream --json-stream-full-output -t 2",
        "",
        "tcp-json-stream-full-322.jsonl",
        "",
    ),
    sample(
        "--json-stream -t 1 --get-server-output -b 2M",
        "-J",
        "tcp-json-stream-server-output-322.jsonl",
        "",
    ),
    sample(
        "--json-stream -t 1 --get-server-output -b 2M",
        "",
        "tcp-json-stream-server-text-322.jsonl",
        "",
    ),
];

/// Commands that were not recorded; a real pair is run beside ours.
///
/// With `-R` they run for two seconds: the only report of a one-second test comes after the results, and then the
/// real client's header has columns that its lines do not have.
const LIVE: [(&str, &str); 20] = [
    ("-t 2 -R -P 2 -b 20M", ""),
    ("-t 2 -R -P 2 -b 20M -V", "-V"),
    ("-t 1 -P 2 -b 20M -V", "-V"),
    ("-t 1 --bidir -P 2 -b 20M -V", "-V"),
    ("-t 1 -O 1 -R -b 20M", ""),
    ("-t 1 -O 1 --bidir -b 20M", ""),
    ("-t 1 -i 0 -P 2 -b 20M", "-i 0"),
    ("-t 1 -i 0 -O 1 -V -b 20M", "-i 0 -V"),
    ("-k 10 -V", "-V"),
    ("-n 1M -R -V", "-V"),
    ("-t 1 -b 20M -V -M 1400 -w 64K -S 0x20", "-V"),
    ("-t 2 -b 20M -R --get-server-output", ""),
    ("-t 1 -b 20M -V --get-server-output", "-V"),
    (
        "-t 1 -b 20M -T 'my title' --timestamps",
        "--timestamps=%H:%M:%S",
    ),
    ("-F f.bin -V", "-F recv.bin -V"),
    ("-t 2 -R -F recv.bin -b 5M", "-F f.bin"),
    ("-J -t 1 --bidir -b 20M -M 1400", "-J"),
    ("-J -n 1M -R", "-J"),
    ("-J -k 16 -P 2 -l 64K -O 1", "-J"),
    (
        "--json-stream -t 1 -R -P 2 -b 20M",
        "--json-stream --json-stream-full-output",
    ),
];

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}, server {}", self.client, self.server)
    }
}

/// Both ends are the same program.
fn run(peer: Peer, client: &str, server: &str) -> Outcome {
    Pair::new(peer, peer)
        .client_args(client)
        .server_args(server)
        .file("f.bin", vec![b'x'; 3_000_000])
        .run()
}

fn recorded(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data/samples")
        .join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn check_exits(f: &mut Findings, outcome: &Outcome) {
    f.equal("the client's exit code", outcome.client.code(), Some(0));
    f.equal("the server's exit code", outcome.server.code(), Some(0));
    f.equal("the client's stderr", outcome.client.stderr.as_str(), "");
    f.equal("the server's stderr", outcome.server.stderr.as_str(), "");
}

fn beside_the_samples(peer: Peer) {
    parallel::each(&SAMPLES, WORKERS, |row| {
        let outcome = run(peer, row.client, row.server);
        let mut f = Findings::new();
        check_exits(&mut f, &outcome);
        let ends = [
            ("client", row.client_file, &outcome.client.stdout),
            ("server", row.server_file, &outcome.server.stdout),
        ];
        for (end, file, got) in ends {
            if !file.is_empty() {
                compare(
                    &mut f,
                    &format!("{end} ({file})"),
                    got,
                    &recorded(file),
                    peer == Peer::Ours,
                );
            }
        }
        f.into_result(&outcome)
    });
}

#[test]
fn ours_is_like_the_samples() {
    beside_the_samples(Peer::Ours);
}

/// The comparison asks for nothing that iperf3 itself does not keep from run to run.
#[test]
fn the_real_one_is_like_its_samples() {
    if Peer::New.version() != "3.22" {
        eprintln!("the newest iperf3 is no longer the one that was recorded");
        return;
    }
    beside_the_samples(Peer::New);
}

#[test]
fn ours_is_like_the_real_one() {
    let rows = LIVE.map(|(client, server)| sample(client, server, "", ""));
    parallel::each(&rows, WORKERS, |row| {
        let ours = run(Peer::Ours, row.client, row.server);
        let real = run(Peer::New, row.client, row.server);
        let mut f = Findings::new();
        check_exits(&mut f, &ours);
        compare(
            &mut f,
            "client",
            &ours.client.stdout,
            &real.client.stdout,
            true,
        );
        compare(
            &mut f,
            "server",
            &ours.server.stdout,
            &real.server.stdout,
            true,
        );
        f.into_result(format!("{ours}\nand the real one:\n{real}"))
    });
}

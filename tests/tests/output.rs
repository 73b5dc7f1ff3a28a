//! Our output beside iperf3's for the same command: the same lines, the same keys, types and order.
//!
//! Recorded outputs of 3.22 lie in `tests/data/samples`; more commands are run with the newest real iperf3 next to
//! ours. Figures are masked, and how often an interval repeats is left open, because both depend on the clock.

use std::fmt;
use std::fs;
use std::path::Path;

use iperf_tests::{Findings, Outcome, Pair, Peer, json, parallel, shape, text};
use serde_json::Value;

const WORKERS: usize = 8;

/// Members of our documents that iperf3 does not have.
const OURS_ALONE: [&str; 0] = [];

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
const LIVE: [(&str, &str); 21] = [
    ("-t 1 -R -P 2 -b 20M", ""),
    ("-t 1 -R -P 2 -b 20M -V", "-V"),
    ("-t 1 -P 2 -b 20M -V", "-V"),
    ("-t 1 --bidir -P 2 -b 20M -V", "-V"),
    ("-t 1 -O 1 -R -b 20M", ""),
    ("-t 1 -O 1 --bidir -b 20M", ""),
    ("-t 1 -i 0 -P 2 -b 20M", "-i 0"),
    ("-t 1 -i 0 -O 1 -V -b 20M", "-i 0 -V"),
    ("-k 10 -V", "-V"),
    ("-n 1M -R -V", "-V"),
    ("-t 1 -b 20M -V -M 1400 -w 64K -S 0x20", "-V"),
    ("-t 1 -b 20M -R --get-server-output", ""),
    ("-t 1 -b 20M --bidir --get-server-output", ""),
    ("-t 1 -b 20M -V --get-server-output", "-V"),
    (
        "-t 1 -b 20M -T 'my title' --timestamps",
        "--timestamps=%H:%M:%S",
    ),
    ("-F f.bin -V", "-F recv.bin -V"),
    ("-t 1 -R -F recv.bin -b 20M", "-F f.bin"),
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

/// Compares one output with iperf3's. What kind of output it is shows in its first bytes.
fn compare(f: &mut Findings, end: &str, got: &str, want: &str, got_is_ours: bool) {
    if want.starts_with("{\"event\"") {
        compare_events(f, end, got, want, got_is_ours);
    } else if want.starts_with('{') {
        compare_documents(f, end, got, want, got_is_ours);
    } else {
        compare_text(f, end, got, want);
    }
}

fn compare_text(f: &mut Findings, end: &str, got: &str, want: &str) {
    let (got, want) = (inner_document(got), inner_document(want));
    let (got_lines, want_lines) = (text::mask(&got.0), text::mask(&want.0));
    for (number, pair) in zip_longest(&got_lines, &want_lines).enumerate() {
        if pair.0 != pair.1 {
            f.add(format!(
                "{end}, line {number}:\n    got  {:?}\n    want {:?}",
                pair.0.map_or("", String::as_str),
                pair.1.map_or("", String::as_str)
            ));
            break;
        }
    }
    if let (Some(got), Some(want)) = (got.1, want.1) {
        let shape = |document: &Value| shape::lines(document, &OURS_ALONE);
        for difference in shape::differences(&shape(&got), &shape(&want)) {
            f.add(format!("{end}, server output: {difference}"));
        }
    }
}

/// Takes the document out of a text with `Server JSON output:`.
fn inner_document(text: &str) -> (String, Option<Value>) {
    let Some((before, rest)) = text.split_once("Server JSON output:\n") else {
        return (text.to_owned(), None);
    };
    let mut documents = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let document = documents.next().and_then(Result::ok);
    let after = &rest[documents.byte_offset()..];
    (
        format!("{before}Server JSON output:\n<document>{after}"),
        document,
    )
}

fn compare_documents(f: &mut Findings, end: &str, got: &str, want: &str, got_is_ours: bool) {
    let (Ok(got_value), Ok(want_value)) = (parse(got), parse(want)) else {
        return f.add(format!("{end}: the output is no JSON document"));
    };
    let got_lines = shape::lines(&got_value, &OURS_ALONE);
    let want_lines = shape::lines(&want_value, &OURS_ALONE);
    for difference in shape::differences(&got_lines, &want_lines) {
        f.add(format!("{end}: {difference}"));
    }
    if got_is_ours {
        let laid_out = shape::layout(&got_value) == shape::without_numbers(got);
        f.holds(
            format!("{end}: the layout is iperf3's, and no key comes twice"),
            laid_out,
        );
    }
    f.equal(
        format!("{end}: a whole number with a point"),
        shape::dotted_whole_number(got),
        None,
    );
}

fn compare_events(f: &mut Findings, end: &str, got: &str, want: &str, got_is_ours: bool) {
    let (got_events, got_rest) = split_events(got);
    let (want_events, want_rest) = split_events(want);
    for (got, want) in zip_longest(&got_events, &want_events) {
        let (got, want) = (
            got.cloned().unwrap_or_default(),
            want.cloned().unwrap_or_default(),
        );
        for difference in shape::differences(&got, &want) {
            f.add(format!("{end}: {difference}"));
        }
    }
    if want_rest.is_empty() {
        f.equal(
            format!("{end}: what follows the events"),
            got_rest.as_str(),
            "",
        );
    } else {
        compare_documents(f, end, &got_rest, &want_rest, got_is_ours);
    }
}

/// The shapes of the events, repeated ones left out, and what follows the last.
fn split_events(text: &str) -> (Vec<Vec<String>>, String) {
    let events = text
        .lines()
        .take_while(|line| line.starts_with("{\"event\":"));
    let mut shapes: Vec<Vec<String>> = Vec::new();
    let mut length = 0;
    for line in events {
        length += line.len() + 1;
        let value = parse(line).unwrap_or(Value::Null);
        let mut shape = vec![format!(
            "event {}",
            json::text(&value, "/event").unwrap_or("?")
        )];
        shape.extend(shape::lines(&value, &OURS_ALONE));
        if shapes.last() != Some(&shape) {
            shapes.push(shape);
        }
    }
    (shapes, text.get(length..).unwrap_or("").to_owned())
}

fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text)
}

fn zip_longest<'a, T>(
    a: &'a [T],
    b: &'a [T],
) -> impl Iterator<Item = (Option<&'a T>, Option<&'a T>)> {
    (0..a.len().max(b.len())).map(|index| (a.get(index), b.get(index)))
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

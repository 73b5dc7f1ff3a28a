//! Mistakes on the command line: each message names the option, what came and what is allowed, and the exit code is 1,
//! or 2 for a subcommand.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

/// Runs the program in an empty folder; its exit code and what it printed on stderr.
fn run<W: AsRef<OsStr>>(words: &[W]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_iperf"))
        .args(words)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), stderr)
}

/// Runs a command line, in which words are separated by blanks, and `''` is an empty one.
fn fails(line: &str, code: i32, parts: &[&str]) {
    let word = |word| if word == "''" { "" } else { word };
    let words: Vec<&str> = line.split(' ').map(word).collect();
    let (found, stderr) = run(&words);
    assert_eq!(found, Some(code), "{line}: {stderr}");
    for part in parts {
        assert!(
            stderr.contains(part),
            "{line}: {part} is missing in: {stderr}"
        );
    }
}

/// Command lines, what iperf3 says about them, and what the second line adds.
const SECOND_LINES: &[(&str, &str, &str)] = &[
    (
        "-c h -p 70000",
        "port number must be between",
        "invalid value '70000' for -p/--port",
    ),
    (
        "-c h -p ''",
        "port number must be between",
        "invalid value '' for -p/--port",
    ),
    (
        "-c h -b 10Q",
        "invalid unit value or suffix",
        "invalid value '10Q' for -b/--bitrate",
    ),
    (
        "-s --options-file /nope",
        "/nope: No such file or directory",
        "invalid value '/nope' for --options-file",
    ),
    (
        "-c h -A x,1000000",
        "unable to set CPU affinity",
        "invalid value 'x,1000000' for -A/--affinity",
    ),
    (
        "-c h -l 2G",
        "block size too large",
        "invalid value '2G' for -l/--length",
    ),
    (
        "-c h -u -l 8",
        "block size invalid",
        "invalid value '8' for -l/--length",
    ),
    (
        "-c h --rcv-timeout 1",
        "receive timeout value",
        "invalid value '1' for --rcv-timeout",
    ),
    (
        "-s --idle-timeout 0",
        "idle timeout parameter",
        "invalid value '0' for --idle-timeout",
    ),
    (
        "-c h --tests 4 --drain 5 --tests 4",
        "server only",
        "only a server (-s) takes --tests, --drain\n",
    ),
    (
        "-s -R -t 5",
        "client only",
        "only a client (-c) takes -R/--reverse, -t/--time\n",
    ),
    (
        "-s -A 0,1",
        "client only",
        "only a client (-c) takes -A/--affinity",
    ),
    (
        "-c h --username me",
        "RSA public key",
        "a login takes --username, --rsa-public-key-path and a password",
    ),
    (
        "-s --rsa-private-key-path /nope",
        "RSA private key",
        "logins take both --rsa-private-key-path and --authorized-users-path",
    ),
    (
        "-c h --paralel 4",
        "unrecognized option '--paralel'",
        "did you mean --parallel?",
    ),
    (
        "comapre a b",
        "must either be a client (-c) or server (-s)",
        "'comapre' is no command (report, compare, bench,",
    ),
    (
        "192.0.2.1 -t 5",
        "must either be a client (-c) or server (-s)",
        "'192.0.2.1' is no command (",
    ),
];

#[test]
fn what_iperf3s_messages_leave_out_is_on_a_second_line() {
    for (line, first, second) in SECOND_LINES {
        fails(
            line,
            1,
            &[
                first,
                &format!("\niperf: {second}"),
                "\n\nUsage: iperf [-s|-c host] [options]\n",
            ],
        );
    }
    // What names all of it already has no second line.
    let (_, stderr) = run(&["-c", "h", "--rr=0"]);
    assert_eq!(stderr.matches("iperf: ").count(), 1, "{stderr}");
    let (_, stderr) = run::<&str>(&[]);
    assert_eq!(stderr.matches("iperf: ").count(), 1, "{stderr}");
}

#[test]
fn values_that_are_no_text_are_named() {
    for option in ["-c", "-T", "-B"] {
        let value = OsStr::from_bytes(b"\xff\xfe");
        let (code, stderr) = run(&[OsStr::new("-c"), OsStr::new("h"), OsStr::new(option), value]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(&format!("for {option}/--")), "{stderr}");
        assert!(stderr.contains("must be text in UTF-8"), "{stderr}");
    }
}

#[test]
fn words_that_no_option_takes_are_named_in_a_warning() {
    for (line, warning) in [
        ("-c h -p 0x --zerocopy msg", None),
        (
            "-c nosuch.invalid --zerocopy msg",
            Some(
                "warning: 'msg' is ignored: a value of --zerocopy follows an equals sign, --zerocopy=msg\n",
            ),
        ),
        (
            "-c nosuch.invalid -Z msg",
            Some("warning: 'msg' is ignored: a value of -Z follows an equals sign, -Z=msg\n"),
        ),
        (
            "-c nosuch.invalid -R 5",
            Some("warning: '5' is ignored: it belongs to no option\n"),
        ),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let (code, stderr) = run(&words);
        assert_eq!(code, Some(1), "{line}: {stderr}");
        match warning {
            Some(warning) => assert!(stderr.starts_with(warning), "{line}: {stderr}"),
            None => assert!(!stderr.contains("warning"), "{line}: {stderr}"),
        }
    }
}

/// Command lines, and parts of the message.
const OF_SUBCOMMANDS: &[(&str, &[&str])] = &[
    ("report", &["<FILE>"]),
    ("report ''", &["<FILE>"]),
    ("report --fromat html", &["'--fromat'", "'--format'"]),
    (
        "report /nope",
        &["iperf: /nope: No such file or directory\n"],
    ),
    (
        "report --as foo x",
        &["'foo' for '--as <TOOL>'", "iperf3, "],
    ),
    (
        "report --format pdf x",
        &["'pdf' for '--format <FORMAT>'", "markdown"],
    ),
    (
        "report --bytes x t",
        &["'x' for '--bytes <SIZE>'", "such as 4000M"],
    ),
    ("compare one", &["2 values required", "[BASE] [NEW]"]),
    ("compare --base a", &["--new <FILE>"]),
    (
        "compare --margin foo a b",
        &[
            "'foo' for '--margin <METRIC=SIZE>'",
            "such as throughput=3%",
        ],
    ),
    (
        "compare --margin speed=3% a b",
        &["no metric 'speed'", "throughput, ", "latency.p99"],
    ),
    (
        "compare --margin rtt=3 a b",
        &["'3' must be a time, such as 200us"],
    ),
    (
        "compare --require foo a b",
        &[
            "'foo' for '--require <CONDITION>'",
            "such as throughput>=9.4G",
        ],
    ),
    ("compare --ignore '' a b", &["--ignore <PARAMETER>"]),
    ("bench ''", &["<CMD>"]),
    (
        "bench --rounds 0 true",
        &["'0' for '--rounds <N>'", "from 1 to 10000"],
    ),
    (
        "bench --rounds 1e9 true",
        &["'1e9' for '--rounds <N>'", "from 1 to 10000"],
    ),
    (
        "bench --seed x true",
        &["'x' for '--seed <N>'", "a whole number"],
    ),
    (
        "bench --timeout 0 true",
        &["'0' for '--timeout <SECONDS>'", "up to 604800"],
    ),
    (
        "bench --until never true",
        &["'never' for '--until <WHEN>'", "decided"],
    ),
    ("bench --max-rounds 3 true", &["--until"]),
    (
        "bench --until decided --max-rounds 3 true",
        &["--max-rounds 3 is less than --rounds 10"],
    ),
    ("bench --resume true", &["--save <FILE>"]),
    (
        "bench --save /nope/x true",
        &["--save /nope/x: No such file or directory\n"],
    ),
    (
        "bench --output /nope/x true",
        &["--output /nope/x: No such file or directory\n"],
    ),
    (
        "bench --name A --name A true true",
        &["--name 'A': names must differ"],
    ),
    (
        "bench --server a --server b --server c true true",
        &["3 --server for 2 commands"],
    ),
    ("sweep --vary length= -- -c h", &["such as length=4K,32K"]),
    (
        "sweep --vary nosuch=1 -- -c h",
        &["nosuch=1: unrecognized option '--nosuch=1'"],
    ),
    (
        "sweep --vary length=1K,abc -- -c h",
        &["length=abc: ", "invalid value 'abc' for -l/--length"],
    ),
    ("sweep --vary length=1K", &["need -c HOST or --loopback"]),
    (
        "sweep --vary length=1K -- -s",
        &["only a client (-c) takes -l/--length"],
    ),
    ("sweep --vary length=1K,1K -- -c h", &["1K is given twice"]),
    (
        "sweep --vary length=1K --metric speed -- -c h",
        &["no metric 'speed'"],
    ),
    (
        "sweep --vary length=1K --output . -- -c h",
        &["--output .: is a directory"],
    ),
    (
        "exporter --listen foo",
        &["'foo' for '--listen <ADDR:PORT>'", "such as 127.0.0.1:9579"],
    ),
    (
        "exporter --listen 127.0.0.1:99999",
        &["'127.0.0.1:99999' for '--listen <ADDR:PORT>'"],
    ),
    (
        "exporter --allow *",
        &["'*' for '--allow <TARGET>'", "such as 10.0.0.0/8"],
    ),
    (
        "exporter --allow 10.0.0.0/99",
        &["'10.0.0.0/99' for '--allow <TARGET>'"],
    ),
    (
        "exporter --timeout 0",
        &["'0' for '--timeout <SECONDS>'", "from 1 to 3600"],
    ),
    (
        "man nosuch",
        &["'nosuch' for '[COMMAND]'", "report, compare,"],
    ),
    ("completions tcsh", &["'tcsh' for '<SHELL>'", "bash"]),
];

#[test]
fn mistakes_of_subcommands_name_the_option_the_value_and_what_is_allowed() {
    for (line, parts) in OF_SUBCOMMANDS {
        fails(line, 2, parts);
    }
}

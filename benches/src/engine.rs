//! Runs a case by `iperf bench`: interleaved rounds, servers that are waited for, and the kernel's account of all
//! processes. Here, or in a guest.
//!
//! ```text
//! Case, Programs ──► iperf bench --save FILE … ──► FILE ──► Runs of each program, by round
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use iperf_harness::port::Port;

use crate::busy::BusyLoops;
use crate::cases::{Case, Ground};
use crate::guest::Guest;
use crate::programs::Program;
use crate::run::{Run, Saved};

/// Seconds that a run may take longer than its test, on an emulated machine too.
const GRACE: u32 = 60;

/// How often a case is run, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds: each runs every program once.
    pub rounds: u32,
    /// Seconds of a run.
    pub seconds: u32,
}

/// The runs of a case: of each program, by round.
pub type Runs = BTreeMap<String, BTreeMap<u64, Run>>;

/// Runs `case` with all `programs`, the first being ours, which is also the engine. Runs that failed are named in the
/// second part.
pub fn run(
    case: &Case,
    programs: &[&Program],
    effort: Effort,
    guest: Option<&Guest>,
) -> Result<(Runs, Vec<String>), String> {
    let (first, second) = (Port::reserve(), Port::reserve());
    let ports = (first.number(), second.number());
    let mut words = vec![
        "bench".to_owned(),
        "--rounds".to_owned(),
        effort.rounds.to_string(),
        "--timeout".to_owned(),
        (effort.seconds + GRACE).to_string(),
    ];
    for program in programs {
        let commands = program.commands(case, effort.seconds, ports);
        let commands = commands.ok_or_else(|| format!("{program} has no test {}", case.name))?;
        // What servers over vsock listen on is in no list of the kernel's.
        let ready = match case.ground {
            Ground::Vsock => "Server listening".to_owned(),
            Ground::Loopback | Ground::BusyLoopback => ports.0.to_string(),
        };
        words.extend(["--name".to_owned(), program.name.clone()]);
        words.extend(["--server".to_owned(), commands.server]);
        words.extend(["--ready".to_owned(), ready]);
        words.push(commands.client);
    }
    let saved = match guest {
        Some(guest) if case.ground == Ground::Vsock => guest.bench(&words, effort)?,
        _ => here(case, programs[0], &words)?,
    };
    read(&saved)
}

/// Runs it on this machine and returns the file of runs.
fn here(case: &Case, ours: &Program, words: &[String]) -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = folder.path().join("runs.jsonl");
    let _loops = (case.ground == Ground::BusyLoopback).then(BusyLoops::start);
    let mut bench = Command::new(ours.path());
    bench.args(words).arg("--save").arg(&file);
    // Its verdicts are not used: programs differ in more than bench compares.
    let ended = bench.stdin(Stdio::null()).stdout(Stdio::null()).status();
    ended.map_err(|error| format!("{}: {error}", ours.path().display()))?;
    fs::read_to_string(&file).map_err(|error| format!("iperf bench saved nothing: {error}"))
}

/// Reads a file of runs; its first line has the commands.
fn read(saved: &str) -> Result<(Runs, Vec<String>), String> {
    let (mut runs, mut failures) = (Runs::new(), Vec::new());
    for line in saved.lines().skip(1) {
        let line: Saved = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        match line.run() {
            Ok(run) => {
                runs.entry(line.side.clone())
                    .or_default()
                    .insert(line.pair, run);
            }
            Err(reason) => {
                failures.push(format!("{}, round {}: {reason}", line.side, line.pair));
            }
        }
    }
    Ok((runs, failures))
}

/// The words as a shell takes them.
pub(crate) fn quoted(words: &[String]) -> String {
    let mut line = String::new();
    for word in words {
        let _ = write!(line, " '{}'", word.replace('\'', r"'\''"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_failures_are_read_from_the_file() {
        let run = |pair: u64, side: &str, error: &str, rate: f64| {
            format!(
                "{{\"pair\":{pair},\"side\":\"{side}\",\"seconds\":1.0,\"error\":{error},\"records\":[{{\
                 \"parameters\":{{}},\"metrics\":[{{\"name\":\"throughput\",\"value\":{rate}}}]}}]}}\n"
            )
        };
        let text = [
            "{}\n".to_owned(),
            run(1, "ours", "null", 1e9),
            run(1, "iperf3", "null", 5e8),
            run(2, "iperf3", "\"ended with exit code 1\"", 1.0),
        ]
        .concat();
        let (runs, failures) = read(&text).unwrap();
        assert!((runs["ours"][&1].bits_per_second - 1e9).abs() < 1.0);
        assert_eq!(runs["iperf3"].len(), 1);
        assert_eq!(failures, ["iperf3, round 2: ended with exit code 1"]);
        assert!(read("{}\nnonsense\n").is_err());
    }
}

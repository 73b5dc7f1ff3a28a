//! Running a block: one statement after another, in the folder of its page.
//!
//! A statement that starts a server (`iperf -s`, `iperf exporter`) keeps running during those that follow, until another one
//! starts or the block ends. What differs from the page, so that a run is short and stays on this machine: HOST is
//! 127.0.0.1, and a test without an amount, or of more than a second, moves 2 MB or takes a second.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use iperf_harness::process::wait_for;
use iperf_harness::{Running, procfs};
use nix::sys::signal::Signal;
use regex::Regex;

use crate::blocks::{Block, Fate};

const LIMIT: Duration = Duration::from_secs(300);

/// The shell of a block.
pub(crate) struct Session<'a> {
    folder: &'a Path,
    server: Option<Running>,
    printed: String,
}

impl<'a> Session<'a> {
    pub(crate) fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            server: None,
            printed: String::new(),
        }
    }

    /// Runs all statements of the block.
    pub(crate) fn run(mut self, block: &Block) -> Result<(), String> {
        let Fate::Run {
            beside,
            prints,
            exits,
        } = &block.fate
        else {
            return Ok(());
        };
        if let Some(command) = beside {
            self.server = Some(self.start(command)?);
        }
        let statements = statements(block);
        if statements.is_empty() {
            return Err("nothing to run".to_owned());
        }
        for statement in statements {
            let statement = shortened(&statement);
            if is_server(&statement) {
                self.stop_server()?;
                self.server = Some(self.start(&statement)?);
            } else {
                self.run_to_its_end(&statement, exits)?;
            }
        }
        self.stop_server()?;
        match prints {
            Some(text) if !self.printed.contains(text) => {
                Err(format!("\"{text}\" is not printed:\n{}", self.printed))
            }
            _ => Ok(()),
        }
    }

    fn shell(&self, script: &str) -> Running {
        let mut path = self.folder.join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command
            .args(["-ec", script])
            .current_dir(self.folder)
            .env("PATH", path)
            .env("HOME", self.folder)
            .env("LC_ALL", "C")
            .env_remove("GITHUB_STEP_SUMMARY");
        Running::start(command)
    }

    fn run_to_its_end(&mut self, statement: &str, exits: &[i32]) -> Result<(), String> {
        let end = self.shell(statement).finish(LIMIT);
        let code = end.code().filter(|_| !end.timed_out);
        if !code.is_some_and(|code| allowed(statement, exits).contains(&code)) {
            return Err(end.to_string());
        }
        for file in written(statement) {
            let length = fs::metadata(self.folder.join(&file)).map(|file| file.len());
            if !length.is_ok_and(|length| length > 0) {
                return Err(format!("{file} is missing or empty\n{end}"));
            }
        }
        self.printed.push_str(&end.stdout);
        self.printed.push_str(&end.stderr);
        Ok(())
    }

    /// Starts a server, and returns when it listens.
    fn start(&self, command: &str) -> Result<Running, String> {
        let mut server = self.shell(&format!("exec {command}"));
        let port = port(command);
        let up = wait_for(Duration::from_secs(30), || {
            let up = procfs::listens(server.id(), port);
            (up || !server.is_alive()).then_some(up)
        });
        if up == Some(true) {
            Ok(server)
        } else {
            Err(server.finish(Duration::ZERO).to_string())
        }
    }

    /// A server must be there until it is stopped.
    fn stop_server(&mut self) -> Result<(), String> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        if !server.is_alive() {
            return Err(server.finish(Duration::ZERO).to_string());
        }
        server.signal(Signal::SIGTERM);
        let end = server.finish(LIMIT);
        if end.timed_out {
            return Err(end.to_string());
        }
        Ok(())
    }
}

/// The exit codes that a statement may have. A verdict about two programs that are the same depends on the machine,
/// unless the page names the exit code.
fn allowed(statement: &str, exits: &[i32]) -> Vec<i32> {
    match statement.split_once("# exit ") {
        Some((_, code)) => vec![code.trim().parse().expect("an exit code")],
        _ if statement.starts_with("iperf bench ") => vec![0, 1],
        _ => exits.to_vec(),
    }
}

/// The files that a statement writes.
fn written(statement: &str) -> Vec<String> {
    let file = r"(?:--output|--html|--metrics-file|--influx|--hlog| >) ?([\w./-]+)(?:\s|$)";
    let file = Regex::new(file).expect("a pattern");
    let found = file.captures_iter(statement);
    found.map(|file| file[1].to_owned()).collect()
}

fn is_server(statement: &str) -> bool {
    let starts = ["iperf -s", "iperf exporter"];
    starts.iter().any(|start| statement.starts_with(start)) && !statement.contains(" -D")
}

fn port(command: &str) -> u16 {
    let given = Regex::new(r" -p (\d+)").expect("a pattern");
    match given.captures(command) {
        Some(found) => found[1].parse().expect("a port"),
        None if command.contains("exporter") => 9579,
        None => 5201,
    }
}

/// The statements of a block of shell commands; of another language, the lines that run this program.
fn statements(block: &Block) -> Vec<String> {
    if block.language != "sh" {
        let lines = block
            .text
            .lines()
            .map(|line| line.trim().trim_start_matches("- "));
        return lines
            .filter(|line| line.starts_with("iperf "))
            .map(str::to_owned)
            .collect();
    }
    let (mut found, mut open) = (Vec::new(), String::new());
    for line in block.text.lines() {
        if open.is_empty() && (line.trim().is_empty() || line.starts_with('#')) {
            continue;
        }
        open.push_str(line);
        open.push('\n');
        if is_whole(&open) {
            found.push(std::mem::take(&mut open).trim_end().to_owned());
        }
    }
    assert!(
        open.is_empty(),
        "line {}: no whole statement: {open}",
        block.line
    );
    found
}

/// Whether a shell can read it to its end.
fn is_whole(script: &str) -> bool {
    if script.trim_end().ends_with('\\') {
        return false;
    }
    let read = Command::new("bash").args(["-nc", script]).output();
    read.is_ok_and(|output| output.status.success() && output.stderr.is_empty())
}

fn shortened(statement: &str) -> String {
    let host = Regex::new(r"\bHOST\b").expect("a pattern");
    let long = Regex::new(r" -t ([2-9]|\d\d+)\b").expect("a pattern");
    let bounded = Regex::new(r" -[tnkF] |--(time|bytes|blockcount)").expect("a pattern");
    let statement = host.replace_all(statement, "127.0.0.1");
    let statement = long.replace_all(&statement, " -n 2M").into_owned();
    let tests = ["iperf -c ", "iperf --loopback"];
    if !tests.iter().any(|test| statement.starts_with(test)) || bounded.is_match(&statement) {
        return statement;
    }
    let timed = statement.contains(" -u") || statement.contains("rr");
    let amount = if timed { "iperf -t 1 " } else { "iperf -n 2M " };
    statement.replacen("iperf ", amount, 1)
}

#[test]
fn statements_span_lines() {
    let text =
        "# a note\nfor i in 1 2; do\n  echo $i\ndone\n\necho a \\\n  b   # c\ncat <<'X'\n1\nX\n";
    let block = Block {
        line: 1,
        text: text.to_owned(),
        language: "sh".to_owned(),
        fate: Fate::Text,
    };
    let want = [
        "for i in 1 2; do\n  echo $i\ndone",
        "echo a \\\n  b   # c",
        "cat <<'X'\n1\nX",
    ];
    assert_eq!(statements(&block), want);
}

#[test]
fn tests_are_short_and_stay_here() {
    for (page, run) in [
        ("iperf -c HOST", "iperf -n 2M -c 127.0.0.1"),
        ("iperf -c HOST -u -R", "iperf -t 1 -c 127.0.0.1 -u -R"),
        ("iperf -c HOST -t 30 -P 2", "iperf -c 127.0.0.1 -n 2M -P 2"),
        ("iperf --loopback -t 1 -O 1", "iperf --loopback -t 1 -O 1"),
        ("iperf --loopback -n 50M", "iperf --loopback -n 50M"),
    ] {
        assert_eq!(shortened(page), run);
    }
}

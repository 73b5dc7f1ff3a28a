//! Runs in a file: JSON lines, each written whole and synced before the next run begins.
//!
//! The first line has the sides, each other a run. A line without its end, left by a crash, is cut off on resuming.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use iperf_model::reason;
use iperf_results::Record;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::once::{Measured, Run, read};
use crate::plan::{Order, Plan};

/// The version of the format.
const FORMAT: u32 = 1;

/// A file of runs that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be opened, read or written.
    #[error("--save {}: {}", .0.display(), reason(.1))]
    Io(PathBuf, io::Error),
    /// Another bench writes it.
    #[error("--save {}: another bench is writing to it", .0.display())]
    Busy(PathBuf),
    /// It has runs, and `--resume` was not given.
    #[error("--save {}: has runs already; --resume continues them", .0.display())]
    Exists(PathBuf),
    /// A line is not this program's.
    #[error("--save {}:{line}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    iperf_bench: u32,
    sides: Vec<HeaderSide>,
    order: Order,
    seed: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HeaderSide {
    name: String,
    command: String,
    server: Option<String>,
}

/// A run. Its command and records are for readers; on resuming, records are read again from the output.
#[derive(Debug, Serialize, Deserialize)]
struct Entry<'a> {
    pair: u64,
    side: Cow<'a, str>,
    #[serde(skip_deserializing)]
    command: &'a str,
    #[serde(flatten)]
    measured: Measured,
    error: Option<String>,
    #[serde(skip_deserializing)]
    records: &'a [Record],
    output: Cow<'a, str>,
    stderr: Cow<'a, str>,
}

/// The file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Flock<File>,
}

impl Journal {
    /// Opens `path` for the runs of `plan`. With `resume` the runs that it has are returned: those without an error,
    /// read again from their outputs.
    pub fn open(path: &Path, plan: &Plan, resume: bool) -> Result<(Self, Vec<Run>), JournalError> {
        let fault = |error| JournalError::Io(path.to_owned(), error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fault)?;
        let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| JournalError::Busy(path.to_owned()))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(fault)?;
        let whole = text
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        text.truncate(whole);
        if whole > 0 && !resume {
            return Err(JournalError::Exists(path.to_owned()));
        }
        file.set_len(whole as u64).map_err(fault)?;
        file.seek(SeekFrom::End(0)).map_err(fault)?;
        let mut journal = Self {
            path: path.to_owned(),
            file,
        };
        let header = header(plan);
        if whole == 0 {
            journal.line(&header)?;
            return Ok((journal, Vec::new()));
        }
        let runs = journal.runs(&text, &header, plan)?;
        Ok((journal, runs))
    }

    fn runs(&self, text: &[u8], header: &Header, plan: &Plan) -> Result<Vec<Run>, JournalError> {
        let wrong = |line: usize, reason: String| JournalError::Malformed {
            path: self.path.clone(),
            line,
            reason,
        };
        let mut lines = text.split(|&byte| byte == b'\n').enumerate();
        let first = lines.next().map_or(&[][..], |(_, line)| line);
        let found: Header = serde_json::from_slice(first)
            .map_err(|error| wrong(1, format!("is not the first line of a bench: {error}")))?;
        if found.iperf_bench != FORMAT {
            let reason = format!("has format {}, not {FORMAT}", found.iperf_bench);
            return Err(wrong(1, reason));
        }
        if found.sides != header.sides {
            return Err(wrong(
                1,
                "has runs of other commands, names or servers".into(),
            ));
        }
        let mut runs: Vec<Run> = Vec::new();
        for (at, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let entry: Entry<'_> =
                serde_json::from_slice(line).map_err(|error| wrong(at + 1, error.to_string()))?;
            let side = plan.sides.iter().position(|side| side.name == entry.side);
            let side =
                side.ok_or_else(|| wrong(at + 1, format!("no side is called {}", entry.side)))?;
            if let Some(run) = entry.run(side, plan) {
                runs.push(run);
            }
        }
        Ok(runs)
    }

    /// Appends a run and waits until it is on the disk.
    pub(crate) fn append(&mut self, run: &Run, plan: &Plan) -> Result<(), JournalError> {
        let side = &plan.sides[run.side];
        let (records, error) = match &run.result {
            Ok(records) => (records.as_slice(), None),
            Err(failure) => (&[][..], Some(failure.what.clone())),
        };
        self.line(&Entry {
            pair: run.round,
            side: Cow::Borrowed(&side.name),
            command: &side.command,
            measured: run.measured.clone(),
            error,
            records,
            output: Cow::Borrowed(&run.out),
            stderr: Cow::Borrowed(&run.err),
        })
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), JournalError> {
        let fault = |error| JournalError::Io(self.path.clone(), error);
        let mut line = serde_json::to_vec(value).map_err(|error| fault(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(fault)?;
        self.file.sync_data().map_err(fault)
    }
}

impl Entry<'_> {
    /// The run again, unless it failed: it is tried once more then.
    fn run(self, side: usize, plan: &Plan) -> Option<Run> {
        if self.error.is_some() {
            return None;
        }
        let mut run = Run {
            round: self.pair,
            side,
            measured: self.measured,
            result: Ok(Vec::new()),
            out: self.output.into_owned(),
            err: self.stderr.into_owned(),
        };
        let records = read(&run, &plan.sides[side].name, plan).ok()?;
        run.result = Ok(records);
        Some(run)
    }
}

fn header(plan: &Plan) -> Header {
    let side = |side: &crate::plan::SidePlan| HeaderSide {
        name: side.name.clone(),
        command: side.command.clone(),
        server: side.server.as_ref().map(|(command, _)| command.clone()),
    };
    Header {
        iperf_bench: FORMAT,
        sides: plan.sides.iter().map(side).collect(),
        order: plan.order,
        seed: plan.seed,
    }
}

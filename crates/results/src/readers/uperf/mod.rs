//! uperf: progress lines of phases, then tables.
//!
//! The throughput is that of the busy phase, the transaction in which most operations were made. The lines `Total`
//! and `master` are not read for rates: they divide by the set-up, too, 5.3 s for a test of 3 s.

mod history;
mod progress;
mod summary;
mod tables;

pub(crate) use history::is_history;
pub(super) use history::read as read_history;

use crate::error::ReadError;
use crate::input::{Line, Lines};
use crate::readers::outcome::{Outcome, push};
use crate::record::Record;
use crate::tool::Tool;
use progress::Phases;
use tables::Tables;

/// What uperf prints when a run failed. It prints tables of nonsense all the same, and may exit with 0.
const FAILURES: &[&str] = &[
    "*** Slave aborted! ***",
    "Errors detected during run",
    "Error connecting",
    "Error parsing",
    "Error executing",
    "Wrong goodbye magic",
    "Cannot connect to",
];

/// One run while it is read.
#[derive(Default)]
struct UperfRun {
    workers: Option<u64>,
    profile: Option<String>,
    phases: Phases,
    tables: Tables,
    /// Whether the progress lines are over.
    summary: bool,
    notes: Vec<String>,
}

/// Reads every run of the input.
pub(super) fn read(lines: &mut Lines<'_>, out: &mut Vec<Record>) -> Outcome {
    while let Some(first) = lines.next()? {
        let begin = first.number;
        lines.put_back(first);
        let mut run = UperfRun::default();
        let mut failed: Option<(u64, String)> = None;
        let mut section =
            lines.run(|text| text.starts_with("Starting ") && text.contains("running profile:"));
        while let Some(line) = section.next()? {
            if let Some(failure) = FAILURES
                .iter()
                .find(|failure| line.text.contains(**failure))
            {
                failed.get_or_insert((line.number, format!("the run failed: {failure}")));
            }
            run.line(&line)
                .map_err(|reason| (line.number, reason))
                .unwrap_or_else(|fault| {
                    failed.get_or_insert(fault);
                });
        }
        if let Some((number, reason)) = failed {
            return Err(lines.refuse(number, reason));
        }
        push(lines, out, run.finish(lines, begin)?)?;
    }
    Ok(())
}

impl UperfRun {
    /// Reads a line; the error is why the run cannot be trusted.
    fn line(&mut self, line: &Line) -> Result<(), String> {
        let text = line.text.as_str();
        if let Some(rest) = text.strip_prefix("Starting ") {
            if let Some((count, profile)) = rest.split_once(" running profile:") {
                self.workers = count.split(' ').next().and_then(|count| count.parse().ok());
                self.profile = profile
                    .split(" ...")
                    .next()
                    .map(|name| name.trim().to_owned());
            }
        } else if text.starts_with("-----") {
            self.summary = true;
        } else if !self.summary {
            self.phases.line(text);
        } else {
            self.tables.line(text)?;
        }
        Ok(())
    }

    fn finish(self, lines: &Lines<'_>, begin: u64) -> Result<Record, ReadError> {
        if self.profile.is_none() {
            return Err(lines.refuse(begin, "uperf printed no run"));
        }
        let mut record = Record::new(Tool::Uperf, lines.file(), begin);
        let Some(phase) = self.phases.busy() else {
            return Err(lines.refuse(begin, "uperf printed no statistics; run it without -n"));
        };
        if !self.summary {
            return Err(lines.refuse(begin, "the output ends before the run does"));
        }
        record.parameters.parallel = self.workers;
        if let Some(profile) = self.profile {
            record.parameters.other.insert("profile".into(), profile);
        }
        for note in self.notes {
            record.note(note);
        }
        summary::fill(&mut record, phase, &self.tables, self.workers);
        Ok(record)
    }
}

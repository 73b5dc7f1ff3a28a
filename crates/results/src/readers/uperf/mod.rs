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

use crate::readers::runs::RunReader;
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
pub(super) struct UperfRun {
    record: Record,
    profile: Option<String>,
    phases: Phases,
    tables: Tables,
    /// Whether the progress lines are over.
    summary: bool,
}

impl RunReader for UperfRun {
    const TOOL: Tool = Tool::Uperf;

    fn new(record: Record) -> Self {
        Self {
            record,
            profile: None,
            phases: Phases::default(),
            tables: Tables::default(),
            summary: false,
        }
    }

    fn begins(text: &str) -> bool {
        text.starts_with("Starting ") && text.contains("running profile:")
    }

    fn line(&mut self, text: &str) -> Result<(), String> {
        if let Some(failure) = FAILURES.iter().find(|failure| text.contains(**failure)) {
            return Err(format!("the run failed: {failure}"));
        }
        if let Some(rest) = text.strip_prefix("Starting ") {
            if let Some((count, profile)) = rest.split_once(" running profile:") {
                let workers = count.split(' ').next().and_then(|count| count.parse().ok());
                self.record.parameters.parallel = workers;
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

    fn finish(mut self) -> Result<Option<Record>, String> {
        let profile = self.profile.ok_or("uperf printed no run")?;
        let phase = self
            .phases
            .busy()
            .ok_or("uperf printed no statistics; run it without -n")?;
        if !self.summary {
            return Err("the output ends before the run does".into());
        }
        self.record.set_other("profile", &profile);
        summary::fill(&mut self.record, phase, &self.tables);
        Ok(Some(self.record))
    }
}

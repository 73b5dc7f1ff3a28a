//! Texts with one run after another: a reader recognises the line that begins a run, takes the run's lines, and returns
//! a record.

use super::outcome::{Outcome, push};
use crate::error::{ReadError, ReadErrorKind};
use crate::input::Lines;
use crate::record::Record;
use crate::tool::Tool;

/// One run while it is read.
pub(super) trait RunReader: Sized {
    /// The tool that printed it.
    const TOOL: Tool;

    /// Begins with a record that has its place in the input.
    fn new(record: Record) -> Self;

    /// Whether a line is the first of a run.
    fn begins(text: &str) -> bool;

    /// Takes a line. The error is why the run cannot be trusted.
    fn line(&mut self, text: &str) -> Result<(), String>;

    /// The record, `None` if the lines had no run, or why the run cannot be trusted.
    fn finish(self) -> Result<Option<Record>, String>;
}

/// Reads every run of the input.
pub(super) fn read<R: RunReader>(lines: &mut Lines<'_>, out: &mut Vec<Record>) -> Outcome {
    let file = lines.file().clone();
    let refused = |line, reason| ReadError::new(&file, line, ReadErrorKind::Refused(reason));
    while let Some(first) = lines.next()? {
        let begin = first.number;
        lines.put_back(first);
        let mut run = R::new(Record::new(R::TOOL, &file, begin));
        let mut section = lines.run(R::begins);
        while let Some(line) = section.next()? {
            run.line(&line.text)
                .map_err(|reason| refused(line.number, reason))?;
        }
        if let Some(record) = run.finish().map_err(|reason| refused(begin, reason))? {
            push(out, record)?;
        }
    }
    Ok(())
}

//! A published table: sizes in the header, seconds in the cells, CSV or Markdown. Each cell is a run.
//!
//! ```text
//! | pages of the buffer | 8  | 32   | 64   |
//! |---------------------|----|------|------|
//! | zero-copy           | 24 | 10.6 | 12.2 |
//! ```

use crate::error::{ReadError, ReadErrorKind};
use crate::figures::{Quoted, amount};
use crate::input::ReadOptions;
use crate::input::{Input, Lines};
use crate::readers::outcome::{Outcome, push};
use crate::record::{Record, TestKind};
use crate::tool::Tool;

/// The two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Csv,
    Markdown,
}

/// More columns are no table for people.
const MAX_COLUMNS: usize = 1000;

pub(super) fn read(
    form: Form,
    input: Input<'_>,
    options: &ReadOptions,
    out: &mut Vec<Record>,
) -> Outcome {
    let Some(bytes) = options.bytes.filter(|bytes| *bytes > 0) else {
        let reason = "a table of seconds: give the amount that each run moved with --bytes";
        return Err(ReadError::new(
            &input.file,
            1,
            ReadErrorKind::refused(reason),
        ));
    };
    let mut lines = Lines::new(input);
    let mut header: Option<Vec<String>> = None;
    while let Some(line) = lines.next()? {
        let cells = match form {
            Form::Csv => csv_cells(&line.text),
            Form::Markdown => markdown_cells(&line.text),
        };
        let Some(cells) = cells else { continue };
        if cells.len() > MAX_COLUMNS {
            return Err(lines.refuse(line.number, format!("more than {MAX_COLUMNS} columns")));
        }
        let Some(header) = &header else {
            header = Some(cells);
            continue;
        };
        if cells.len() != header.len() {
            let reason = format!("{} cells, and the header has {}", cells.len(), header.len());
            return Err(lines.malformed(line.number, reason));
        }
        for (size, cell) in header
            .iter()
            .zip(&cells)
            .skip(1)
            .filter(|(_, cell)| !cell.is_empty())
        {
            let Some(seconds) = amount(cell).filter(|seconds| *seconds > 0.0) else {
                let reason = format!("cell {} is no number of seconds", Quoted(cell));
                return Err(lines.malformed(line.number, reason));
            };
            let mut record = Record::new(Tool::Table, lines.file(), line.number);
            record.parameters.kind = Some(TestKind::Stream);
            let sizes = if header[0].is_empty() {
                "size"
            } else {
                &header[0]
            };
            record.set_other(sizes, &size);
            record.set_other("row", &cells[0]);
            record.set("throughput", bytes as f64 * 8.0 / seconds);
            record.set("seconds", seconds);
            record.set("bytes", bytes as f64);
            record.note("computed from a table of seconds");
            push(out, record)?;
        }
    }
    if out.is_empty() {
        return Err(lines.refuse(1, "a table without rows"));
    }
    Ok(())
}

fn csv_cells(text: &str) -> Option<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let row = reader.records().next()?.ok()?;
    Some(row.iter().map(str::to_owned).collect())
}

/// The cells of a row; none of the line below the header, or of text around the table.
fn markdown_cells(text: &str) -> Option<Vec<String>> {
    let row = text.trim().strip_prefix('|')?;
    let row = row.strip_suffix('|').unwrap_or(row);
    if row.bytes().all(|b| matches!(b, b'-' | b':' | b'|' | b' ')) {
        return None;
    }
    Some(row.split('|').map(|cell| cell.trim().to_owned()).collect())
}

/// Which form of table the first lines are, if any.
pub(crate) fn form(head: &[&str]) -> Option<Form> {
    let mut rows = head.iter().filter(|line| !line.trim().is_empty());
    let (first, second) = (rows.next()?, rows.next()?);
    if first.trim_start().starts_with('|') {
        return Some(Form::Markdown);
    }
    let cells = csv_cells(second)?;
    let numbers = cells.len() > 1
        && cells[1..]
            .iter()
            .all(|cell| cell.is_empty() || amount(cell).is_some());
    (numbers && csv_cells(first)?.len() == cells.len()).then_some(Form::Csv)
}

//! What a reader returns, and how it adds its records.

use crate::error::{ReadError, ReadErrorKind};
use crate::input::Lines;
use crate::record::Record;

/// What a reader returns: it has appended its records, or the input is refused as a whole.
pub(crate) type Outcome = Result<(), ReadError>;

/// Noted where a tool prints three significant digits.
pub(crate) const THREE_DIGITS: &str = "three significant digits: figures are within 0.5 %";

/// More runs than this in one input are refused: they would all be kept.
const MAX_RECORDS: usize = 10_000;

/// Appends a record.
pub(crate) fn push(lines: &Lines<'_>, out: &mut Vec<Record>, record: Record) -> Outcome {
    push_record(out, record).map_err(|(line, kind)| lines.error(line, kind))
}

/// Appends a record; the error names the line at which there are too many.
pub(crate) fn push_record(
    out: &mut Vec<Record>,
    mut record: Record,
) -> Result<(), (u64, ReadErrorKind)> {
    if out.len() == MAX_RECORDS {
        let reason = format!("more than {MAX_RECORDS} runs in one input");
        return Err((record.source.line, ReadErrorKind::Refused(reason)));
    }
    record.sort();
    out.push(record);
    Ok(())
}

//! What a reader returns, and how it adds its records.

use crate::error::{ReadError, ReadErrorKind};
use crate::record::Record;

/// What a reader returns: it has appended its records, or the input is refused as a whole.
pub(crate) type Outcome = Result<(), ReadError>;

/// Noted where a tool prints three significant digits.
pub(crate) const THREE_DIGITS: &str = "three significant digits: figures are within 0.5 %";

/// More runs than this in one input are refused: they would all be kept.
const MAX_RECORDS: usize = 10_000;

/// Appends a record.
pub(crate) fn push(out: &mut Vec<Record>, mut record: Record) -> Outcome {
    if out.len() == MAX_RECORDS {
        let reason = format!("more than {MAX_RECORDS} runs in one input");
        return Err(record.fault(ReadErrorKind::Refused(reason)));
    }
    record.sort();
    out.push(record);
    Ok(())
}

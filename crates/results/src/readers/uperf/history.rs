//! uperf's `-X` file: five columns, pid, thread, type 0, end in ns since 1970, duration in ns. One line per flowop,
//! without its name, so that connects are among them, and the write and read of a transaction are separate.

use crate::figures::amount;
use crate::input::Lines;
use crate::readers::outcome::{Outcome, push};
use crate::record::Record;
use crate::tool::Tool;

/// More durations than this are refused: they are kept to be sorted.
const MAX_DURATIONS: usize = 4 << 20;

/// Whether a line is one of a history.
pub(crate) fn is_history(text: &str) -> bool {
    parse(text).is_some_and(|(end, _)| end > 1e17)
}

pub(in crate::readers) fn read(lines: &mut Lines<'_>, out: &mut Vec<Record>) -> Outcome {
    let mut durations = Vec::new();
    let mut record = Record::new(Tool::Uperf, lines.file(), 1);
    while let Some(line) = lines.next()? {
        if line.text.is_empty() {
            continue;
        }
        let Some((end, duration)) = parse(&line.text) else {
            return Err(lines.malformed(
                line.number,
                "not a line of a uperf history: five numbers, the third 0",
            ));
        };
        if durations.len() == MAX_DURATIONS {
            return Err(lines.refuse(line.number, format!("more than {MAX_DURATIONS} operations")));
        }
        record.started.get_or_insert((end - duration) / 1e9);
        durations.push(duration / 1e9);
    }
    if durations.is_empty() {
        return Err(lines.refuse(1, "no operation in the history"));
    }
    record.set_distribution("latency.call", durations);
    record.note("times of single operations, connects among them; a transaction is several");
    push(out, record)
}

fn parse(text: &str) -> Option<(f64, f64)> {
    let mut words = text.split_whitespace();
    let numbers = [
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
    ];
    if words.next().is_some() || numbers[2] != "0" {
        return None;
    }
    numbers
        .iter()
        .all(|word| word.bytes().all(|b| b.is_ascii_digit()))
        .then_some(())?;
    Some((amount(numbers[3])?, amount(numbers[4])?))
}

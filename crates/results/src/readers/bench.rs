//! Files of `iperf bench --save`: a line that names the commands, then a line per run, with its output. Each output is
//! read as if it were a file.
//!
//! A run that failed is left out, and noted at the others. The last line may be cut off, by a crash.

use std::io::{BufRead, Read};

use serde::Deserialize;

use crate::error::{ReadError, ReadErrorKind};
use crate::input::Input;
use crate::input::{ReadBytes, ReadOptions};
use crate::readers::outcome::{Outcome, push};
use crate::record::Record;

/// The version of the format.
const FORMAT: u32 = 1;
/// The longest line that is read: outputs are part of them.
const LONGEST: u64 = 64 << 20;

/// The first line.
#[derive(Debug, Deserialize)]
struct Header {
    iperf_bench: u32,
}

/// What is read of a run.
#[derive(Debug, Deserialize)]
struct Run {
    pair: u64,
    side: String,
    started: f64,
    error: Option<String>,
    output: String,
}

/// Whether a first line is such a file's.
pub(crate) fn is_header(line: &str) -> bool {
    serde_json::from_str::<Header>(line).is_ok()
}

/// Reads every run of the input.
pub(super) fn read(
    input: Input<'_>,
    options: &ReadOptions,
    nested: ReadBytes,
    out: &mut Vec<Record>,
) -> Outcome {
    let Input { file, mut bytes } = input;
    let fault = |line: u64, kind: ReadErrorKind| ReadError::new(&file, line, kind);
    let mut failed = 0;
    for number in 1.. {
        let mut text = Vec::new();
        let read = (&mut bytes).take(LONGEST).read_until(b'\n', &mut text);
        read.map_err(|error| fault(number, error.into()))?;
        let is_whole = text.pop_if(|byte| *byte == b'\n').is_some();
        if text.len() as u64 >= LONGEST - 1 {
            let reason = format!("a line of more than {LONGEST} bytes");
            return Err(fault(number, ReadErrorKind::Refused(reason)));
        }
        if !is_whole {
            break;
        }
        let malformed =
            |error: serde_json::Error| fault(number, ReadErrorKind::Malformed(error.to_string()));
        if number == 1 {
            let header: Header = serde_json::from_slice(&text).map_err(malformed)?;
            if header.iperf_bench != FORMAT {
                let reason = format!("format {}, not {FORMAT}", header.iperf_bench);
                return Err(fault(number, ReadErrorKind::Refused(reason)));
            }
            continue;
        }
        let run: Run = serde_json::from_slice(&text).map_err(malformed)?;
        if run.error.is_some() {
            failed += 1;
            continue;
        }
        for record in of_run(&file, &run, options, nested).map_err(|kind| fault(number, kind))? {
            push(out, record).map_err(|error| fault(number, error.kind))?;
        }
    }
    if out.is_empty() {
        let reason = format!("no run with a result in it; {failed} failed");
        return Err(fault(1, ReadErrorKind::Refused(reason)));
    }
    if failed > 0 {
        for record in out.iter_mut() {
            let runs = if failed == 1 { "run" } else { "runs" };
            record.note(format!("{failed} {runs} of its bench failed"));
        }
    }
    Ok(())
}

fn of_run(
    file: &str,
    run: &Run,
    options: &ReadOptions,
    nested: ReadBytes,
) -> Result<Vec<Record>, ReadErrorKind> {
    let Run { pair, side, .. } = run;
    let name = format!("{file}: {side}, round {pair}");
    // A file of benches within an output is none of this program's.
    if run
        .output
        .trim_start()
        .lines()
        .next()
        .is_some_and(is_header)
    {
        let reason = format!("the output of {side} is a file of bench runs");
        return Err(ReadErrorKind::Refused(reason));
    }
    let mut records = nested(&name, run.output.as_bytes(), options).map_err(|error| {
        let reason = format!("the output of {side} in round {pair}: {}", error.kind);
        ReadErrorKind::Malformed(reason)
    })?;
    for record in &mut records {
        record.pair = Some(*pair);
        record.started = record.started.or(Some(run.started));
    }
    Ok(records)
}

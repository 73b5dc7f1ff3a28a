//! One reader a format. Each takes the lines (or the bytes) of an input and appends its runs.

pub(crate) mod bench;
pub(crate) mod iperf2;
pub(crate) mod iperf3_text;
pub(crate) mod iperf_json;
pub(crate) mod neper;
pub(crate) mod netperf;
pub(crate) mod ntttcp;
pub(crate) mod nuttcp;
pub(crate) mod qperf;
pub(crate) mod sockperf;
pub(crate) mod table;
pub(crate) mod uperf;
pub(crate) mod vsock_perf;

use crate::error::{ReadError, ReadErrorKind};
use crate::input::{Input, Lines};
use crate::open::ReadOptions;
use crate::record::Record;
use crate::tool::Format;

/// What a reader returns: it has appended its records, or the input is refused as a whole.
pub(crate) type Outcome = Result<(), ReadError>;

/// Noted where a tool prints three significant digits.
pub(crate) const THREE_DIGITS: &str = "three significant digits: figures are within 0.5 %";

/// More runs than this in one input are refused: they would all be kept.
const MAX_RECORDS: usize = 10_000;

/// Reads all runs of an input.
pub(crate) fn read(
    format: Format,
    input: Input<'_>,
    options: &ReadOptions,
) -> Result<Vec<Record>, ReadError> {
    let mut out = Vec::new();
    match format {
        Format::IperfJson => iperf_json::read(input, &mut out)?,
        Format::Bench => bench::read(input, options, &mut out)?,
        Format::Ntttcp(form) => ntttcp::read(form, input, &mut out)?,
        Format::Table(form) => table::read(form, input, options, &mut out)?,
        _ => {
            let mut lines = Lines::new(input);
            let read = match format {
                Format::Uperf => uperf::read,
                Format::UperfHistory => uperf::read_history,
                Format::Netperf => netperf::read,
                Format::Neper => neper::read,
                Format::NeperSamples => neper::read_samples,
                Format::NeperRtt => neper::read_rtt,
                Format::Iperf2Text => iperf2::text::read,
                Format::Iperf2Csv => iperf2::csv::read,
                Format::Iperf3Text => iperf3_text::read,
                Format::Sockperf => sockperf::read,
                Format::Qperf => qperf::read,
                Format::Nuttcp => nuttcp::read,
                Format::VsockPerf => vsock_perf::read,
                Format::IperfJson | Format::Bench | Format::Ntttcp(_) | Format::Table(_) => {
                    unreachable!("read above")
                }
            };
            read(&mut lines, &mut out)?;
            if out.is_empty() {
                return Err(lines.refuse(1, "no result in it"));
            }
        }
    }
    Ok(out)
}

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

//! One reader per format. Each takes the lines (or the bytes) of an input and appends its runs.

pub(crate) mod bench;
pub(crate) mod iperf2;
pub(crate) mod iperf3_text;
pub(crate) mod iperf_json;
pub(crate) mod neper;
pub(crate) mod netperf;
pub(crate) mod ntttcp;
pub(crate) mod nuttcp;
pub(crate) mod outcome;
pub(crate) mod qperf;
mod runs;
pub(crate) mod sockperf;
pub(crate) mod table;
pub(crate) mod uperf;
pub(crate) mod vsock_perf;

use crate::detect::Format;
use crate::error::ReadError;
use crate::input::{Input, Lines, ReadBytes, ReadOptions};
use crate::record::Record;

/// Reads all runs of an input. `nested` reads the outputs that saved runs hold.
pub(crate) fn read(
    format: Format,
    input: Input<'_>,
    options: &ReadOptions,
    nested: ReadBytes,
) -> Result<Vec<Record>, ReadError> {
    let mut out = Vec::new();
    match format {
        Format::IperfJson => iperf_json::read(input, &mut out)?,
        Format::Bench => bench::read(input, options, nested, &mut out)?,
        Format::Ntttcp(form) => ntttcp::read(form, input, &mut out)?,
        Format::Table(form) => table::read(form, input, options, &mut out)?,
        _ => {
            let mut lines = Lines::new(input);
            let read = match format {
                Format::Uperf => runs::read::<uperf::UperfRun>,
                Format::UperfHistory => uperf::read_history,
                Format::Netperf => runs::read::<netperf::NetperfRun>,
                Format::Neper => runs::read::<neper::NeperRun>,
                Format::NeperSamples => neper::read_samples,
                Format::NeperRtt => neper::read_rtt,
                Format::Iperf2Text => iperf2::text::read,
                Format::Iperf2Csv => iperf2::csv::read,
                Format::Iperf3Text => iperf3_text::read,
                Format::Sockperf => runs::read::<sockperf::SockperfRun>,
                Format::Qperf => qperf::read,
                Format::Nuttcp => nuttcp::read,
                Format::VsockPerf => runs::read::<vsock_perf::VsockPerfRun>,
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

//! Detection of a format by its first bytes.

use crate::readers::{bench, iperf2, netperf, ntttcp, nuttcp, qperf, table, uperf};
use crate::tool::Tool;

/// What a reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    IperfJson,
    /// Saved runs of `iperf bench`, of any commands.
    Bench,
    Iperf3Text,
    Iperf2Text,
    Iperf2Csv,
    Uperf,
    UperfHistory,
    Netperf,
    Neper,
    NeperSamples,
    NeperRtt,
    Sockperf,
    Qperf,
    Nuttcp,
    Ntttcp(ntttcp::Form),
    VsockPerf,
    Table(table::Form),
}

/// The format of an input that begins with `head`, or why it is none.
pub(crate) fn recognise(head: &[u8]) -> Result<Format, &'static str> {
    if head.iter().all(u8::is_ascii_whitespace) {
        return Err("the file is empty");
    }
    if head.contains(&0) {
        return Err("the file is binary");
    }
    let text = String::from_utf8_lossy(head);
    let trimmed = text.trim_start_matches('\u{feff}').trim_start();
    if trimmed.lines().next().is_some_and(bench::is_header) {
        return Ok(Format::Bench);
    }
    if let Some(object) = trimmed.strip_prefix('{') {
        let ntttcp = object.trim_start().starts_with("\"ntttcp");
        return Ok(if ntttcp {
            Format::Ntttcp(ntttcp::Form::Json)
        } else {
            Format::IperfJson
        });
    }
    if trimmed.starts_with('<') {
        let xml = trimmed.contains("<ntttcps") || trimmed.contains("<ntttcpr");
        return xml
            .then_some(Format::Ntttcp(ntttcp::Form::Xml))
            .ok_or("XML, and not ntttcp's");
    }
    let lines: Vec<&str> = trimmed.split(['\n', '\r']).map(str::trim_end).collect();
    // Rows among other lines: iperf 2 prints its banner in front of them.
    if lines.iter().any(|line| iperf2::csv::is_row(line)) {
        return Ok(Format::Iperf2Csv);
    }
    lines
        .iter()
        .find_map(|line| by_line(line))
        .or_else(|| by_head(&lines))
        .ok_or("the content is of no known tool; if it is one of them, name it with --as")
}

/// The format of a line that only one tool prints.
fn by_line(line: &str) -> Option<Format> {
    let starts = |prefix: &str| line.starts_with(prefix);
    Some(match line {
        _ if starts("Starting ") && line.contains(" running profile:") => Format::Uperf,
        _ if starts("Can't load server.pem")
            || starts("Uperf Version ")
            || starts("Error parsing ") =>
        {
            Format::Uperf
        }
        _ if netperf::is_banner(line) || starts("THROUGHPUT=") || starts("Netperf version") => {
            Format::Netperf
        }
        _ if starts("establish control: are you sure there is a netserver") => Format::Netperf,
        _ if starts("sockperf: ") || starts("sockperf[") => Format::Sockperf,
        _ if starts("NTTTCP for Linux") => Format::Ntttcp(ntttcp::Form::Text),
        "Run as receiver" | "Run as sender" | "Run as sender MSG_ZEROCOPY" => Format::VsockPerf,
        _ if starts("VERSION=") || starts("total_run_time=") => Format::Neper,
        _ if starts("tid,flow_id,") || starts("time,tid,flow_id") => Format::NeperSamples,
        _ if line
            .split(',')
            .map(str::trim)
            .eq(["timestamp", "thread_id", "flow_id", "rtt"]) =>
        {
            Format::NeperRtt
        }
        _ if starts("Client connecting to ") || starts("Server listening on TCP port ") => {
            Format::Iperf2Text
        }
        _ if starts("Server listening on UDP port ") => Format::Iperf2Text,
        _ if line.contains("Connecting to host ") && line.contains(", port ") => Format::Iperf3Text,
        _ if line.contains("Accepted connection from ") && line.contains(", port ") => {
            Format::Iperf3Text
        }
        _ if line.contains("iperf3: error - ") => Format::Iperf3Text,
        _ if qperf::is_heading(line) => Format::Qperf,
        _ if nuttcp::is_line(line) => Format::Nuttcp,
        _ => return None,
    })
}

/// The format of a head that no single line identifies.
fn by_head(lines: &[&str]) -> Option<Format> {
    let first = lines.iter().find(|line| !line.is_empty())?;
    if uperf::is_history(first) {
        return Some(Format::UperfHistory);
    }
    // netperf without headings: a bare number, or a row.
    let numbers = first
        .split_whitespace()
        .all(|word| crate::figures::number(word).is_some());
    if numbers && first.split_whitespace().count() <= 10 {
        return Some(Format::Netperf);
    }
    let json_later = lines.iter().any(|line| line.trim_start().starts_with('{'));
    json_later
        .then_some(Format::IperfJson)
        .or_else(|| table::form(lines).map(Format::Table))
}

/// The format of an input that is declared to be of `tool`.
pub(crate) fn format_of(tool: Tool, head: &[u8]) -> Format {
    let recognised = recognise(head).ok();
    if recognised == Some(Format::Bench) {
        // The tool is that of the outputs in it.
        return Format::Bench;
    }
    let trimmed = head.trim_ascii_start();
    match tool {
        Tool::Iperf | Tool::Iperf3 | Tool::Riperf3 | Tool::IperfVsock => {
            if trimmed.starts_with(b"{") {
                Format::IperfJson
            } else {
                Format::Iperf3Text
            }
        }
        Tool::Iperf2 if recognised == Some(Format::Iperf2Csv) => Format::Iperf2Csv,
        Tool::Iperf2 => Format::Iperf2Text,
        Tool::Uperf if recognised == Some(Format::UperfHistory) => Format::UperfHistory,
        Tool::Uperf => Format::Uperf,
        Tool::Netperf => Format::Netperf,
        Tool::Neper => match recognised {
            Some(samples @ (Format::NeperSamples | Format::NeperRtt)) => samples,
            _ => Format::Neper,
        },
        Tool::Sockperf => Format::Sockperf,
        Tool::Qperf => Format::Qperf,
        Tool::Nuttcp => Format::Nuttcp,
        Tool::Ntttcp => Format::Ntttcp(match trimmed.first() {
            Some(b'{') => ntttcp::Form::Json,
            Some(b'<') => ntttcp::Form::Xml,
            _ => ntttcp::Form::Text,
        }),
        Tool::VsockPerf => Format::VsockPerf,
        Tool::Table if trimmed.starts_with(b"|") => Format::Table(table::Form::Markdown),
        Tool::Table => Format::Table(table::Form::Csv),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unrecognised_input_is_refused_with_the_reason() {
        for (head, reason) in [
            ("", "empty"),
            (" \n\n", "empty"),
            ("PK\0\x03", "binary"),
            ("<html>", "not ntttcp's"),
            ("Hello, world", "no known tool"),
        ] {
            let refused = recognise(head.as_bytes()).unwrap_err();
            assert!(refused.contains(reason), "{head:?}: {refused}");
        }
    }
}

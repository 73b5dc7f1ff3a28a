//! How one end reports to the other how it moved its bytes: our own member `zerocopy` of a stream's results.

use std::time::Duration;

use iperf_model::{CopyMode, CopyReport};
use serde_json::{Value, json};

use crate::json::Fields;

/// A peer's reason is printed, so it is cut to what fits a line.
const MAX_REASON: usize = 200;

/// The most CPU time that a peer's thread can have used, in seconds: a few days.
const MAX_CPU: f64 = 1e6;

pub(crate) fn to_json(report: &CopyReport) -> Value {
    let mut json = json!({
        "requested": report.requested.name(),
        "used": report.used.name(),
        "calls": report.calls,
        "bytes_not_copied": report.bytes_not_copied,
        "bytes_copied": report.bytes_copied,
        "mappings": report.mappings,
        "completions": report.completions,
        "completions_copied": report.completions_copied,
        "cpu": report.cpu.as_secs_f64(),
    });
    if let Some(reason) = &report.reason {
        json["reason"] = reason.as_str().into();
    }
    json
}

/// A report with modes that this program does not know counts as no report.
pub(crate) fn parse(fields: &Fields<'_>) -> Option<CopyReport> {
    let mode = |key| CopyMode::from_name(&fields.string(key)?);
    let count = |key| {
        let count = fields
            .integer(key)
            .or_else(|| fields.integer(old_name(key)?));
        u64::try_from(count.unwrap_or(0)).unwrap_or(0)
    };
    let cpu = fields.number("cpu").unwrap_or(0.0).clamp(0.0, MAX_CPU);
    Some(CopyReport {
        requested: mode("requested")?,
        used: mode("used")?,
        reason: fields.string("reason").map(shortened),
        calls: count("calls"),
        bytes_not_copied: count("bytes_not_copied"),
        bytes_copied: count("bytes_copied"),
        mappings: count("mappings"),
        completions: count("completions"),
        completions_copied: count("completions_copied"),
        cpu: Duration::try_from_secs_f64(cpu).unwrap_or_default(),
    })
}

/// The name of a count in the first versions of this program.
fn old_name(key: &str) -> Option<&'static str> {
    match key {
        "bytes_not_copied" => Some("uncopied"),
        "bytes_copied" => Some("copied"),
        "completions_copied" => Some("copied_completions"),
        _ => None,
    }
}

fn shortened(reason: String) -> String {
    match reason.char_indices().nth(MAX_REASON) {
        Some((end, _)) => reason[..end].to_owned(),
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> CopyReport {
        CopyReport {
            requested: CopyMode::Mmap,
            used: CopyMode::Copy,
            reason: Some("pages are compound".to_owned()),
            calls: 1,
            bytes_not_copied: 2,
            bytes_copied: 3,
            mappings: 4,
            completions: 5,
            completions_copied: 6,
            cpu: Duration::from_millis(1250),
        }
    }

    fn read(json: &str) -> Option<CopyReport> {
        parse(&Fields::parse(json).unwrap())
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let silent = CopyReport {
            reason: None,
            ..report()
        };
        for report in [report(), silent] {
            assert_eq!(read(&to_json(&report).to_string()), Some(report));
        }
    }

    #[test]
    fn the_names_of_the_first_versions_are_read() {
        let old = r#"{"requested":"mmap","used":"copy","calls":1,"uncopied":2,"copied":3,"mappings":4,"completions":5,
            "copied_completions":6,"cpu":1.25,"reason":"pages are compound"}"#;
        assert_eq!(read(old), Some(report()));
    }

    #[test]
    fn nonsense_is_no_report_or_nothing() {
        assert_eq!(read(r#"{"requested":"mmap","used":"telepathy"}"#), None);
        assert_eq!(read(r#"{"used":"mmap"}"#), None);
        let odd = read(
            r#"{"requested":"mmap","used":"mmap","cpu":1e300,"calls":-4,"bytes_copied":"x","reason":"a\u001b[31m\nb"}"#,
        );
        let odd = odd.unwrap();
        assert_eq!(
            (odd.calls, odd.bytes_copied, odd.cpu.as_secs()),
            (0, 0, 1_000_000)
        );
        assert_eq!(odd.reason.as_deref(), Some("a\u{fffd}[31m\u{fffd}b"));
        let long = format!(
            r#"{{"requested":"mmap","used":"mmap","reason":"{}"}}"#,
            "é".repeat(5000)
        );
        assert_eq!(read(&long).unwrap().reason.unwrap().chars().count(), 200);
    }
}

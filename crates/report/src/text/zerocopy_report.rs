//! The line that begins with `zerocopy`: how bytes were moved.

use iperf_model::{CopyMode, CopyReport};

/// The line of a direction: `zerocopy: rx mmap 98.7 % mapped, 1.3 % copied`. None for an end without a request.
pub(crate) fn line(way: &'static str, report: &CopyReport) -> Option<String> {
    if report.requested == CopyMode::Copy {
        return None;
    }
    let used = report.used.name();
    let mut line = match report.uncopied_share() {
        None => format!("zerocopy: {way} {used} no data"),
        Some(share) if report.used == CopyMode::Copy && report.bytes_not_copied == 0 => {
            debug_assert!(share == 0.0);
            format!("zerocopy: {way} copy 100.0 % copied")
        }
        Some(share) => {
            let done = match report.used {
                CopyMode::Mmap => "mapped",
                CopyMode::Trunc => "dropped",
                CopyMode::Splice if way == "rx" => "spliced",
                _ => "not copied",
            };
            let (percent, rest) = (100.0 * share, 100.0 * (1.0 - share));
            format!("zerocopy: {way} {used} {percent:.1} % {done}, {rest:.1} % copied")
        }
    };
    if let Some(reason) = &report.reason {
        line.extend([" (", reason, ")"]);
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn report(used: CopyMode, bytes_not_copied: u64, bytes_copied: u64) -> CopyReport {
        CopyReport {
            requested: CopyMode::Mmap,
            used,
            reason: None,
            calls: 10,
            bytes_not_copied,
            bytes_copied,
            mappings: 4,
            completions: 0,
            completions_copied: 0,
            cpu: Duration::from_millis(100),
        }
    }

    #[test]
    fn a_line_has_the_shares() {
        let text = |report: &CopyReport| line("rx", report).unwrap();
        assert_eq!(
            text(&report(CopyMode::Mmap, 987, 13)),
            "zerocopy: rx mmap 98.7 % mapped, 1.3 % copied"
        );
        let fallback = CopyReport {
            reason: Some("the kernel has no such option".to_owned()),
            ..report(CopyMode::Copy, 0, 5)
        };
        assert_eq!(
            text(&fallback),
            "zerocopy: rx copy 100.0 % copied (the kernel has no such option)"
        );
        assert_eq!(
            text(&report(CopyMode::Mmap, 0, 0)),
            "zerocopy: rx mmap no data"
        );
    }

    #[test]
    fn an_end_without_a_request_has_no_line() {
        let requested = CopyMode::Copy;
        let report = CopyReport {
            requested,
            ..report(CopyMode::Copy, 0, 5)
        };
        assert_eq!(line("tx", &report), None);
    }
}

//! The text of `--zerocopy-check`.

use std::fmt::Write as _;

use iperf_zc::check::{self, Finding};

/// What each transport can do on this machine without copying: a line for each way, and one below it for what helps.
pub fn zerocopy_check() -> String {
    format(&check::all())
}

fn format(findings: &[Finding]) -> String {
    let width = findings.iter().map(|it| it.way.len()).max().unwrap_or(0);
    let mut text = String::from("Without a copy on this machine:\n");
    for finding in findings {
        let Finding {
            way,
            extent,
            reason,
            remedy,
        } = finding;
        let _ = writeln!(text, "{way:width$}  {extent:6}  {reason}");
        if let Some(remedy) = remedy {
            let _ = writeln!(text, "{:width$}          → {remedy}", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use iperf_zc::check::Extent;

    #[test]
    fn findings_are_a_table_with_remedies() {
        let finding = |way, extent, remedy: Option<&str>| Finding {
            way,
            extent,
            reason: "because".to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        let findings = [
            finding("TCP, send", Extent::Yes, None),
            finding("vsock", Extent::No, Some("load it")),
        ];
        assert_eq!(
            format(&findings),
            "Without a copy on this machine:\n\
             TCP, send  yes     because\n\
             vsock      no      because\n\
             \u{20}                  → load it\n"
        );
    }
}

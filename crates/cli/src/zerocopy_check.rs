//! What `--zerocopy-check` prints: a table, or with `-J` a document.

use std::fmt::Write as _;

use iperf_zc::check::{self, Finding};
use serde_json::{Value, json};

/// What each transport can do on this machine without copying: a line for each way, and one below it for what helps. As JSON,
/// an object for each way.
pub fn zerocopy_check(as_json: bool) -> String {
    let findings = check::all();
    if as_json {
        format!("{:#}\n", document(&findings))
    } else {
        table(&findings)
    }
}

fn table(findings: &[Finding]) -> String {
    let words = findings.iter().map(|it| it.way.words().len());
    let width = words.max().unwrap_or(0);
    let mut text = String::from("Without a copy on this machine:\n");
    for finding in findings {
        let Finding {
            way,
            extent,
            reason,
            remedy,
            ..
        } = finding;
        let _ = writeln!(text, "{:width$}  {extent:6}  {reason}", way.words());
        if let Some(remedy) = remedy {
            let _ = writeln!(text, "{:width$}          → {remedy}", "");
        }
    }
    text
}

/// The keys are described in docs/zerocopy.md.
fn document(findings: &[Finding]) -> Value {
    let finding = |it: &Finding| {
        json!({
            "transport": it.way.transport,
            "peer": it.way.peer,
            "direction": it.way.direction,
            "without_copy": it.extent.name(),
            "modes": it.modes,
            "reason": it.reason,
            "remedy": it.remedy,
        })
    };
    let findings: Vec<Value> = findings.iter().map(finding).collect();
    json!({ "zerocopy_check": findings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use iperf_zc::check::{Extent, Way};

    fn finding(name: &'static str, extent: Extent, remedy: Option<&str>) -> Finding {
        Finding {
            way: Way {
                transport: "vsock",
                peer: Some("host"),
                direction: "send",
                name,
            },
            extent,
            modes: vec!["msg"],
            reason: "because".to_owned(),
            remedy: remedy.map(str::to_owned),
        }
    }

    #[test]
    fn findings_are_a_table_with_remedies() {
        let findings = [
            finding("TCP", Extent::Yes, None),
            finding("vsock", Extent::No, Some("load it")),
        ];
        assert_eq!(
            table(&findings),
            "Without a copy on this machine:\n\
             TCP, send    yes     because\n\
             vsock, send  no      because\n\
             \u{20}                    → load it\n"
        );
    }

    #[test]
    fn the_document_has_an_object_for_each_way() {
        let found = document(&[finding("x", Extent::Partly, Some("load it"))]);
        let wanted = json!({ "zerocopy_check": [{
            "transport": "vsock", "peer": "host", "direction": "send",
            "without_copy": "partly", "modes": ["msg"], "reason": "because", "remedy": "load it",
        }]});
        assert_eq!(found, wanted);
        let every: Value = serde_json::from_str(&zerocopy_check(true)).unwrap();
        assert_eq!(every["zerocopy_check"].as_array().unwrap().len(), 16);
    }

    #[test]
    fn json_may_stand_before_or_behind_it() {
        let parse = |words: &str| {
            let words = words.split(' ').map(Into::into);
            crate::parse(words).unwrap_or_else(|error| panic!("{error:?}"))
        };
        for (words, json) in [
            ("--zerocopy-check", false),
            ("--zerocopy-check -J", true),
            ("--json --zerocopy-check", true),
        ] {
            let invocation = parse(words);
            assert_eq!(invocation.job, crate::Job::ZerocopyCheck, "{words}");
            assert_eq!(invocation.output.json, json, "{words}");
        }
    }

    #[test]
    fn docs_zerocopy_md_has_every_key() {
        let page = include_str!("../../../docs/zerocopy.md");
        let document = document(&[finding("x", Extent::No, None)]);
        for key in document["zerocopy_check"][0].as_object().unwrap().keys() {
            assert!(page.contains(&format!("| `{key}` |")), "{key}");
        }
    }
}

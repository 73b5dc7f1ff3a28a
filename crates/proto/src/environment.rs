//! The description of its machine that each end of this program sends: a member of the results.
//!
//! ```json
//! {"version":"3.22 (iperf-rs 0.1.0)","steal_percent":0.1,"kernel":"Linux 6.12.0",…,"sysctl":{"rmem_max":212992,…}}
//! ```
//!
//! A peer's is bounded in size, and its texts are made fit to be shown. What it has of a wrong type makes the whole of it
//! absent; members that this version does not know are ignored.

use iperf_model::{Environment, RemoteEnvironment};
use serde::Deserialize as _;
use serde_json::{Map, Value};

use crate::json::Fields;
use crate::shown;

/// The longest that is read, in bytes. Ours is shorter than 2000.
const LONGEST: usize = 8192;
/// The most characters of a text.
const LONGEST_TEXT: usize = 200;
/// The most elements of a list.
const LONGEST_LIST: usize = 64;

const VERSION: &str = "version";
const STEAL: &str = "steal_percent";

/// The member for the peer.
pub(crate) fn to_json(report: &RemoteEnvironment) -> Value {
    let mut members = Map::new();
    if let Some(version) = &report.version {
        members.insert(VERSION.to_owned(), Value::from(version.as_str()));
    }
    if let Some(percent) = report.steal_percent {
        members.insert(STEAL.to_owned(), Value::from(percent));
    }
    if let Ok(Value::Object(facts)) = serde_json::to_value(&report.environment) {
        members.extend(facts);
    }
    Value::Object(members)
}

/// The peer's.
pub(crate) fn parse(results: &Fields<'_>) -> Option<RemoteEnvironment> {
    let source = results.object("environment")?;
    if source.len() > LONGEST {
        return None;
    }
    let mut value: Value = serde_json::from_str(source).ok()?;
    make_fit(&mut value);
    Some(RemoteEnvironment {
        version: value[VERSION].as_str().map(str::to_owned),
        steal_percent: value[STEAL]
            .as_f64()
            .filter(|percent| (0.0..=100.0).contains(percent)),
        environment: Environment::deserialize(value).ok()?,
    })
}

/// Bounds texts and lists. serde_json has bounded the depth.
fn make_fit(value: &mut Value) {
    match value {
        Value::String(text) => {
            *text = shown::line(text).chars().take(LONGEST_TEXT).collect();
        }
        Value::Array(elements) => {
            elements.truncate(LONGEST_LIST);
            elements.iter_mut().for_each(make_fit);
        }
        Value::Object(members) => members.values_mut().for_each(make_fit),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use iperf_model::environment::{Interface, Sysctl};

    use super::*;

    fn report() -> RemoteEnvironment {
        RemoteEnvironment {
            version: Some("3.22 (iperf-rs 1.2.3)".to_owned()),
            steal_percent: Some(0.5),
            environment: Environment {
                kernel: Some("Linux 6.12.0".to_owned()),
                cpus: Some(8),
                interface: Some(Interface {
                    name: "eth0".to_owned(),
                    mtu: Some(9000),
                    offloads: Some(vec!["tcp-segmentation-offload".to_owned()]),
                    ..Interface::default()
                }),
                sysctl: Some(Sysctl {
                    tcp_rmem: Some(vec![4096, 131_072, 6_291_456]),
                    ..Sysctl::default()
                }),
                ..Environment::default()
            },
        }
    }

    fn read(member: &str) -> Option<RemoteEnvironment> {
        let results = format!(r#"{{"environment":{member}}}"#);
        parse(&Fields::parse(&results).unwrap())
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        assert_eq!(read(&to_json(&report()).to_string()), Some(report()));
        let nothing = RemoteEnvironment::default();
        assert_eq!(to_json(&nothing).to_string(), "{}");
        assert_eq!(read("{}"), Some(nothing));
    }

    #[test]
    fn a_peers_texts_do_nothing_in_a_terminal_and_have_a_bound() {
        let long = "é".repeat(3000);
        let read = read(&format!(
            r#"{{"kernel":"a\u001b[31m\n\u202eb","cpu":"{long}","interface":{{"name":"e\u0007"}},"more":[1]}}"#
        ));
        let facts = read.unwrap().environment;
        assert_eq!(facts.kernel.unwrap(), "a\u{fffd}[31m\u{fffd}\u{fffd}b");
        assert_eq!(facts.cpu.unwrap().chars().count(), 200);
        assert_eq!(facts.interface.unwrap().name, "e\u{fffd}");
    }

    #[test]
    fn nonsense_is_no_environment() {
        for nonsense in [
            "[]",
            "7",
            "null",
            r#""text""#,
            r#"{"cpus":-1}"#,
            r#"{"kernel":7}"#,
            r#"{"interface":7}"#,
            r#"{"sysctl":{"tcp_rmem":"x"}}"#,
            &format!(r#"{{"kernel":"{}"}}"#, "x".repeat(9000)),
            &format!(r#"{{"deep":{}{}}}"#, "[".repeat(4000), "]".repeat(4000)),
        ] {
            let read = read(nonsense);
            let empty = read
                .clone()
                .is_none_or(|report| report == RemoteEnvironment::default());
            assert!(empty, "{nonsense:.40}: {read:?}");
        }
        let steal = read(r#"{"steal_percent":1e300,"version":{}}"#);
        assert_eq!(steal, Some(RemoteEnvironment::default()));
    }

    #[test]
    fn a_list_has_a_bound() {
        let list = vec!["1"; 3000].join(",");
        let read = read(&format!(r#"{{"sysctl":{{"tcp_wmem":[{list}]}}}}"#));
        let sysctl = read.unwrap().environment.sysctl.unwrap();
        assert_eq!(sysctl.tcp_wmem.unwrap().len(), 64);
    }
}

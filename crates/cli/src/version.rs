//! The three lines of `-v`, and the description of the system in reports.

use iperf::embed::system_info;
use iperf_model::VERSION;

/// Features that iperf3 may be built without, in its words and order, and then our own.
const FEATURES: [&str; 15] = [
    "CPU affinity setting",
    "IPv6 flow label",
    "SCTP",
    "TCP congestion algorithm setting",
    "sendfile / zerocopy",
    "socket pacing",
    "authentication",
    "bind to device",
    "support IPv4 don't fragment",
    "POSIX threads",
    "GSO/GRO support",
    "MPTCP",
    "vsock",
    "zero-copy receive",
    "MSG_ZEROCOPY",
];

/// The commit that was built, set by the build script; empty where git does not know it.
const COMMIT: &str = env!("IPERF_COMMIT");

/// The three lines of `-v`: version, system and features.
pub fn version() -> String {
    let (system, features) = (system_info(), FEATURES.join(", "));
    let version = match VERSION.strip_suffix(')') {
        Some(version) if !COMMIT.is_empty() => format!("{version}, commit {COMMIT})"),
        _ => VERSION.to_owned(),
    };
    format!("iperf {version}\n{system}\nOptional features available: {features}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_lines() {
        let text = version();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let own = lines[0].strip_prefix("iperf 3.22 (iperf-rs ");
        let own = own.and_then(|rest| rest.strip_suffix(')')).unwrap();
        let words: Vec<&str> = own.split(", ").collect();
        match words.as_slice() {
            [_version] => assert_eq!(COMMIT, ""),
            [_version, commit] => assert_eq!(*commit, format!("commit {COMMIT}")),
            _ => panic!("{own}"),
        }
        assert!(lines[1].split(' ').count() >= 5);
        assert!(lines[2].starts_with("Optional features available: CPU affinity setting, "));
    }
}

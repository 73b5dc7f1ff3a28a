//! The three lines of `-v`, and the description of the system in reports.

use iperf_model::VERSION;
use nix::sys::utsname::uname;

/// What iperf3 may be built without and this program has, in iperf3's words and order.
const FEATURES: [&str; 11] = [
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
];

/// The three lines of `-v`: versions, the system, and what was built in.
pub fn version() -> String {
    let (version, system, features) = (VERSION, system_info(), FEATURES.join(", "));
    format!("iperf {version}\n{system}\nOptional features available: {features}\n")
}

/// The system this runs on: the fields of `uname`, separated by blanks.
pub fn system_info() -> String {
    match uname() {
        Ok(name) => [
            name.sysname(),
            name.nodename(),
            name.release(),
            name.version(),
            name.machine(),
        ]
        .map(|field| field.to_string_lossy().into_owned())
        .join(" "),
        Err(error) => format!("unknown system: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_lines() {
        let text = version();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("iperf 3.22 (iperf-rs "));
        assert!(lines[1].split(' ').count() >= 5);
        assert!(lines[2].starts_with("Optional features available: CPU affinity setting, "));
    }
}

//! What the program says about itself: the short and the long usage, its versions.

use iperf_model::VERSION;
use nix::sys::utsname::uname;

use crate::options::{OPTIONS, Spec, Takes};

/// Columns of the long usage.
const WIDTH: usize = 100;
/// Columns before the text of an option.
const INDENT: usize = 34;

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

/// Two lines for whoever made a mistake.
pub(crate) fn short(program: &str) -> String {
    format!(
        "Usage: {program} [-s|-c host] [options]\nTry `{program} --help' for more information.\n"
    )
}

/// Everything about every option.
pub(crate) fn long(program: &str) -> String {
    let forms = format!(
        "\
Measures how fast a network carries data. Works with any iperf3 on the other end.

Usage: {program} -s [options]
       {program} -c HOST [options]
       {program} --loopback [client options]
"
    );
    let notes = format!(
        "
Defaults are in brackets. Sizes take k, m, g or t for powers of 1024 (128K is 131072 bytes), rates
for powers of 1000 (10M is 10000000 bits per second). Long names may be cut while they are
unambiguous; a value shown as [=VALUE] needs the sign. Of an option given twice, the last counts.

Examples:
  {program} -s                            serve whoever comes
  {program} -c 192.0.2.7                  send over TCP for 10 seconds
  {program} -c 192.0.2.7 -R -t 30         receive for 30 seconds
  {program} -c 192.0.2.7 --bidir -P 4     4 streams each way
  {program} -c 192.0.2.7 -u -b 50M        send UDP at 50 Mbit/s
  {program} -c fe80::7%eth0 -J            over IPv6, results as JSON
  {program} -s -1 -p 6000                 serve one test on port 6000
  {program} --loopback -P 2               see what this machine can do
"
    );
    let groups = OPTIONS.chunk_by(|one, next| one.heading == next.heading);
    let options: Vec<String> = groups.map(group).collect();
    [forms, options.concat(), notes].concat()
}

/// Options under a heading.
fn group(specs: &[Spec]) -> String {
    let heading = specs
        .iter()
        .take(1)
        .map(|spec| format!("\n{}:\n", spec.heading));
    heading.chain(specs.iter().map(entry)).collect()
}

/// The lines about one option: its names, and from a fixed column on what it does.
fn entry(spec: &Spec) -> String {
    let short = match spec.short {
        [letter, ..] if spec.long.is_empty() => format!("-{letter}"),
        [letter, ..] => format!("-{letter}, "),
        [] => " ".repeat(4),
    };
    let long: Vec<String> = spec.long.iter().map(|name| format!("--{name}")).collect();
    let value = match spec.takes {
        Takes::Nothing => String::new(),
        Takes::Value(name) => format!(" {name}"),
        Takes::Maybe(name, _) => format!("[={name}]"),
    };
    let names = format!("  {short}{}{value}", long.join(", "));

    let mut lines = vec![format!("{names:<INDENT$}")];
    if names.len() + 2 > INDENT {
        lines = vec![names, " ".repeat(INDENT)];
    }
    let mut room = WIDTH - INDENT;
    for word in spec.help.split(' ') {
        if word.len() + 1 > room {
            lines.push(" ".repeat(INDENT));
            room = WIDTH - INDENT;
        }
        room -= word.len() + 1;
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
            line.push(' ');
        }
    }
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    lines.join(
        "
",
    ) + "
"
}

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
    fn the_long_usage_names_every_option() {
        let help = long("iperf3");
        let words: Vec<&str> = help.split([' ', ',', '[', '\n']).collect();
        for spec in OPTIONS {
            let short = spec.short.iter().map(|letter| format!("-{letter}"));
            let long = spec.long.iter().map(|name| format!("--{name}"));
            for name in short.chain(long) {
                assert!(words.contains(&name.as_str()), "{name}\n{help}");
            }
        }
        assert!(
            help.contains("Usage: iperf3 -s [options]\n       iperf3 -c HOST"),
            "{help}"
        );
        assert!(
            help.lines()
                .all(|line| line.len() <= WIDTH && line.trim_end() == line),
            "{help}"
        );
    }

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

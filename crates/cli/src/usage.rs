//! The texts around the options: iperf3's short usage, the forms of the command line, notes and examples.

/// The two lines after an error, which are iperf3's.
pub(crate) fn short(program: &str) -> String {
    format!(
        "Usage: {program} [-s|-c host] [options]\nTry `{program} --help' for more information.\n"
    )
}

/// What the program does, in one line.
pub(crate) const ABOUT: &str =
    "Measures network throughput. Works with any iperf3 on the other end.";

/// The forms of the command line, aligned below clap's `Usage: `.
pub(crate) fn forms(program: &str) -> String {
    let forms = [
        "-s [options]",
        "-c HOST [options]",
        "--loopback [client options]",
        "COMMAND [options]",
    ];
    forms
        .map(|form| format!("{program} {form}"))
        .join("\n       ")
}

/// What holds for all options.
pub const NOTES: &str = "\
Defaults are in brackets. Suffixes k, m, g and t multiply sizes by powers of 1024 (128K is 131072 bytes) \
and rates by powers of 1000 (10M is 10000000 bits per second). Long names can be abbreviated as long as they are \
unambiguous. A value shown as [=<VALUE>] must follow an equals sign. If an option is given more than once, the last \
one counts.";

/// Command lines without the name of the program, and what they do.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("-s", "run a server"),
    ("-c 192.0.2.7", "send over TCP for 10 seconds"),
    ("-c 192.0.2.7 -R -t 30", "receive for 30 seconds"),
    ("-c 192.0.2.7 --bidir -P 4", "4 streams in each direction"),
    ("-c 192.0.2.7 -u -b 50M", "send UDP at 50 Mbit/s"),
    (
        "-c fe80::7%eth0 -J",
        "over IPv6 link-local, results as JSON",
    ),
    ("-s -1 -p 6000", "run one test on port 6000, then exit"),
    ("--loopback -P 2", "test this machine with itself"),
];

/// The end of the help.
pub(crate) fn after_help(program: &str) -> String {
    let examples: Vec<String> = EXAMPLES
        .iter()
        .map(|(options, effect)| {
            let line = format!("{program} {options}");
            format!("  {line:<40}{effect}")
        })
        .collect();
    format!("{}\n\nExamples:\n{}", NOTES, examples.join("\n"))
}

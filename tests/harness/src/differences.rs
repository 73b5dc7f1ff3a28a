//! Command lines that this program deliberately handles differently from iperf3 3.22.
//!
//! Tests check the table: every command line in it is read, and compared with the recorded behaviour of iperf3 where
//! there is a recording.

/// What happens to a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is refused with this text, printed after the name of the program.
    Refused(&'static str),
    /// It is accepted and means this.
    Accepted(&'static str),
}

/// One deliberate difference.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Command lines that show it, without the program's name.
    pub args: &'static [&'static str],
    /// What iperf3 does.
    pub iperf3: Outcome,
    /// What this program does.
    pub here: Outcome,
    /// Why.
    pub why: &'static str,
}

use Outcome::{Accepted, Refused};

const NEGATIVE: &str = "a negative amount has no meaning and would wrap around to a huge one";
const NO_REASON: &str = "the trailing colon promises a system error that does not exist";
const HUGE: &str = "iperf3 truncates the number to 32 or 64 bits, which leaves an arbitrary one";

/// Every deliberate difference.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        args: &[
            "-c host -t 10s",
            "-c host -t 1.9",
            "-c host -t inf",
            "-c host -P 2x",
            "-c host -i abc",
            "-c host -S 0x1g",
            "-c host -f kk",
            "-c host -n 10MB",
            "-c host -A 0/0,1",
            "-c host -A 1,",
            "-c host --debug=9",
            "-c host --cntl-ka=5m/1/3",
        ],
        iperf3: Accepted("the number at the start counts, or 0 if there is none"),
        here: Accepted("the same, with a warning that shows the value used"),
        why: "the rest may be a typo",
    },
    Difference {
        args: &["-c host extra args", "-c host --zerocopy msg"],
        iperf3: Accepted("the words that belong to no option are ignored"),
        here: Accepted("the same, with a warning that names each"),
        why: "a value that lacks its equals sign looks like one",
    },
    Difference {
        args: &["-c host -P 129", "-c host -P 10000"],
        iperf3: Refused(
            "parameter error - invalid number of parallel streams (min = 1, max = 128)",
        ),
        here: Accepted("that many streams, to a server of this program"),
        why: "such a server has shared threads for them; an iperf3 server gets no such request",
    },
    Difference {
        args: &["-c host -l 2M", "-c host -l 16M"],
        iperf3: Refused("parameter error - block size too large (maximum = 1048576 bytes)"),
        here: Accepted(
            "such blocks over TCP, MPTCP and vsock, to a server of this program; those of all streams may have 256 MiB \
             together",
        ),
        why: "zero-copy tests with buffers of 512 pages and more. To an iperf3 server the test ends before data is sent, \
              with its own message or `-l above 1M needs iperf at both ends, and the server is another program (or too \
              old)`",
    },
    Difference {
        args: &["-c host -l 17M"],
        iperf3: Refused("parameter error - block size too large (maximum = 1048576 bytes)"),
        here: Refused(
            "parameter error - block size too large (maximum = 16777216 bytes, or 1048576 if the server is iperf3)",
        ),
        why: "the limit is another one",
    },
    Difference {
        args: &["-c host -t abc"],
        iperf3: Accepted("a test without end"),
        here: Refused(
            "parameter error - invalid value 'abc' for -t/--time: must be a whole number from 1 to 86400, or 0 or \
             inf for no end",
        ),
        why: "a typo must not start an endless test",
    },
    Difference {
        args: &["-s --server-max-duration abc"],
        iperf3: Accepted("no limit"),
        here: Refused(
            "parameter error - invalid value 'abc' for --server-max-duration: must be a whole number from 1 to \
             86400, or 0 or inf for no end",
        ),
        why: "a typo must not start an endless test",
    },
    Difference {
        args: &["-c host -t 4294967297"],
        iperf3: Accepted("a test of 1 second"),
        here: Refused("parameter error - test duration valid values are 0 to 86400 seconds"),
        why: HUGE,
    },
    Difference {
        args: &["-c host -b 1e30"],
        iperf3: Accepted("any rate, or no limit"),
        here: Refused(
            "parameter error - invalid value '1e30' for -b/--bitrate: must be from 0 to 9223372036854775807 bits per second",
        ),
        why: HUGE,
    },
    Difference {
        args: &["-c host --cntl-ka=40000"],
        iperf3: Accepted("an error after it has connected"),
        here: Refused(
            "parameter error - invalid value '40000' for --cntl-ka: must be seconds up to 32767, seconds up to 32767 \
             and a number up to 127, separated by /",
        ),
        why: "the system's maximum",
    },
    Difference {
        args: &["-c host -b -5M"],
        iperf3: Accepted("no limit"),
        here: Refused(
            "parameter error - invalid value '-5M' for -b/--bitrate: must be from 0 to 9223372036854775807 bits per second",
        ),
        why: NEGATIVE,
    },
    Difference {
        args: &["-c host -n -5"],
        iperf3: Accepted("a huge number of bytes"),
        here: Refused(
            "parameter error - invalid value '-5' for -n/--bytes: must be from 0 to 9223372036854775807",
        ),
        why: NEGATIVE,
    },
    Difference {
        args: &["-c host --pacing-timer -5"],
        iperf3: Refused("parameter error - no error"),
        here: Refused(
            "parameter error - invalid value '-5' for --pacing-timer: must be from 0 to 2147483647 microseconds",
        ),
        why: "iperf3 does not report what is wrong",
    },
    Difference {
        args: &["-c host --connect-timeout -5"],
        iperf3: Accepted("no limit"),
        here: Refused(
            "parameter error - invalid value '-5' for --connect-timeout: must be from 0 to 2147483647 milliseconds",
        ),
        why: NEGATIVE,
    },
    Difference {
        args: &["-c host -b 0.5"],
        iperf3: Accepted("no limit"),
        here: Refused(
            "parameter error - invalid value '0.5' for -b/--bitrate: must be 0 for no limit, or from 1 to \
             9223372036854775807 bits per second",
        ),
        why: "rounded down to 0 it would mean no limit",
    },
    Difference {
        args: &["-c host --nstreams 65536"],
        iperf3: Accepted("truncated to 16 bits, which is 0: the system's default"),
        here: Accepted("65535, with a warning"),
        why: "SCTP's maximum",
    },
    Difference {
        args: &["-c host --nstreams 5"],
        iperf3: Accepted("5 SCTP streams, and -b 5"),
        here: Accepted("5 SCTP streams"),
        why: "the number of streams is not a rate",
    },
    Difference {
        args: &["-c host -t=5"],
        iperf3: Accepted("the value '=5', read as 0"),
        here: Accepted("the value '5'"),
        why: "the sign is not meant as part of the value",
    },
    Difference {
        args: &["-c host -J --no-fq-socket-pacing"],
        iperf3: Accepted("a warning on stdout, before the document"),
        here: Accepted("the warning on stderr"),
        why: "with -J, stdout has only the document",
    },
    Difference {
        args: &["-c host -B 1.2.3.4", "-c host --bind-dev nosuch0"],
        iperf3: Accepted("an error that blames the server or a firewall"),
        here: Accepted("an error that names the address, device or family that can't be used"),
        why: "the server was never contacted",
    },
    Difference {
        args: &["-c host -A 1025", "-c host -A abc"],
        iperf3: Refused("parameter error - unable to set CPU affinity: "),
        here: Refused("parameter error - unable to set CPU affinity"),
        why: NO_REASON,
    },
    Difference {
        args: &["-c host --rcv-timeout 50 -R"],
        iperf3: Refused("parameter error - receive timeout value is incorrect or not in range: "),
        here: Refused("parameter error - receive timeout value is incorrect or not in range"),
        why: NO_REASON,
    },
    Difference {
        args: &["-c host --rcv-timeout 200"],
        iperf3: Refused(
            "parameter error - client receive timeout is valid only in receiving mode: ",
        ),
        here: Refused("parameter error - client receive timeout is valid only in receiving mode"),
        why: NO_REASON,
    },
    Difference {
        args: &["-c host --snd-timeout -1", "-c host --snd-timeout 86400001"],
        iperf3: Refused("parameter error - send timeout value is incorrect or not in range: "),
        here: Refused("parameter error - send timeout value is incorrect or not in range"),
        why: NO_REASON,
    },
    Difference {
        args: &["-c host --cntl-ka=10/5/3", "-c host --cntl-ka=5/5/3"],
        iperf3: Refused(
            "parameter error - control connection Keepalive period should be larger than the full retry period \
             (interval * count): ",
        ),
        here: Refused(
            "parameter error - control connection Keepalive period should be larger than the full retry period \
             (interval * count)",
        ),
        why: NO_REASON,
    },
    Difference {
        args: &["-c host --username a --rsa-public-key-path nope.pem"],
        iperf3: Refused("error:80000002:system library::No such file or directory"),
        here: Refused(
            "parameter error - you must specify a username, password, and path to a valid RSA public key: nope.pem: \
             No such file or directory",
        ),
        why: "iperf3 prints its library's message, and then the error without the file's name",
    },
    Difference {
        args: &["-s --rsa-private-key-path nope.pem --authorized-users-path users.csv"],
        iperf3: Refused("error:80000002:system library::No such file or directory"),
        here: Refused(
            "parameter error - you must specify a path to a valid RSA private key and a user credential file: \
             nope.pem: No such file or directory",
        ),
        why: "iperf3 prints its library's message, and then the error without the file's name",
    },
    Difference {
        args: &["-c host --username a --rsa-public-key-path pub.pem"],
        iperf3: Refused(
            "parameter error - you must specify a username, password, and path to a valid RSA public key",
        ),
        here: Accepted("logs in; the client asks for the password when it starts"),
        why: "parsing a command line should not read from the terminal",
    },
    Difference {
        args: &["-c host --username a --rsa-public-key-path pub.pem --use-pkcs1-padding"],
        iperf3: Refused("parameter error - some option you are trying to set is server only"),
        here: Accepted("logs in like clients before iperf3 3.17"),
        why: "such a server accepts no other logins",
    },
    Difference {
        args: &["-c 3"],
        iperf3: Accepted("a test with the internet address 0.0.0.3"),
        here: Accepted("a test with virtual machine 3 over vsock"),
        why: "no host has such an address, and virtual machines have numbers",
    },
    Difference {
        args: &["-c host --zero"],
        iperf3: Accepted("--zerocopy"),
        here: Refused(
            "option '--zero' is ambiguous; possibilities: '--zerocopy-check' '--zerocopy' '--zerocopy-rx' '--zerocopy-strict'",
        ),
        why: "new options make old abbreviations ambiguous, as they do with getopt_long",
    },
    Difference {
        args: &["-s --lo=file"],
        iperf3: Accepted("--logfile=file"),
        here: Refused(
            "option '--lo=file' is ambiguous; possibilities: '--loopback' '--logfile' '--log-format'",
        ),
        why: "--loopback and --log-format are options of this program only",
    },
];

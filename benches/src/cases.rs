//! The tests that are run side by side, and what is aimed at against iperf3 3.22.

use crate::figure::{Figure, Goal};

/// What the streams go over, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The loopback of this machine.
    Loopback,
    /// The same while loops that do nothing want the processors, too: two for each.
    BusyLoopback,
    /// CID 1 in a virtual machine of the lab.
    Vsock,
}

impl Ground {
    /// What every server of it is started with.
    pub fn server(self) -> &'static [&'static str] {
        match self {
            Self::Loopback | Self::BusyLoopback => &["-s"],
            Self::Vsock => &["-s", "--vsock", "--forceflush"],
        }
    }

    /// What every client of it is started with.
    pub fn client(self) -> &'static [&'static str] {
        match self {
            Self::Loopback | Self::BusyLoopback => &["-c", "127.0.0.1", "-J"],
            Self::Vsock => &["-c", "1", "-J", "--vsock"],
        }
    }
}

/// One test.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// How it is called on the command line and in the table.
    pub name: &'static str,
    /// Where it runs.
    pub ground: Ground,
    /// The client's arguments besides.
    pub args: &'static str,
    /// What is compared.
    pub figures: &'static [Figure],
    /// What is aimed at.
    pub goals: &'static [(Figure, Goal)],
}

use Figure::{
    Cpu, Datagrams, Latency, Loss, Memory, ReceiverCpu, Tail, Throughput, Transactions, Wall,
};
use Goal::{AtLeast, AtMost, OursAtMost, Within};

const STREAM: &[Figure] = &[Throughput, Cpu, ReceiverCpu, Memory];
const UDP: &[Figure] = &[Datagrams, Throughput, Loss, Cpu, ReceiverCpu, Memory];
const EXCHANGE: &[Figure] = &[Transactions, Latency, Tail, Memory];
const SHORT: &[Figure] = &[Wall, Memory];

const FASTER: &[(Figure, Goal)] = &[(Throughput, AtLeast(1.3)), (Cpu, AtMost(0.75))];
const MANY: &[(Figure, Goal)] = &[
    (Throughput, AtLeast(1.2)),
    (Cpu, AtMost(0.8)),
    (Memory, AtMost(1.0)),
];
const SMALL: &[(Figure, Goal)] = &[(Throughput, AtLeast(1.15)), (Cpu, AtMost(0.75))];
const PACED: &[(Figure, Goal)] = &[(Throughput, Within(0.001)), (Cpu, AtMost(0.6))];

/// As good as the best of other tools.
const PROMPT: &[(Figure, Goal)] = &[(Transactions, AtLeast(1.0)), (Latency, AtMost(1.0))];

const fn case(
    name: &'static str,
    args: &'static str,
    figures: &'static [Figure],
    goals: &'static [(Figure, Goal)],
) -> Case {
    Case {
        name,
        ground: Ground::Loopback,
        args,
        figures,
        goals,
    }
}

/// The same on a contended machine.
const fn busy(
    name: &'static str,
    args: &'static str,
    figures: &'static [Figure],
    goals: &'static [(Figure, Goal)],
) -> Case {
    Case {
        ground: Ground::BusyLoopback,
        ..case(name, args, figures, goals)
    }
}

/// The same in a virtual machine.
const fn vsock(name: &'static str, args: &'static str) -> Case {
    Case {
        ground: Ground::Vsock,
        ..case(name, args, STREAM, &[])
    }
}

/// Nearly as good as system calls can be.
const NEAR: &[(Figure, Goal)] = &[(Transactions, AtLeast(0.95)), (Latency, AtMost(1.05))];

/// Every case, in the order of the table.
pub const CASES: [Case; 37] = [
    case("tcp", "", STREAM, FASTER),
    case("tcp-reverse", "-R", STREAM, FASTER),
    case("tcp-2", "-P 2", STREAM, FASTER),
    case("tcp-8", "-P 8", STREAM, MANY),
    case("tcp-16", "-P 16", STREAM, MANY),
    case("tcp-16-reverse", "-P 16 -R", STREAM, MANY),
    case("tcp-16-bidir", "-P 16 --bidir", STREAM, MANY),
    case("tcp-64", "-P 64", STREAM, MANY),
    case("tcp-128", "-P 128", STREAM, MANY),
    case("tcp-bidir", "--bidir", STREAM, &[]),
    case("tcp-64B", "-l 64", STREAM, SMALL),
    case("tcp-1K", "-l 1K", STREAM, SMALL),
    case("tcp-4K", "-l 4K", STREAM, SMALL),
    case("tcp-128K", "-l 128K", STREAM, FASTER),
    case("tcp-1M", "-l 1M", STREAM, &[(Throughput, AtLeast(1.2))]),
    case("zerocopy", "-Z", STREAM, &[(Throughput, AtLeast(1.4))]),
    case(
        "zerocopy-skip",
        "-Z --skip-rx-copy",
        STREAM,
        &[(Throughput, AtLeast(1.2))],
    ),
    case("tcp-1G", "-b 1G", STREAM, PACED),
    case("tcp-100M", "-b 100M", STREAM, PACED),
    case("tcp-short", "-n 1M", SHORT, &[(Wall, AtMost(0.1))]),
    case(
        "udp-1448",
        "-u -b 0 -l 1448",
        UDP,
        &[(Datagrams, AtLeast(4.0)), (Loss, AtMost(0.0))],
    ),
    case("udp-64", "-u -b 0 -l 64", UDP, &[]),
    case("udp", "-u -b 0", UDP, &[]),
    case(
        "udp-gsro",
        "-u -b 0 -l 1448 --gsro",
        UDP,
        &[
            (Datagrams, AtLeast(1.0)),
            (ReceiverCpu, AtMost(0.5)),
            (Loss, OursAtMost(1.0)),
        ],
    ),
    case("udp-1G", "-u -b 1G -l 1448", UDP, PACED),
    case("udp-short", "-u -b 0 -n 1M", SHORT, &[]),
    busy(
        "tcp-busy",
        "",
        STREAM,
        &[(Throughput, AtLeast(1.0)), (Cpu, AtMost(1.0))],
    ),
    busy(
        "tcp-16-busy",
        "-P 16",
        STREAM,
        &[(Throughput, AtLeast(1.0))],
    ),
    busy(
        "udp-busy",
        "-u -b 20M -l 1400",
        UDP,
        &[(Throughput, Within(0.01)), (Loss, AtMost(0.0))],
    ),
    // 14 bytes are the least that sockperf sends.
    case("tcp-rr", "--rr=14", EXCHANGE, PROMPT),
    case("tcp-rr-4", "--rr=14 -P 4", EXCHANGE, PROMPT),
    case("udp-rr", "--rr=14 -u", EXCHANGE, PROMPT),
    vsock("vsock-4K", "-l 4K"),
    vsock("vsock-64K", "-l 64K"),
    vsock("vsock-128K", "-l 128K"),
    vsock("vsock-1M", "-l 1M"),
    Case {
        figures: EXCHANGE,
        goals: NEAR,
        ..vsock("vsock-rr", "--rr=14")
    },
];

impl Case {
    /// The cases of these names, or all of them; the first name that is none is the error.
    pub fn named(names: &[String]) -> Result<Vec<Self>, String> {
        if names.is_empty() {
            return Ok(CASES.to_vec());
        }
        let find = |name: &String| {
            let found = CASES.iter().find(|case| case.name == name);
            found.copied().ok_or_else(|| name.clone())
        };
        names.iter().map(find).collect()
    }

    /// Whether the amount of data ends the test, and not the time.
    pub fn is_short(&self) -> bool {
        self.figures.contains(&Wall)
    }

    /// The client's arguments for a test of this many seconds.
    pub fn client_args(&self, seconds: u32) -> Vec<String> {
        let mut words: Vec<String> = self.args.split_whitespace().map(str::to_owned).collect();
        if !self.is_short() {
            words.extend(["-t".to_owned(), seconds.to_string()]);
        }
        words
    }

    /// The client's arguments as a reader is shown them.
    pub fn args_shown(&self) -> String {
        match self.ground {
            Ground::Loopback => self.args.to_owned(),
            Ground::BusyLoopback => format!("{} beside busy loops", self.args).trim().to_owned(),
            Ground::Vsock => format!("--vsock {}", self.args),
        }
    }

    /// What is aimed at for one of the figures.
    pub fn goal(&self, figure: Figure) -> Option<Goal> {
        let goal = self.goals.iter().find(|(of, _)| *of == figure);
        goal.map(|(_, goal)| *goal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_is_of_a_figure_that_is_compared() {
        for case in CASES {
            for (figure, _) in case.goals {
                assert!(case.figures.contains(figure), "{}", case.name);
            }
        }
    }

    #[test]
    fn cases_are_found_by_name() {
        let names = |cases: Vec<Case>| -> Vec<&str> { cases.iter().map(|c| c.name).collect() };
        let wanted = ["udp".to_owned(), "tcp".to_owned()];
        assert_eq!(names(Case::named(&wanted).unwrap()), ["udp", "tcp"]);
        assert_eq!(Case::named(&[]).unwrap().len(), CASES.len());
        assert_eq!(Case::named(&["no".to_owned()]).unwrap_err(), "no");
        let mut all = names(CASES.to_vec());
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), CASES.len());
    }

    #[test]
    fn a_test_with_a_quota_has_no_time() {
        let short = Case::named(&["tcp-short".to_owned()]).unwrap()[0];
        assert_eq!(short.client_args(5), ["-n", "1M"]);
        let reverse = Case::named(&["tcp-reverse".to_owned()]).unwrap()[0];
        assert_eq!(reverse.client_args(5), ["-R", "-t", "5"]);
    }
}

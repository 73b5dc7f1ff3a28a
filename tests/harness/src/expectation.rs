//! What a client's arguments ask for, as far as the results can be checked against it.

use crate::peer::Peer;

/// Which end sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The client.
    Forward,
    /// The server (`-R`).
    Reverse,
    /// Both (`--bidir`).
    Bidir,
}

/// What carries the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Without another option.
    Tcp,
    /// `-u`.
    Udp,
    /// `--sctp`.
    Sctp,
    /// `--vsock`.
    Vsock,
}

/// A test as requested.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// Which end sends.
    pub mode: Mode,
    /// Streams per direction.
    pub streams: usize,
    /// Seconds; `None` when bytes or blocks end the test.
    pub time: Option<u32>,
    /// Bytes that end the test.
    pub bytes: Option<u64>,
    /// Blocks that end the test.
    pub blocks: Option<u64>,
    /// What carries the data.
    pub transport: Transport,
    /// Block size in bytes; 0 for datagrams whose size was not given: it depends on the path.
    pub block: u64,
    /// Seconds that are not counted.
    pub omit: u32,
    /// Seconds between the client's reports; 0 is one report.
    pub interval: f64,
    /// A target rate was given without a burst.
    pub paced: bool,
    /// Blocks that are sent in one go.
    pub burst: u32,
    /// Many datagrams go through the kernel in one call (`--gsro`).
    pub offload: bool,
    /// What need not hold.
    pub tolerance: Tolerance,
}

/// What the results of a test need not show, for reasons that lie outside of it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a tolerance of its own"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// An end runs where time is short: a late report may stand for several.
    pub late_reports: bool,
    /// A VMM is between the two: the server does not learn the client's port, and it may be 0.
    pub unknown_ports: bool,
    /// The client ends the test in the moment in which the last block is written (before 3.16), so a short test
    /// may be over before anything has arrived.
    pub abrupt_end: bool,
    /// With two directions the one that is done first ends both, and an iperf3 before 3.16 moves them in one thread: of the
    /// other direction it may have moved nothing.
    pub one_direction: bool,
    /// A server of ours goes on sending datagrams behind the quota until an iperf3 client, which counts what it
    /// receives, ends the test.
    pub more_than_quota: bool,
    /// A receiving client counts each read as one of `-k`'s blocks, however few bytes it got (before 3.16, whose
    /// sockets do not block): such a test may end far below its quota. Two real 3.12 ends on an idle machine moved half.
    pub reads_for_blocks: bool,
}

impl Expectation {
    /// Reads the arguments of a client.
    pub fn of(args: &[String]) -> Self {
        let value = |names: &[&str]| -> Option<&str> {
            let index = args.iter().rposition(|arg| names.contains(&arg.as_str()))?;
            args.get(index + 1).map(String::as_str)
        };
        let given = |names: &[&str]| args.iter().any(|arg| names.contains(&arg.as_str()));
        let bytes = value(&["-n"]).map(units);
        let blocks = value(&["-k"]).map(units);
        let time = value(&["-t"]).map(small);
        let transport = match (given(&["-u"]), given(&["--sctp"]), given(&["--vsock"])) {
            (true, ..) => Transport::Udp,
            (_, true, _) => Transport::Sctp,
            (.., true) => Transport::Vsock,
            _ => Transport::Tcp,
        };
        Self {
            mode: match (given(&["-R"]), given(&["--bidir"])) {
                (true, _) => Mode::Reverse,
                (_, true) => Mode::Bidir,
                _ => Mode::Forward,
            },
            streams: value(&["-P"]).map_or(1, |text| small(text) as usize),
            time: time.or(if bytes.or(blocks).is_some() {
                None
            } else {
                Some(10)
            }),
            bytes,
            blocks,
            transport,
            block: value(&["-l"]).map_or(transport.block(), units),
            omit: value(&["-O"]).map_or(0, small),
            interval: value(&["-i"]).map_or(1.0, |text| text.parse().expect("an interval")),
            burst: value(&["-b"])
                .and_then(|rate| rate.split_once('/'))
                .map_or(1, |(_, burst)| small(burst)),
            offload: given(&["--gsro"]),
            paced: value(&["-b"]).is_some_and(|text| !text.contains('/')),
            tolerance: Tolerance::default(),
        }
    }

    /// The same test, when this client requests it from this server.
    pub fn between(mut self, client: Peer, server: Peer) -> Self {
        self.tolerance.abrupt_end = client == Peer::Old && self.quota().is_some();
        self.tolerance.one_direction =
            server == Peer::Old && self.quota().is_some() && self.mode == Mode::Bidir;
        self.tolerance.reads_for_blocks = client == Peer::Old && self.blocks.is_some();
        self.tolerance.more_than_quota =
            client != Peer::Ours && self.transport == Transport::Udp && self.mode != Mode::Forward;
        self
    }

    /// All data streams of the test.
    pub fn connections(&self) -> usize {
        self.streams * if self.mode == Mode::Bidir { 2 } else { 1 }
    }

    /// Whether the client sends on the stream with this index.
    pub fn client_sends(&self, index: usize) -> bool {
        match self.mode {
            Mode::Forward => true,
            Mode::Reverse => false,
            Mode::Bidir => index < self.streams,
        }
    }

    /// The block size, if it is known.
    pub fn given_block(&self) -> Option<u64> {
        (self.block > 0).then_some(self.block)
    }

    /// The bytes that end the test, in whole blocks.
    pub fn quota(&self) -> Option<u64> {
        let bytes = self
            .bytes
            .map(|bytes| bytes.div_ceil(self.block) * self.block);
        bytes.or(self.blocks.map(|blocks| blocks * self.block))
    }
}

impl Transport {
    /// The default block size; 0 if it depends on the path.
    fn block(self) -> u64 {
        match self {
            Self::Tcp => 131_072,
            Self::Udp => 0,
            Self::Sctp | Self::Vsock => 65_536,
        }
    }

    /// Whether iperf3 reports the kernel's view of a sender: retransmits, round trips and the like. Over SCTP it does
    /// so in some places and not in others.
    pub fn is_viewed(self) -> Option<bool> {
        match self {
            Self::Tcp => Some(true),
            Self::Sctp => None,
            Self::Udp | Self::Vsock => Some(false),
        }
    }

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::Vsock => "VSOCK",
        }
    }
}

fn small(text: &str) -> u32 {
    u32::try_from(units(text)).expect("a small number")
}

fn units(text: &str) -> u64 {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let number: u64 = digits
        .parse()
        .unwrap_or_else(|e| panic!("{text} is no number that a test gives: {e}"));
    number * factor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::words;

    #[test]
    fn arguments_are_read() {
        let expected = Expectation::of(&words(
            "-J --bidir -P 4 -n 1000K -l 64K -O 1 -i 0.5 -b 1M/3",
        ));
        assert_eq!(expected.mode, Mode::Bidir);
        assert_eq!((expected.connections(), expected.time), (8, None));
        assert_eq!(expected.quota(), Some(16 * 65_536));
        assert_eq!(
            (expected.omit, expected.interval, expected.paced),
            (1, 0.5, false)
        );
        assert!(expected.client_sends(3) && !expected.client_sends(4));
        assert_eq!(Expectation::of(&words("-R")).time, Some(10));
        let vsock = Expectation::of(&words("--vsock -k 2"));
        assert_eq!(
            (vsock.transport, vsock.quota()),
            (Transport::Vsock, Some(131_072))
        );
    }
}

//! Why the kernel dropped datagrams of the receiving sockets: lack of room, the machine's fault, or a bad checksum, the
//! network's.
//!
//! ```text
//! bad checksum ──► up to 68 bytes: dropped before a socket is chosen    (`udp4_csum_init`)        InCsumErrors
//!              ──► longer: dropped when it is read                      (`sk_drops` of the socket) InCsumErrors
//! no room      ──► dropped when it is queued                            (`sk_drops` of the socket) RcvbufErrors
//! no memory    ──► the same                                             (`sk_drops` of the socket) MemErrors
//! ```
//!
//! A socket has one counter for all causes, and a network namespace has one for each (net/ipv4/udp.c). So all drops of
//! a socket count as lack of room, unless the namespace counts fewer such drops and some bad checksums.

use std::fs;

use iperf_model::{Detail, StreamOutcome};

/// What a namespace counted of each cause, for one of the two internet protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Causes {
    pub(crate) checksums: u64,
    pub(crate) no_room: u64,
}

impl Causes {
    /// What was counted since `before`.
    fn since(self, before: Self) -> Self {
        Self {
            checksums: self.checksums.saturating_sub(before.checksums),
            no_room: self.no_room.saturating_sub(before.no_room),
        }
    }

    /// How many of `dropped` datagrams had bad checksums.
    fn checksums_of(self, dropped: u64) -> u64 {
        dropped.saturating_sub(self.no_room).min(self.checksums)
    }
}

/// The counts of a namespace from a moment on.
#[derive(Debug)]
pub(crate) struct UdpErrors {
    v6: bool,
    before: Causes,
}

impl UdpErrors {
    /// Counts from now on. `None` where the system has no such counters.
    pub(crate) fn start(v6: bool) -> Option<Self> {
        let before = read(v6)?;
        Some(Self { v6, before })
    }

    /// The counts since the start.
    pub(crate) fn so_far(&self) -> Causes {
        read(self.v6).unwrap_or_default().since(self.before)
    }
}

/// Both files are those of this thread's namespace.
fn read(v6: bool) -> Option<Causes> {
    if v6 {
        let text = fs::read_to_string("/proc/thread-self/net/snmp6").ok()?;
        of_snmp6(&text)
    } else {
        let text = fs::read_to_string("/proc/thread-self/net/snmp").ok()?;
        of_snmp(&text)
    }
}

/// A line of names, and a line of values below it.
fn of_snmp(text: &str) -> Option<Causes> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    causes(|name| {
        let mut pairs = names.split(' ').zip(values.split(' '));
        let (_, value) = pairs.find(|(found, _)| *found == name)?;
        value.parse().ok()
    })
}

/// A name and a value on each line.
fn of_snmp6(text: &str) -> Option<Causes> {
    causes(|name| {
        let mut rests = text.lines().filter_map(|line| line.strip_prefix("Udp6"));
        let value =
            rests.find_map(|rest| rest.strip_prefix(name)?.strip_prefix(char::is_whitespace))?;
        value.trim().parse().ok()
    })
}

fn causes(count: impl Fn(&str) -> Option<u64>) -> Option<Causes> {
    Some(Causes {
        checksums: count("InCsumErrors")?,
        // Since Linux 5.11.
        no_room: count("RcvbufErrors")? + count("MemErrors").unwrap_or(0),
    })
}

/// Completes the outcomes of streams whose sockets dropped so many datagrams each (`None` for streams that receive none).
pub(crate) fn attribute(
    outcomes: &mut [StreamOutcome],
    drops: &[Option<u64>],
    causes: Option<Causes>,
) {
    let all: Vec<u64> = drops.iter().map(|drops| drops.unwrap_or(0)).collect();
    let dropped = all
        .iter()
        .fold(0, |sum: u64, drops| sum.saturating_add(*drops));
    let shares = shares(&all, causes.unwrap_or_default().checksums_of(dropped));
    for ((outcome, drops), share) in outcomes.iter_mut().zip(drops).zip(shares) {
        if let Detail::Datagrams(totals) = &mut outcome.detail {
            totals.socket_drops = drops.map(|drops| drops - share);
        }
    }
}

/// Divides `bad` checksums among sockets in proportion to the datagrams that each dropped: the kernel does not report
/// which socket got them. No share is larger than what its socket dropped.
fn shares(drops: &[u64], bad: u64) -> Vec<u64> {
    let mut rest: u128 = drops.iter().copied().map(u128::from).sum();
    let mut left = u128::from(bad).min(rest);
    // Each takes its part of what is left, so that nothing is lost by rounding.
    let share = |&drops: &u64| {
        let drops = u128::from(drops);
        let share = (left * drops).checked_div(rest).unwrap_or(0);
        left -= share;
        rest -= drops;
        u64::try_from(share).unwrap_or(u64::MAX)
    };
    drops.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let causes = |checksums, no_room| Some(Causes { checksums, no_room });
        let text = "Ip: Forwarding InCsumErrors\nIp: 1 4\nUdp: InErrors RcvbufErrors InCsumErrors MemErrors\n\
                    Udp: 10 3 7 2\nUdpLite: InCsumErrors\nUdpLite: 5\n";
        assert_eq!(of_snmp(text), causes(7, 5));
        assert_eq!(
            of_snmp("Udp: InCsumErrors RcvbufErrors\nUdp: 1 2\n"),
            causes(1, 2)
        );
        assert_eq!(of_snmp("Udp: InDatagrams\nUdp: 10\n"), None);
        assert_eq!(of_snmp("Udp: InCsumErrors\n"), None);
        let text = "Udp6InErrors   \t9\nUdp6RcvbufErrors \t4\nUdp6InCsumErrors   \t8\nUdpLite6InCsumErrors  \t3\n";
        assert_eq!(of_snmp6(text), causes(8, 4));
        assert_eq!(of_snmp6(""), None);
    }

    #[test]
    fn this_system_counts_causes() {
        assert!(UdpErrors::start(false).is_some());
    }

    #[test]
    fn drops_are_for_lack_of_room_unless_the_namespace_counts_show_otherwise() {
        let checksums =
            |checksums, no_room, dropped| Causes { checksums, no_room }.checksums_of(dropped);
        // No other sockets: the counts agree.
        assert_eq!(checksums(7, 3, 10), 7);
        assert_eq!(checksums(0, 10, 10), 0);
        assert_eq!(checksums(10, 0, 10), 10);
        // Short datagrams with bad checksums, or those for other sockets.
        assert_eq!(checksums(50, 10, 10), 0);
        assert_eq!(checksums(50, 4, 10), 6);
        // Other sockets find no room.
        assert_eq!(checksums(0, 90, 10), 0);
        // Drops for another reason are no damage.
        assert_eq!(checksums(2, 3, 10), 2);
    }

    #[test]
    fn sockets_share_in_proportion_and_to_the_last_one() {
        assert_eq!(shares(&[10], 7), [7]);
        assert_eq!(shares(&[10], 70), [10]);
        assert_eq!(shares(&[0], 70), [0]);
        assert_eq!(shares(&[], 70), [0; 0]);
        assert_eq!(shares(&[10, 30], 20), [5, 15]);
        assert_eq!(shares(&[1, 1, 1], 2), [0, 1, 1]);
        assert_eq!(shares(&[0, 5, 0], 3), [0, 3, 0]);
        assert_eq!(shares(&[u64::MAX, u64::MAX], u64::MAX).len(), 2);
        for bad in 0..40 {
            let drops = [3, 0, 11, 1, 17];
            let shares = shares(&drops, bad);
            assert_eq!(shares.iter().sum::<u64>(), bad.min(32));
            assert!(
                shares
                    .iter()
                    .zip(drops)
                    .all(|(share, drops)| *share <= drops)
            );
        }
    }
}

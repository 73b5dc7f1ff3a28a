//! What an interface carried and dropped: its line of `/proc/net/dev`, in this thread's network namespace.

use std::fs;

/// One direction of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// With the headers of the link.
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    /// No buffer for them: the driver's or the kernel's, or the device's own (`fifo`).
    pub(crate) dropped: u64,
}

impl Counters {
    /// Reads `bytes packets errs drop fifo …`.
    fn parse(fields: &[u64]) -> Option<Self> {
        let [bytes, packets, _, drop, fifo, ..] = *fields else {
            return None;
        };
        Some(Self {
            bytes,
            packets,
            dropped: drop.saturating_add(fifo),
        })
    }

    /// What was counted since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(before.bytes),
            packets: self.packets.saturating_sub(before.packets),
            dropped: self.dropped.saturating_sub(before.dropped),
        }
    }
}

/// Both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) received: Counters,
    pub(crate) sent: Counters,
}

impl Traffic {
    /// The counts of the interface so far.
    pub(crate) fn of(interface: &str) -> Option<Self> {
        Self::parse(
            &fs::read_to_string("/proc/thread-self/net/dev").ok()?,
            interface,
        )
    }

    /// A line has eight figures of what was received, and eight of what was sent.
    fn parse(text: &str, interface: &str) -> Option<Self> {
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(':'));
        let (_, line) = lines.find(|(name, _)| name.trim() == interface)?;
        let fields: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        let fields = fields.ok()?;
        Some(Self {
            received: Counters::parse(fields.get(..8)?)?,
            sent: Counters::parse(fields.get(8..)?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
        lo: 1 2 0 0 0 0 0 0 1 2 0 0 0 0 0 0\n  eth0: 1500 10 1 3 4 0 0 0 700 5 0 2 0 0 0 0\n";

    #[test]
    fn an_interface_has_its_line() {
        let traffic = Traffic::parse(TEXT, "eth0").unwrap();
        let counters = |bytes, packets, dropped| Counters {
            bytes,
            packets,
            dropped,
        };
        assert_eq!(traffic.received, counters(1500, 10, 7));
        assert_eq!(traffic.sent, counters(700, 5, 2));
        let since = traffic.received.since(counters(500, 20, 7));
        assert_eq!(since, counters(1000, 0, 0), "a counter that was reset");
    }

    #[test]
    fn other_text_is_no_traffic() {
        for (text, name) in [
            (TEXT, "eth1"),
            ("", "lo"),
            ("lo: 1 2 3", "lo"),
            ("lo: x", "lo"),
        ] {
            assert_eq!(Traffic::parse(text, name), None, "{text}");
        }
        assert!(Traffic::of("lo").is_some());
    }
}

//! A line of numbers in iperf3's text, and exact values that are rounded to what it prints.

use iperf_model::{TestConfig, Transport};

/// One line of numbers.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// `None` for a sum.
    pub(super) socket: Option<i32>,
    sending: Option<bool>,
    pub(super) start: f64,
    pub(super) end: f64,
    /// Bytes: the printed number, and the least and the most that print like it.
    transfer: (f64, f64, f64),
    bits_per_second: f64,
    pub(super) retransmits: Option<u64>,
    pub(super) cwnd: u64,
    pub(super) jitter: f64,
    pub(super) lost: i64,
    pub(super) packets: u64,
    pub(super) tail: String,
}

impl Row {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (id, rest) = line.strip_prefix('[')?.split_once(']')?;
        let socket = match id {
            "SUM" => None,
            id => Some(id.trim().parse().ok()?),
        };
        let (sending, rest) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (role, rest) = rest.split_once(']')?;
                (Some(role.starts_with("TX")), rest)
            }
            None => (None, rest),
        };
        let words: Vec<_> = rest.split_whitespace().collect();
        let (start, end) = words.first()?.split_once('-')?;
        assert_eq!(words[1], "sec");
        let tail = ["(omitted)", "sender", "receiver"];
        let tail = words.iter().find(|word| tail.contains(word));
        let own = &words[6..words.len() - usize::from(tail.is_some())];
        let bits = amount(words[4], words[5].trim_end_matches("/sec")).0;
        let bits = if words[5].contains("Byte") {
            bits * 8.0
        } else {
            bits
        };
        let mut row = Self {
            socket,
            sending,
            start: start.parse().unwrap(),
            end: end.parse().unwrap(),
            transfer: amount(words[2], words[3]),
            bits_per_second: bits,
            retransmits: None,
            cwnd: 0,
            jitter: 0.0,
            lost: 0,
            packets: 0,
            tail: tail.map_or("", |tail| tail).into(),
        };
        match own {
            [] => {}
            // Of TCP's sum and summary, and of a UDP sender.
            [count] => {
                row.packets = count.parse().unwrap();
                row.retransmits = Some(row.packets);
            }
            [retransmits, cwnd, unit] => {
                row.retransmits = Some(retransmits.parse().unwrap());
                row.cwnd = amount(cwnd, unit).0 as u64;
            }
            [jitter, "ms", counts, _percent] => {
                let (lost, packets) = counts.split_once('/').unwrap();
                row.jitter = jitter.parse::<f64>().unwrap() / 1000.0;
                row.lost = lost.parse().unwrap();
                row.packets = packets.parse().unwrap();
            }
            other => panic!("{other:?}"),
        }
        Some(row)
    }

    pub(super) fn sends(&self, config: &TestConfig, is_client: bool) -> bool {
        self.sending
            .unwrap_or_else(|| config.role_on(0, is_client).sends())
    }

    /// Bytes that fit what was printed of the row, over this many seconds.
    pub(super) fn bytes(&self, config: &TestConfig, seconds: f64) -> u64 {
        if config.transport == Transport::Udp {
            return self.packets.saturating_add_signed(-self.lost) * u64::from(config.block);
        }
        let (bytes, least, most) = self.transfer;
        let wanted = self.bits_per_second * seconds / 8.0;
        // A rate that was printed as zero carries no information.
        let wanted = if self.bits_per_second < 1e6 {
            bytes
        } else {
            wanted
        };
        wanted.clamp(least, most).round() as u64
    }

    /// A length that fits what was printed of the row since this moment.
    pub(super) fn seconds(&self, config: &TestConfig, start: f64) -> f64 {
        let printed = self.end - start;
        let bytes = self.bytes(config, printed) as f64;
        if self.bits_per_second < 1e6 {
            return printed;
        }
        let wanted = bytes * 8.0 / self.bits_per_second;
        wanted.clamp(printed - 0.0049, printed + 0.0049)
    }
}

/// A printed amount, and the least and the most that print like it.
pub(super) fn amount(number: &str, unit: &str) -> (f64, f64, f64) {
    let base: f64 = if unit.contains("bit") { 1000.0 } else { 1024.0 };
    let power = ["K", "M", "G", "T"]
        .iter()
        .position(|letter| unit.starts_with(letter));
    let unit = base.powi(power.map_or(0, |power| power as i32 + 1));
    let decimals = number
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len());
    let error = 0.499 * 0.1_f64.powi(decimals as i32);
    let number: f64 = number.parse().unwrap();
    // Less than one of a unit would be printed in the unit below.
    let least = (number - error).max(number.min(1.0));
    (number * unit, least * unit, (number + error) * unit)
}

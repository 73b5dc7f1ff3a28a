//! What UDP streams carry: the exchange that opens a stream, the header of each datagram, and the statistics that a
//! receiver derives from the headers.
//!
//! ```text
//! 0        4          8                12               16
//! ├────────┼──────────┼────────────────┼────────────────┤
//! │seconds │ microsec.│ sequence number (32 or 64 bits) │ payload …      all big-endian
//! └────────┴──────────┴────────────────┴────────────────┘
//! ```

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::cookie::Cookie;

/// What a client sends to open a stream. iperf3's servers accept any datagram as a hello.
pub const HELLO: [u8; 4] = *b"9876";
/// What a server answers.
pub const REPLY: [u8; 4] = *b"6789";
/// The hello of 3.11 and before, as little-endian hosts write it.
pub const LEGACY_HELLO: [u8; 4] = 123_456_789_u32.to_le_bytes();
/// The reply of 3.11 and before, as little-endian hosts write it.
pub const LEGACY_REPLY: [u8; 4] = 987_654_321_u32.to_le_bytes();

/// The length in bytes of a hello that carries the test's cookie.
pub const NAMED_HELLO: usize = HELLO.len() + Cookie::LEN;

/// The hello of a client whose server grants [`Granted::hello`](crate::Granted::hello): it belongs to one test and
/// cannot be mistaken for data, so it may be repeated at any time.
pub fn named_hello(cookie: &Cookie) -> [u8; NAMED_HELLO] {
    let mut hello = [0; NAMED_HELLO];
    hello[..HELLO.len()].copy_from_slice(&HELLO);
    hello[HELLO.len()..].copy_from_slice(cookie.as_bytes());
    hello
}

/// Whether a datagram is the hello of a client that sends no cookie: iperf3's of any version and byte order.
pub fn is_plain_hello(datagram: &[u8]) -> bool {
    let Some(hello) = datagram.first_chunk::<4>().filter(|_| datagram.len() == 4) else {
        return false;
    };
    let mut swapped = *hello;
    swapped.reverse();
    [*hello, swapped]
        .iter()
        .any(|hello| *hello == HELLO || *hello == LEGACY_HELLO)
}

/// Whether a datagram of `length` bytes that begins with `start` is a repeated hello, of any test: the socket that
/// received it has only one peer.
pub fn is_repeated_hello(start: &[u8], length: usize) -> bool {
    (length == NAMED_HELLO && start.starts_with(&HELLO)) || (length == 4 && is_plain_hello(start))
}

/// The largest payload of a datagram over IPv4 in bytes.
pub const MAX_DATAGRAM: u32 = 65_507;
/// The most datagrams that one send call may carry with segmentation offload (Linux: `UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: u32 = 128;
/// Block sizes in bytes. The smallest holds a header with a 64-bit counter.
pub(crate) const BLOCK_SIZES: RangeInclusive<i64> = 16..=65_507;

/// Whether a datagram is a server's answer to the hello, of any version.
pub fn is_reply(datagram: &[u8]) -> bool {
    datagram == REPLY || datagram == LEGACY_REPLY
}

/// What a datagram is to a client that waits for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// The reply.
    Reply,
    /// To be skipped: the reply may follow.
    Skipped,
    /// More than may be skipped: the stream can't be opened.
    Wrong,
}

/// How many datagrams a client reads in search of the reply.
///
/// A server that sends may be faster with data than with the reply, so a client skips a few datagrams in reverse mode.
/// In the other modes the first short one must be the reply; longer ones were left behind by an earlier test on this
/// port.
#[derive(Clone, Debug)]
pub struct ReplySearch {
    /// Bytes that may still be skipped.
    budget: usize,
    reverse: bool,
}

impl ReplySearch {
    /// Looks for the reply on a stream of `block`-byte datagrams.
    pub fn new(block: u32, reverse: bool) -> Self {
        let blocks = 2 * usize::try_from(block).unwrap_or(0);
        Self {
            budget: if reverse { 4 + blocks } else { 0 },
            reverse,
        }
    }

    /// Takes a datagram. A skipped one counts as at most 4 bytes, for clients read no more of it.
    pub fn offer(&mut self, datagram: &[u8]) -> Offered {
        if is_reply(datagram) {
            return Offered::Reply;
        }
        if !self.reverse && datagram.len() > REPLY.len() {
            return Offered::Skipped;
        }
        let cost = datagram.len().clamp(1, 4);
        self.budget = self.budget.saturating_sub(cost);
        if self.budget == 0 {
            Offered::Wrong
        } else {
            Offered::Skipped
        }
    }
}

/// Bytes that one send call carries with segmentation offload: the most whole datagrams of `block` bytes.
pub fn offload_buffer(block: u32) -> u32 {
    let datagrams = MAX_DATAGRAM.checked_div(block).unwrap_or(0);
    block * datagrams.min(MAX_SEGMENTS)
}

/// The highest bit of the microseconds' first byte.
const MARK: u8 = 0x80;

/// The header of each datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramHeader {
    /// Seconds of the sender's monotonic clock.
    pub secs: u32,
    /// Microseconds of it.
    pub micros: u32,
    /// From 1 on, for each stream on its own.
    pub sequence: u64,
}

impl DatagramHeader {
    /// Bytes with a 32-bit counter.
    pub const LEN_32: usize = 12;
    /// Bytes with a 64-bit counter.
    pub const LEN_64: usize = 16;

    /// A header for a datagram that leaves at this time of the monotonic clock.
    pub fn new(sent: Duration, sequence: u64) -> Self {
        Self {
            secs: u32::try_from(sent.as_secs() & u64::from(u32::MAX)).unwrap_or(0),
            micros: sent.subsec_micros(),
            sequence,
        }
    }

    /// The length of a header in bytes.
    pub const fn len(counter_64bit: bool) -> usize {
        if counter_64bit {
            Self::LEN_64
        } else {
            Self::LEN_32
        }
    }

    /// Writes the header to the front of a datagram; returns `false` and writes nothing if it does not fit. A 32-bit
    /// counter wraps.
    pub fn encode(&self, datagram: &mut [u8], counter_64bit: bool) -> bool {
        let Some(bytes) = datagram.get_mut(..Self::len(counter_64bit)) else {
            return false;
        };
        let sequence = self.sequence.to_be_bytes();
        bytes[..4].copy_from_slice(&self.secs.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.micros.to_be_bytes());
        bytes[8..].copy_from_slice(if counter_64bit {
            &sequence
        } else {
            &sequence[4..]
        });
        true
    }

    /// Reads the header off the front of a datagram, if the datagram is long enough.
    pub fn decode(datagram: &[u8], counter_64bit: bool) -> Option<Self> {
        let word = |at: usize| {
            let bytes = datagram.get(at..)?.first_chunk()?;
            Some(u32::from_be_bytes(*bytes))
        };
        Some(Self {
            secs: word(0)?,
            micros: word(4)?,
            sequence: if counter_64bit {
                u64::from_be_bytes(*datagram.get(8..)?.first_chunk()?)
            } else {
                word(8)?.into()
            },
        })
    }

    /// Marks a datagram on the wire: it is behind the omitted period. Microseconds leave the bit free.
    pub fn mark(datagram: &mut [u8]) {
        if let Some(byte) = datagram.get_mut(4) {
            *byte |= MARK;
        }
    }

    /// Takes the mark off a header that was read; true when it was there.
    pub fn take_mark(&mut self) -> bool {
        let mark = u32::from(MARK) << 24;
        let marked = self.micros & mark != 0;
        self.micros &= !mark;
        marked
    }

    /// When it was sent, by the sender's monotonic clock.
    pub fn sent(&self) -> Duration {
        Duration::from_secs(self.secs.into()) + Duration::from_micros(self.micros.into())
    }
}

/// What a receiver learns from the headers of one stream.
///
/// Loss is a guess from the sequence numbers: a gap counts as lost until late datagrams fill it. A duplicate is counted
/// as late and so cancels a real loss; peers count the same way, and both ends must agree. [`Seen`](crate::seen::Seen)
/// recognises duplicates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossCounter {
    highest: u64,
    lost: i64,
    out_of_order: u64,
    duplicates: u64,
    jitter: f64,
    /// Microseconds between the sender's clock and the arrival.
    transit: Option<u64>,
}

impl LossCounter {
    /// Takes the header of a datagram that arrived at this time of the receiver's monotonic clock.
    pub fn receive(&mut self, header: &DatagramHeader, arrival: Duration) {
        self.count(header.sequence);
        self.measure(header.sent(), arrival);
    }

    /// The datagram that was taken last had arrived before.
    pub fn repeated(&mut self) {
        self.duplicates += 1;
    }

    fn count(&mut self, sequence: u64) {
        if sequence > self.highest {
            let gap = sequence - 1 - self.highest;
            self.lost = self.lost.saturating_add_unsigned(gap);
            self.highest = sequence;
        } else {
            self.out_of_order += 1;
            self.lost = (self.lost - 1).max(0);
        }
    }

    /// RFC 3550, section 6.4.1. The clocks of the two ends need not agree: only changes of the transit time count.
    fn measure(&mut self, sent: Duration, arrival: Duration) {
        let micros = arrival.abs_diff(sent).as_micros();
        let transit = u64::try_from(micros).unwrap_or(u64::MAX);
        let change = transit.abs_diff(self.transit.unwrap_or(transit)) as f64 / 1e6;
        self.transit = Some(transit);
        self.jitter += (change - self.jitter) / 16.0;
    }

    /// The omitted period is over: jitter restarts. The other counters continue; the caller keeps their values up to
    /// now.
    pub fn restart_jitter(&mut self) {
        self.jitter = 0.0;
        self.transit = None;
    }

    /// The highest sequence number, which peers report as the number of datagrams.
    pub fn packets(&self) -> u64 {
        self.highest
    }

    /// Datagrams lost so far.
    pub fn lost(&self) -> i64 {
        self.lost
    }

    /// Datagrams that arrived late or twice.
    pub fn out_of_order(&self) -> u64 {
        self.out_of_order
    }

    /// Those of them that are known to have arrived before.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Smoothed jitter in seconds.
    pub fn jitter(&self) -> f64 {
        self.jitter
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "jitter starts at exactly 0")]
mod tests {
    use super::*;

    fn counted(sequence: &[u64]) -> (u64, i64, u64) {
        let mut counter = LossCounter::default();
        for &n in sequence {
            counter.receive(&DatagramHeader::new(Duration::ZERO, n), Duration::ZERO);
        }
        (counter.packets(), counter.lost(), counter.out_of_order())
    }

    #[test]
    fn loss_counter_agrees_with_real_receivers() {
        assert_eq!(counted(&[1, 2, 6, 7]), (7, 3, 0));
        assert_eq!(counted(&[1, 2, 5, 4, 3, 6]), (6, 0, 2));
        assert_eq!(counted(&[1, 2, 2, 3]), (3, 0, 1));
        assert_eq!(counted(&[3, 4]), (4, 2, 0));
        assert_eq!(counted(&[0, 1]), (1, 0, 1));
        assert_eq!(counted(&[1, 4, 4]), (4, 1, 1));
    }

    #[test]
    fn sequence_numbers_of_a_hostile_sender_do_no_harm() {
        let (packets, lost, _) = counted(&[u64::MAX, 0, u64::MAX, 1 << 63]);
        assert_eq!(packets, u64::MAX);
        assert_eq!(lost, i64::MAX - 3);
    }

    #[test]
    fn jitter_moves_by_a_sixteenth_of_the_change() {
        let ms = Duration::from_millis;
        let mut counter = LossCounter::default();
        let mut receive = |n, sent, arrival| {
            counter.receive(&DatagramHeader::new(ms(sent), n), ms(arrival));
            counter.jitter()
        };
        // The clocks differ by 5 s, which is not jitter.
        assert_eq!(receive(1, 1000, 6000), 0.0);
        let first = receive(2, 1010, 6026);
        assert!((first - 0.016 / 16.0).abs() < 1e-12, "{first}");
        let second = receive(3, 1020, 6036);
        assert!((second - (first - first / 16.0)).abs() < 1e-12, "{second}");
    }

    #[test]
    fn jitter_starts_again_after_the_omitted_period() {
        let ms = Duration::from_millis;
        let mut counter = LossCounter::default();
        counter.receive(&DatagramHeader::new(ms(0), 1), ms(0));
        counter.receive(&DatagramHeader::new(ms(0), 4), ms(160));
        assert!(counter.jitter() > 0.0);
        counter.restart_jitter();
        assert_eq!(counter.jitter(), 0.0);
        counter.receive(&DatagramHeader::new(ms(0), 5), ms(900));
        assert_eq!(counter.jitter(), 0.0);
        assert_eq!((counter.packets(), counter.lost()), (5, 2));
    }

    #[test]
    fn transit_is_absolute_when_the_senders_clock_is_ahead() {
        let mut counter = LossCounter::default();
        let header = DatagramHeader {
            secs: u32::MAX,
            micros: u32::MAX,
            sequence: 1,
        };
        counter.receive(&header, Duration::ZERO);
        assert_eq!(counter.jitter(), 0.0);
        counter.receive(&header, Duration::from_micros(16));
        assert!((counter.jitter() - 1e-6).abs() < 1e-9);
    }

    #[test]
    fn headers_are_big_endian() {
        let header = DatagramHeader {
            secs: 0x0eeb,
            micros: 0x0007_194c,
            sequence: 0x1_0000_0001,
        };
        let mut bytes = [0xaa; 20];
        assert!(header.encode(&mut bytes, false));
        assert_eq!(
            bytes[..13],
            [0, 0, 0x0e, 0xeb, 0, 7, 0x19, 0x4c, 0, 0, 0, 1, 0xaa]
        );
        let wrapped = DatagramHeader {
            sequence: 1,
            ..header
        };
        assert_eq!(DatagramHeader::decode(&bytes, false), Some(wrapped));

        assert!(header.encode(&mut bytes, true));
        assert_eq!(bytes[8..17], [0, 0, 0, 1, 0, 0, 0, 1, 0xaa]);
        assert_eq!(DatagramHeader::decode(&bytes, true), Some(header));
    }

    #[test]
    fn a_short_datagram_has_no_header() {
        let mut bytes = [0; 16];
        for (len, fits32, fits64) in [
            (0, false, false),
            (11, false, false),
            (12, true, false),
            (15, true, false),
            (16, true, true),
        ] {
            assert_eq!(
                DatagramHeader::decode(&bytes[..len], false).is_some(),
                fits32
            );
            assert_eq!(
                DatagramHeader::decode(&bytes[..len], true).is_some(),
                fits64
            );
            let header = DatagramHeader::new(Duration::from_secs(1), 1);
            assert_eq!(header.encode(&mut bytes[..len], false), fits32);
            assert_eq!(header.encode(&mut bytes[..len], true), fits64);
        }
    }

    #[test]
    fn the_magic_numbers_are_those_on_the_wire() {
        assert_eq!(HELLO, [0x39, 0x38, 0x37, 0x36]);
        assert_eq!(REPLY, [0x36, 0x37, 0x38, 0x39]);
        assert_eq!(LEGACY_HELLO, [0x15, 0xcd, 0x5b, 0x07]);
        assert_eq!(LEGACY_REPLY, [0xb1, 0x68, 0xde, 0x3a]);
        assert!(is_reply(b"6789") && is_reply(&LEGACY_REPLY));
        assert!(!is_reply(&HELLO) && !is_reply(b"678") && !is_reply(b"67890"));
    }

    #[test]
    fn a_hello_is_what_clients_send_and_nothing_else() {
        for hello in [HELLO, LEGACY_HELLO, *b"6789", [0x07, 0x5b, 0xcd, 0x15]] {
            assert!(is_plain_hello(&hello) && is_repeated_hello(&hello, 4));
        }
        for other in [&b""[..], b"987", b"98765", b"1234", &[0; 1460]] {
            assert!(!is_plain_hello(other) && !is_repeated_hello(other, other.len()));
        }
        let named = named_hello(&Cookie::from_random([7; 36]));
        assert!(named.starts_with(b"9876hhhh") && named.ends_with(b"h\0"));
        assert!(!is_plain_hello(&named));
        assert!(is_repeated_hello(&named[..16], named.len()));
        assert!(!is_repeated_hello(&named[..16], 1460));
    }

    #[test]
    fn only_a_reverse_client_skips_data_before_the_reply() {
        assert_eq!(ReplySearch::new(1460, false).offer(b"data"), Offered::Wrong);
        assert_eq!(ReplySearch::new(1460, false).offer(&REPLY), Offered::Reply);
        assert_eq!(
            ReplySearch::new(1460, false).offer(&[0; 1460]),
            Offered::Skipped
        );

        let mut search = ReplySearch::new(16, true);
        for _ in 0..8 {
            assert_eq!(search.offer(&[0; 16]), Offered::Skipped);
        }
        assert_eq!(search.clone().offer(&LEGACY_REPLY), Offered::Reply);
        assert_eq!(search.offer(&[0; 16]), Offered::Wrong);
    }

    #[test]
    fn a_skipped_datagram_counts_at_most_four_bytes() {
        let mut search = ReplySearch::new(16, true);
        assert!((0..35).all(|_| search.offer(&[0]) == Offered::Skipped));
        assert_eq!(search.offer(&[0]), Offered::Wrong);
    }

    #[test]
    fn empty_datagrams_do_not_prolong_the_search_for_ever() {
        let mut search = ReplySearch::new(16, true);
        assert!((0..36).any(|_| search.offer(&[]) == Offered::Wrong));
    }

    #[test]
    fn offload_buffers_hold_whole_datagrams() {
        assert_eq!(offload_buffer(1200), 64_800);
        assert_eq!(offload_buffer(65_507), 65_507);
        assert_eq!(offload_buffer(16), 2048);
        assert_eq!(offload_buffer(70_000), 0);
        assert_eq!(offload_buffer(0), 0);
    }
}

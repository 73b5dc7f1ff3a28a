//! The framing of JSON on the control connection: a 32-bit big-endian length, then exactly that many bytes.

use thiserror::Error;

use crate::ParseError;

/// The most bytes of parameters that a server takes, as iperf3 does.
pub const MAX_PARAMS: usize = 8192;
/// The most bytes of results without a server's output, of a test with as many streams as iperf3's. They take about
/// 40 KiB.
const MAX_RESULTS: usize = 1 << 20;
/// The most bytes of results that carry a server's output.
pub const MAX_RESULTS_WITH_OUTPUT: usize = 64 << 20;

/// The most bytes of results without a server's output that are plausible for a test with this number of streams.
pub fn longest_results(streams: u64) -> usize {
    const STREAM: u64 = 600;
    let more = streams.saturating_sub(256).saturating_mul(STREAM);
    usize::try_from(more).map_or(MAX_RESULTS_WITH_OUTPUT, |more| {
        MAX_RESULTS.saturating_add(more)
    })
}

/// The most bytes of results with a server's output that are plausible for a test with this number of streams that ran
/// for so many seconds, whatever was to end it: a server reports at most ten times a second.
pub fn plausible_results(streams: u64, seconds: u64) -> usize {
    const ROW: u64 = 600;
    // A server continues for a while if its client does not end the test.
    let rows = seconds
        .saturating_add(60)
        .saturating_mul(10)
        .saturating_mul(streams.saturating_add(2));
    let bytes = rows
        .saturating_mul(ROW)
        .saturating_add(longest_results(streams) as u64);
    usize::try_from(bytes).map_or(MAX_RESULTS_WITH_OUTPUT, |bytes| {
        bytes.min(MAX_RESULTS_WITH_OUTPUT)
    })
}

const PREFIX: usize = 4;

/// A length that no message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The length is 0.
    #[error("the message is empty")]
    Empty,
    /// The length is over the limit.
    #[error("a message of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// The announced length in bytes.
        length: u32,
        /// The limit in bytes.
        limit: usize,
    },
}

/// Puts the length before a text.
pub fn frame(text: &str) -> Vec<u8> {
    // No message of this program is near 4 GiB; the peer would refuse one that is, not misread it.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(PREFIX + text.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Collects one message from pieces of any size.
///
/// Memory grows with the bytes received, never with the announced length.
#[derive(Clone, Debug)]
pub struct FrameReader {
    limit: usize,
    /// Length and message, as far as received.
    bytes: Vec<u8>,
}

impl FrameReader {
    /// Waits for a message of 1 to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let bytes = Vec::new();
        Self { limit, bytes }
    }

    /// Takes bytes off the front of `input` until the message is complete; what follows stays there.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        self.take(PREFIX, input);
        let Some(&prefix) = self.bytes.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = self.check(u32::from_be_bytes(prefix))?;
        self.take(PREFIX + length, input);
        if self.bytes.len() < PREFIX + length {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.bytes);
        message.drain(..PREFIX);
        Ok(Some(message))
    }

    /// Reads on, and parses the message once it is complete.
    pub(crate) fn parse<T>(
        &mut self,
        input: &mut &[u8],
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<Option<T>, String> {
        let message = self.read(input).map_err(|e| e.to_string())?;
        let parsed = message.map(|message| parse(&message)).transpose();
        parsed.map_err(|e| e.to_string())
    }

    /// Whether nothing of the message has arrived yet.
    pub fn is_untouched(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes held at the moment.
    pub fn buffered(&self) -> usize {
        self.bytes.len()
    }

    fn check(&self, length: u32) -> Result<usize, FrameError> {
        let limit = self.limit;
        match usize::try_from(length) {
            Ok(0) => Err(FrameError::Empty),
            Ok(n) if n <= limit => Ok(n),
            _ => Err(FrameError::TooLong { length, limit }),
        }
    }

    /// Moves bytes from `input` until `goal` bytes are collected.
    fn take(&mut self, goal: usize, input: &mut &[u8]) {
        let missing = goal.saturating_sub(self.bytes.len());
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.bytes.extend_from_slice(taken);
        *input = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        reader: &mut FrameReader,
        bytes: &[u8],
    ) -> (Result<Option<Vec<u8>>, FrameError>, usize) {
        let mut rest = bytes;
        let read = reader.read(&mut rest);
        (read, rest.len())
    }

    #[test]
    fn the_length_is_first_and_big_endian() {
        assert_eq!(frame("{}"), b"\0\0\0\x02{}");
    }

    #[test]
    fn a_message_may_arrive_byte_by_byte() {
        let wire = frame("{\"tcp\":true}");
        let (last, rest) = wire.split_last().unwrap();
        let mut reader = FrameReader::new(100);
        for byte in rest {
            assert_eq!(read(&mut reader, &[*byte]), (Ok(None), 0));
        }
        assert_eq!(
            read(&mut reader, &[*last]),
            (Ok(Some(b"{\"tcp\":true}".to_vec())), 0)
        );
        assert!(reader.is_untouched());
    }

    #[test]
    fn what_follows_a_message_is_left() {
        let mut wire = frame("{}");
        wire.extend_from_slice(&[14, 16]);
        let mut reader = FrameReader::new(2);
        assert_eq!(read(&mut reader, &wire), (Ok(Some(b"{}".to_vec())), 2));
    }

    #[test]
    fn the_limit_itself_is_allowed_and_zero_is_not() {
        let mut reader = FrameReader::new(MAX_PARAMS);
        assert_eq!(read(&mut reader, &8192_u32.to_be_bytes()), (Ok(None), 0));
        let limit = MAX_PARAMS;
        for (length, error) in [
            (0, FrameError::Empty),
            (
                8193,
                FrameError::TooLong {
                    length: 8193,
                    limit,
                },
            ),
            (
                u32::MAX,
                FrameError::TooLong {
                    length: u32::MAX,
                    limit,
                },
            ),
        ] {
            let mut reader = FrameReader::new(MAX_PARAMS);
            assert_eq!(read(&mut reader, &length.to_be_bytes()).0, Err(error));
        }
    }

    #[test]
    fn results_are_as_long_as_their_test_can_make_them() {
        assert_eq!(plausible_results(1, 10), (1 << 20) + 70 * 10 * 3 * 600);
        assert!(plausible_results(1, 10) < 3 << 20);
        for (streams, seconds) in [(16, 86_400), (1, 1 << 30), (u64::MAX - 2, u64::MAX)] {
            assert_eq!(plausible_results(streams, seconds), MAX_RESULTS_WITH_OUTPUT);
        }
    }

    #[test]
    fn a_little_endian_length_is_over_the_limit() {
        let mut reader = FrameReader::new(MAX_PARAMS);
        let error = read(&mut reader, &144_u32.to_le_bytes()).0.unwrap_err();
        assert!(matches!(error, FrameError::TooLong { .. }));
    }

    #[test]
    fn an_announced_length_allocates_nothing() {
        let mut reader = FrameReader::new(MAX_RESULTS_WITH_OUTPUT);
        let _ = read(&mut reader, &(64_u32 << 20).to_be_bytes());
        let _ = read(&mut reader, &[b'{'; 1000]);
        assert_eq!(reader.buffered(), 1004);
        assert!(reader.bytes.capacity() <= 4096);
    }
}

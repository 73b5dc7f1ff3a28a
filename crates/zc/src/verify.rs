//! Checks in place that the received bytes are those that were sent.
//!
//! The receiver of a verified stream makes the same [`pattern`] as the sender's [`Source`](crate::source::Source) and
//! compares slices with it, as fast as memory can be compared.

use std::io;

use crate::source::{PERIOD, pattern};

/// The first wrong byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stream {stream} differs at byte {offset}: 0x{found:02x} instead of 0x{expected:02x}")]
pub struct Difference {
    /// The stream.
    pub stream: u32,
    /// Bytes of the stream before it; of a datagram, bytes of the datagram before it.
    pub offset: u64,
    /// What the pattern has there.
    pub expected: u8,
    /// What arrived.
    pub found: u8,
}

impl Difference {
    /// The mismatch inside a receiver's error, if there is one.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Difference> for io::Error {
    fn from(difference: Difference) -> Self {
        Self::new(io::ErrorKind::InvalidData, difference)
    }
}

/// Compares a stream with its pattern.
pub struct Verifier {
    stream: u32,
    pattern: Vec<u8>,
    offset: u64,
}

impl Verifier {
    /// Expects what [`Source::pattern`](crate::source::Source::pattern) of the same `stream` sends, from its beginning.
    pub fn new(stream: u32) -> Self {
        Self {
            stream,
            pattern: pattern(stream),
            offset: 0,
        }
    }

    /// Bytes checked so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Checks the next bytes of the stream.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), Difference> {
        self.check_at(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Checks bytes that begin at `offset` without advancing. This is for datagrams, each of which restarts the
    /// pattern.
    pub fn check_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Difference> {
        let mut position = usize::try_from(offset % PERIOD as u64).unwrap_or(0);
        let mut rest = bytes;
        while !rest.is_empty() {
            let expected = &self.pattern[position..];
            let (part, next) = rest.split_at(expected.len().min(rest.len()));
            if part != &expected[..part.len()] {
                let before = (bytes.len() - rest.len()) as u64;
                return Err(self.first(offset + before, part, expected));
            }
            position = 0;
            rest = next;
        }
        Ok(())
    }

    /// Finds the first difference between two slices that differ.
    #[cold]
    fn first(&self, offset: u64, found: &[u8], expected: &[u8]) -> Difference {
        let pairs = found.iter().zip(expected);
        let same = pairs.take_while(|(found, expected)| found == expected);
        let index = same.count();
        Difference {
            stream: self.stream,
            offset: offset + index as u64,
            expected: expected.get(index).copied().unwrap_or_default(),
            found: found.get(index).copied().unwrap_or_default(),
        }
    }
}

/// Checks bytes if verification is on.
pub(crate) fn check(verifier: &mut Option<Verifier>, bytes: &[u8]) -> io::Result<()> {
    if let Some(verifier) = verifier {
        verifier.check(bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_followed_across_periods() {
        let stream: Vec<u8> = pattern(3).repeat(3);
        let mut verifier = Verifier::new(3);
        for part in stream.chunks(99_999) {
            verifier.check(part).unwrap();
        }
        assert_eq!(verifier.offset(), 3 * PERIOD as u64);
        let mut at_once = Verifier::new(3);
        at_once.check(&stream).unwrap();
    }

    #[test]
    fn the_first_difference_is_found_where_it_is() {
        let mut stream: Vec<u8> = pattern(3).repeat(3);
        for offset in [0, 5, PERIOD - 1, PERIOD, 2 * PERIOD + 7] {
            let expected = stream[offset];
            stream[offset] ^= 0x40;
            let difference = Difference {
                stream: 3,
                offset: offset as u64,
                expected,
                found: expected ^ 0x40,
            };
            assert_eq!(Verifier::new(3).check(&stream), Err(difference));
            let mut parts = Verifier::new(3);
            let found = stream
                .chunks(10_000)
                .find_map(|part| parts.check(part).err());
            assert_eq!(found, Some(difference));
            stream[offset] = expected;
        }
    }

    #[test]
    fn a_lost_or_repeated_piece_and_another_stream_are_noticed() {
        let stream = pattern(3).repeat(2);
        for lost in [1, 8, 4096, 61_440, 131_072, 524_288] {
            assert!(Verifier::new(3).check(&stream[lost..]).is_err(), "{lost}");
        }
        assert!(Verifier::new(4).check(&stream[..8]).is_err());
    }

    #[test]
    fn a_datagram_is_checked_behind_its_header() {
        let datagram = &pattern(9)[16..1000];
        let verifier = Verifier::new(9);
        verifier.check_at(16, datagram).unwrap();
        let error = io::Error::from(verifier.check_at(15, datagram).unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(Difference::of(&error).unwrap().offset, 15);
        assert_eq!(Difference::of(&io::ErrorKind::InvalidData.into()), None);
        let text = error.to_string();
        assert!(
            text.starts_with("stream 9 differs at byte 15: 0x"),
            "{text}"
        );
    }
}

//! What block senders send: memory that never changes.
//!
//! Zero-copy senders pass pages to the kernel, which reads them later. This is safe if the pages never change, so all
//! senders send from such memory, and no sender has to keep a block until it has been sent. It is a memory file, sealed
//! against every change, and a mapping of it:
//!
//! ```text
//! memory    |<------------- period ------------->|<--- block --->|
//!           |0123456789                          |0123456789     |
//! offset    ^ stream offset mod period: one block from there on is contiguous
//! ```
//!
//! Without verification the period is the block, and every block is the same. With it the content is [`pattern`].

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::Moved;
use crate::sys::sealed::SealedMemory;

/// Bytes after which the pattern of a stream repeats: whole pages, so that aligned blocks stay aligned, and a prime
/// number of them, so that almost no length that a faulty mover could lose or repeat is a multiple of it.
pub const PERIOD: usize = 251 * 4096;

/// The bytes that a verified stream carries: at each offset the byte at `offset % PERIOD` of this. Every aligned eight
/// bytes are a number, least significant byte first, that depends on the stream and on their place.
pub fn pattern(stream: u32) -> Vec<u8> {
    let words = 0..(PERIOD / 8) as u64;
    let first = u64::from(stream) << 32;
    let mut bytes = Vec::with_capacity(PERIOD);
    // Word by word, not byte by byte: a debug build on an emulated processor takes seconds for that, while its peer waits.
    for word in words {
        bytes.extend_from_slice(&mix(first | word).to_le_bytes());
    }
    bytes
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The bytes of a stream's blocks. Clones share the memory: streams that send the same need it once, and it stays in the
/// processors' caches.
#[derive(Clone)]
pub struct Source {
    memory: Arc<SealedMemory>,
    period: usize,
    block: usize,
}

impl Source {
    /// Sends `payload`, which must not be empty, over and over; it is the block.
    pub fn repeat(payload: &[u8]) -> io::Result<Self> {
        Self::new(&[payload], payload.len(), payload.len())
    }

    /// Sends what a [`Verifier`](crate::verify::Verifier) of the same `stream` expects, in blocks of `block` bytes,
    /// which must not be 0.
    pub fn pattern(stream: u32, block: usize) -> io::Result<Self> {
        let pattern = pattern(stream);
        let rounds = block / PERIOD;
        let mut parts = vec![pattern.as_slice(); 1 + rounds];
        parts.push(&pattern[..block % PERIOD]);
        Self::new(&parts, PERIOD, block)
    }

    fn new(parts: &[&[u8]], period: usize, block: usize) -> io::Result<Self> {
        if block == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an empty block",
            ));
        }
        let memory = Arc::new(SealedMemory::new(parts)?);
        Ok(Self {
            memory,
            period,
            block,
        })
    }

    /// The same without its memory file, which only senders that pass pages by `sendfile(2)` need. Clones that were made
    /// before keep it.
    #[must_use]
    pub fn without_file(mut self) -> Self {
        if let Some(memory) = Arc::get_mut(&mut self.memory) {
            memory.close_file();
        }
        self
    }

    /// Bytes of a block.
    pub fn block(&self) -> usize {
        self.block
    }

    pub(crate) fn cursor(&self) -> Cursor {
        Cursor {
            period: self.period,
            position: 0,
            block: self.block,
            done: 0,
        }
    }

    /// The rest of the block at the cursor.
    pub(crate) fn rest(&self, cursor: &Cursor) -> &[u8] {
        self.memory.bytes(cursor.position, cursor.rest())
    }

    /// The `length` bytes from `position` on, as far as the memory goes.
    pub(crate) fn at(&self, position: usize, length: usize) -> &[u8] {
        self.memory.bytes(position, length)
    }

    /// The memory file, in which the same bytes are at the same offsets.
    pub(crate) fn file(&self) -> io::Result<BorrowedFd<'_>> {
        self.memory.file()
    }
}

/// A position in the stream that a source feeds.
///
/// A stream socket may take only part of a block (a signal arrived, or its buffer is smaller than the block), so the
/// cursor tracks how much of the current block has been sent; the block counts once its last byte has.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    period: usize,
    position: usize,
    block: usize,
    done: usize,
}

impl Cursor {
    /// Where in the source the next byte is.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Bytes of the current block that are still to be sent.
    pub(crate) fn rest(&self) -> usize {
        self.block - self.done
    }

    pub(crate) fn advance(&mut self, bytes: usize) -> Moved {
        self.position += bytes;
        if self.position >= self.period {
            self.position -= self.period;
            // Only blocks longer than the period get here, and short ones are spared a division.
            if self.position >= self.period {
                self.position %= self.period;
            }
        }
        self.done += bytes;
        if self.done < self.block {
            return Moved { bytes, blocks: 0 };
        }
        self.done = 0;
        Moved { bytes, blocks: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek};
    use std::os::unix::fs::FileExt;

    /// What a sender sends that takes `step` bytes at a time, and at most what the block still has.
    fn taken(source: &Source, step: usize, total: usize) -> Vec<u8> {
        let mut cursor = source.cursor();
        let mut bytes = Vec::new();
        while bytes.len() < total {
            let rest = source.rest(&cursor);
            let step = step.min(rest.len()).min(total - bytes.len());
            bytes.extend_from_slice(&rest[..step]);
            cursor.advance(step);
        }
        bytes
    }

    #[test]
    fn a_repeated_block_is_the_payload() {
        let source = Source::repeat(b"0123456789").unwrap();
        assert_eq!(taken(&source, 3, 25), b"0123456789012345678901234");
    }

    #[test]
    fn a_pattern_continues_across_blocks_of_any_length() {
        let pattern = pattern(7);
        let total = 2 * PERIOD + 12_345;
        let expected: Vec<u8> = pattern.iter().copied().cycle().take(total).collect();
        for block in [1000, 4096, 131_072, PERIOD, PERIOD + 1, 2 * PERIOD + 5] {
            let source = Source::pattern(7, block).unwrap();
            assert!(taken(&source, 77_777, total) == expected, "block {block}");
        }
    }

    #[test]
    fn patterns_differ_by_stream_and_place() {
        let (one, two) = (pattern(1), pattern(2));
        assert_ne!(one[..64], two[..64]);
        let words: std::collections::HashSet<_> = one.chunks_exact(8).collect();
        assert_eq!(words.len(), PERIOD / 8);
    }

    #[test]
    fn the_pattern_is_the_same_on_every_machine() {
        // SplitMix64's well-known first outputs for the seed 0 are mix(0) and mix of its increment.
        assert_eq!(pattern(0)[..8], 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    }

    #[test]
    fn aligned_blocks_stay_aligned() {
        let source = Source::pattern(1, 131_072).unwrap();
        let mut cursor = source.cursor();
        for _ in 0..100 {
            assert_eq!(cursor.position() % 4096, 0);
            cursor.advance(131_072);
        }
    }

    #[test]
    fn the_memory_cannot_be_changed() {
        let source = Source::repeat(&[1; 5000]).unwrap();
        let mut file = File::from(source.file().unwrap().try_clone_to_owned().unwrap());
        assert!(file.write_at(&[2], 0).is_err());
        assert!(file.set_len(0).is_err());
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [1; 5000]);
    }

    #[test]
    fn a_closed_file_leaves_the_bytes() {
        let source = Source::repeat(&[7; 5000]).unwrap().without_file();
        assert!(source.file().is_err());
        assert_eq!(source.rest(&source.cursor()), [7; 5000]);
        let shared = Source::repeat(&[7; 10]).unwrap();
        let clone = shared.clone();
        assert!(shared.without_file().file().is_ok(), "the clone needs it");
        assert!(clone.file().is_ok());
    }

    #[test]
    fn an_empty_block_is_refused() {
        assert!(Source::repeat(&[]).is_err());
        assert!(Source::pattern(1, 0).is_err());
    }
}

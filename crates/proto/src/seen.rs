//! Which of the last sequence numbers of a stream have arrived, to distinguish a duplicate from a datagram that is
//! merely late.
//!
//! ```text
//!   older: not known     │ the last 1023 words of 64 numbers, at least │ highest
//! ───────────────────────┼─────────────────────────────────────────────┤
//! ```
//!
//! A ring of bits, as receivers of IPsec use against replays (RFC 6479): a word is cleared when the highest number
//! enters it, so the memory is constant and no bit is ever shifted.

use std::fmt;

/// Words of 64 numbers. The ring has 8 KiB.
const WORDS: usize = 1024;

/// How far behind the highest number a repetition is recognised, at least. Anything older counts as late.
pub const SEEN_WINDOW: u64 = 1023 * 64;

/// The numbers of one stream that have arrived.
#[derive(Clone)]
pub struct Seen {
    words: Box<[u64; WORDS]>,
    highest: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            words: Box::new([0; WORDS]),
            highest: 0,
        }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen")
            .field("highest", &self.highest)
            .finish_non_exhaustive()
    }
}

impl Seen {
    /// Records a number; true if it is known to have arrived before.
    pub fn repeats(&mut self, sequence: u64) -> bool {
        let (word, top) = (sequence / 64, self.highest / 64);
        if word > top {
            for step in 1..=(word - top).min(WORDS as u64) {
                *self.word(top + step) = 0;
            }
        } else if top - word >= WORDS as u64 {
            return false;
        }
        self.highest = self.highest.max(sequence);
        let bit = 1 << (sequence % 64);
        let word = self.word(word);
        let seen = *word & bit != 0;
        *word |= bit;
        seen
    }

    fn word(&mut self, word: u64) -> &mut u64 {
        let index = usize::try_from(word % WORDS as u64).unwrap_or(0);
        &mut self.words[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(sequence: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut seen = Seen::default();
        let repeats = sequence.into_iter().filter(|&n| seen.repeats(n));
        repeats.collect()
    }

    #[test]
    fn a_number_repeats_only_if_it_has_arrived() {
        assert_eq!(repeated([1, 2, 5, 4, 3, 6]), [0; 0]);
        assert_eq!(repeated([1, 1, 2, 5, 3, 3, 5, 3, 4]), [1, 3, 5, 3]);
        assert_eq!(repeated([0, 0]), [0]);
        assert_eq!(
            repeated((1..200_000).chain([150_000, 199_999])),
            [150_000, 199_999]
        );
    }

    #[test]
    fn the_window_has_a_limit_and_nothing_beyond_it_is_a_repetition() {
        let top = 1_000_000;
        let inside = top - SEEN_WINDOW;
        assert_eq!(repeated([inside, top, inside]), [inside]);
        let outside = top - SEEN_WINDOW - 64;
        assert_eq!(repeated([outside, top, outside, outside]), [0; 0]);
    }

    #[test]
    fn old_bits_are_gone_when_the_ring_comes_round() {
        let ring = WORDS as u64 * 64;
        for jump in [ring, ring + 64, 5 * ring, 1 << 40] {
            assert_eq!(repeated([7, 64, 7 + jump, 64 + jump]), [0; 0], "{jump}");
        }
        // Late numbers in words that a jump passed have not arrived.
        assert_eq!(repeated([7, 7 + ring, ring - 1, 100, 100]), [100]);
    }

    #[test]
    fn hostile_numbers_do_no_harm() {
        let most = u64::MAX;
        assert_eq!(repeated([most, 0, most, 1 << 63, most - 1]), [most]);
    }

    /// Against a set of all numbers, with gaps, late and repeated ones.
    #[test]
    fn the_window_of_numbers_agrees_with_a_set() {
        let (mut seen, mut all) = (Seen::default(), std::collections::HashSet::new());
        let (mut state, mut highest) = (1_u64, 0_u64);
        for _ in 0..100_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let random = state >> 33;
            let number = match random % 4 {
                0 => (highest + 1).saturating_sub(random / 4 % 3000),
                1 => highest + 1 + random / 4 % 70,
                _ => highest + 1,
            };
            highest = highest.max(number);
            assert_eq!(seen.repeats(number), !all.insert(number), "{number}");
        }
    }
}

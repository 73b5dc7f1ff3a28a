//! What blocks are filled with.

use std::hash::{BuildHasher, RandomState};

use iperf_model::Payload;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

/// One block of `length` bytes.
pub(crate) fn block(payload: Payload, length: usize) -> Vec<u8> {
    match payload {
        Payload::Random => {
            let mut bytes = vec![0; length];
            // It only has to be incompressible, so the seed of hash tables is random enough.
            let seed = RandomState::new().hash_one(length);
            SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
            bytes
        }
        Payload::Repeating => (b'0'..=b'9').cycle().take(length).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_the_digits() {
        assert_eq!(block(Payload::Repeating, 12), b"012345678901");
    }

    #[test]
    fn random_blocks_differ() {
        assert_ne!(block(Payload::Random, 64), block(Payload::Random, 64));
    }
}

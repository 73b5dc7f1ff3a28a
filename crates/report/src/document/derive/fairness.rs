//! How evenly the streams of a direction share it.

/// Jain's fairness index of what streams moved, (Σx)² / (n·Σx²): 1 if all are alike, 1/n if one has everything (R. Jain, D. Chiu,
/// W. Hawe: A Quantitative Measure of Fairness and Discrimination for Resource Allocation in Shared Computer Systems, DEC-TR-301,
/// 1984). `None` below two streams, or if nothing was moved.
pub fn jain_index(shares: impl IntoIterator<Item = u64>) -> Option<f64> {
    let (mut count, mut sum, mut squares) = (0_u32, 0.0, 0.0);
    for share in shares {
        let share = share as f64;
        count += 1;
        sum += share;
        squares += share * share;
    }
    (count > 1 && squares > 0.0).then(|| sum * sum / (f64::from(count) * squares))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(shares: &[u64], expected: f64) {
        let index = jain_index(shares.iter().copied()).unwrap();
        assert!((index - expected).abs() < 1e-12, "{shares:?}: {index}");
    }

    #[test]
    fn equal_streams_have_1_and_a_stream_that_has_all_makes_it_1_over_n() {
        is(&[7, 7], 1.0);
        is(&[1 << 40; 128], 1.0);
        is(&[5, 0, 0, 0], 0.25);
        // Half of four streams have everything.
        is(&[3, 3, 0, 0], 0.5);
        // (1 + 2 + 3)² / (3 · (1 + 4 + 9))
        is(&[1, 2, 3], 36.0 / 42.0);
    }

    #[test]
    fn any_count_of_a_peer_gives_a_number() {
        is(&[u64::MAX; 1_000], 1.0);
        is(&[u64::MAX, 0], 0.5);
    }

    #[test]
    fn there_is_none_of_one_stream_or_of_nothing() {
        assert_eq!(jain_index([]), None);
        assert_eq!(jain_index([5]), None);
        assert_eq!(jain_index([0, 0, 0]), None);
    }
}

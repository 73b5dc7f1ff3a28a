//! How streams are numbered inside the results.

/// The id of the `index`-th stream of a test (from 0): 1, 3, 4, 5 and so on. 2 is never used.
///
/// Both ends count on their own, the client in the order in which it connects and the server in the order in which
/// it accepts; they agree because streams are opened one after another. A bidirectional test continues counting over
/// its second half.
pub fn stream_id(index: usize) -> u32 {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    match index {
        0 => 1,
        n => n.saturating_add(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_ids_skip_two() {
        let ids: Vec<u32> = (0..6).map(stream_id).collect();
        assert_eq!(ids, [1, 3, 4, 5, 6, 7]);
        assert_eq!(stream_id(255), 257);
        assert_eq!(stream_id(usize::MAX), u32::MAX);
    }
}

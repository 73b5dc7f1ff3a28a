//! How streams are numbered inside the results.

/// The id of the `index`-th stream of a test (from 0): 1, 3, 4, 5 and so on. 2 is never used.
///
/// Both ends count on their own, the client in the order in which it connects and the server in the order in which
/// it accepts; they agree because streams are opened one after another, or because each sends its [index](index_bytes).
/// A bidirectional test continues counting over its second half.
pub fn stream_id(index: usize) -> u32 {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    match index {
        0 => 1,
        n => n.saturating_add(2),
    }
}

/// Bytes of an index on the wire.
pub const INDEX_LEN: usize = 4;

/// What a numbered data connection sends behind the cookie: which of the test's streams it is, from 0, big-endian.
pub fn index_bytes(index: usize) -> [u8; INDEX_LEN] {
    u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes()
}

/// The index that a data connection sent.
pub fn index_from(bytes: [u8; INDEX_LEN]) -> usize {
    u32::from_be_bytes(bytes) as usize
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

    #[test]
    fn an_index_is_read_as_it_was_written() {
        assert_eq!(index_bytes(258), [0, 0, 1, 2]);
        for index in [0, 1, 9_999, u32::MAX as usize] {
            assert_eq!(index_from(index_bytes(index)), index);
        }
    }
}

//! The numbers by which output names the streams: those of iperf3, which parsers look for.
//!
//! iperf3 prints the descriptor of a stream's socket. Its descriptors follow a rule, since every program of that name
//! opens the same things in the same order; these are the ones of 3.12 and of most versions before 3.22:
//!
//! ```text
//! client              5  7  9 …   each stream has a socket and the file of its block
//!   with -F           5  8 11 …   and the file it reads or writes
//! server, byte stream 5  8 10 …   the first stream also opens /dev/urandom
//!   with -F           5  9 12 …
//! server, UDP         5  6  9 11 …   the next stream's socket is opened before the block of this one
//! ```

use crate::Transport;

/// The number of the `index`-th stream (from 0) of a test. `file`: this end has `-F`.
pub fn stream_number(is_client: bool, transport: Transport, file: bool, index: usize) -> i32 {
    let index = i32::try_from(index).unwrap_or(i32::MAX);
    let step = if file { 3 } else { 2 };
    let nth = |first: i32| index.saturating_mul(step).saturating_add(first);
    match (is_client, transport, index) {
        (false, Transport::Udp, 1) => 6,
        (_, _, 0) | (true, _, _) | (false, Transport::Udp, _) => nth(5),
        (false, _, _) => nth(6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What iperf3 3.12 prints in each mode, as `tests/tests/stream_numbers.rs` finds it.
    #[test]
    fn the_numbers_are_those_of_iperf3() {
        let cases = [
            (true, Transport::Tcp, false, [5, 7, 9, 11]),
            (true, Transport::Udp, false, [5, 7, 9, 11]),
            (true, Transport::Vsock, false, [5, 7, 9, 11]),
            (true, Transport::Tcp, true, [5, 8, 11, 14]),
            (false, Transport::Tcp, false, [5, 8, 10, 12]),
            (false, Transport::Vsock, false, [5, 8, 10, 12]),
            (false, Transport::Tcp, true, [5, 9, 12, 15]),
            (false, Transport::Udp, false, [5, 6, 9, 11]),
        ];
        for (is_client, transport, file, want) in cases {
            let number = |index| stream_number(is_client, transport, file, index);
            assert_eq!(
                [0, 1, 2, 3].map(number),
                want,
                "{is_client} {transport:?} {file}"
            );
        }
    }

    #[test]
    fn a_huge_index_does_not_wrap() {
        assert_eq!(
            stream_number(false, Transport::Tcp, true, usize::MAX),
            i32::MAX
        );
    }
}

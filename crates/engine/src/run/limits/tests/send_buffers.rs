//! Send buffers that limit a stream, and those that a receiver keeps full.

use super::*;

#[test]
fn a_send_buffer_that_is_under_way_as_a_whole_is_the_limit() {
    // A megabyte each second, at round trips of 40 ms.
    let with = |buffer| Evidence {
        send_buffer: Some(buffer),
        ..sender(
            TcpInfo {
                app_limited: true,
                ..info(9, 0, 0)
            },
            40_000,
        )
    };
    assert_eq!(causes(frame(), with(64 << 10)), [Cause::SendBuffer]);
    assert_eq!(causes(frame(), with(4 << 20)), [Cause::Application]);
}

#[test]
fn a_send_buffer_on_this_machine_stays_full_since_the_receiver_does_not_read() {
    let with = |nearby, bytes| Evidence {
        send_buffer: Some(128 << 10),
        nearby,
        bytes,
        ..sender(
            TcpInfo {
                min_rtt: Some(20),
                ..info(9, 1, 7)
            },
            3_000,
        )
    };
    // 8 Mbit/s, where the buffer takes 52 Gbit/s.
    let limits = find(&frame(), &[with(true, 10_000_000)]);
    assert_eq!(limits[0].cause, Cause::ReceiveWindow);
    assert!((limits[0].share - 0.8).abs() < 1e-9, "{limits:?}");
    assert_eq!(
        causes(frame(), with(true, 10_000_000)),
        [Cause::ReceiveWindow]
    );
    // 24 Gbit/s, for which the buffer may be too small. The kernel's settings are not in the way.
    assert_eq!(
        causes(frame(), with(true, 30_000_000_000)),
        [Cause::SendBuffer]
    );
    assert_eq!(
        causes(frame(), with(false, 10_000_000)),
        [Cause::SendBuffer]
    );
    let limits = find(&frame(), &[with(true, 30_000_000_000)]);
    assert!(limits[0].evidence.contains("--sndbuf"), "{limits:?}");
}

#[test]
fn what_a_receiver_on_this_machine_leaves_unread_is_no_queue_on_the_way() {
    // The kernel delays the acknowledgements of what is unread by 40 ms, and no clock runs but that of a busy sender.
    let with = |nearby, delivery_rate| Evidence {
        send_buffer: Some(128 << 10),
        nearby,
        ..sender(
            TcpInfo {
                min_rtt: Some(20),
                delivery_rate: Some(delivery_rate),
                ..info(9, 0, 0)
            },
            38_000,
        )
    };
    // A megabyte each second.
    assert_eq!(causes(frame(), with(true, 5 << 30)), [Cause::ReceiveWindow]);
    assert_eq!(causes(frame(), with(false, 5 << 30)), [Cause::Congestion]);
    assert_eq!(
        causes(frame(), with(true, 1 << 20)),
        [Cause::Congestion],
        "a queue on the loopback interface"
    );
}

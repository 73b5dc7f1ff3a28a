//! Each cause by its evidence, and not without it.

mod machine;
mod send_buffers;

use std::borrow::Borrow;

use super::*;
use crate::run::machine::{Carried, Link};

fn frame() -> Frame {
    Frame {
        transport: Transport::Tcp,
        rate: None,
        sized: false,
        seconds: 10.0,
        running: 10.0,
        machine: Conditions::default(),
    }
}

/// What a stream shows that shows nothing.
fn evidence(role: Role) -> Evidence {
    Evidence {
        role,
        bytes: 0,
        cpu: Duration::ZERO,
        waited: None,
        core: None,
        congestion: None,
        send_buffer: None,
        nearby: false,
        window_closed: None,
        tcp: None,
        datagrams: None,
    }
}

fn sender(last: TcpInfo, mean_rtt: u32) -> Evidence {
    let totals = TcpTotals {
        mean_rtt,
        ..TcpTotals::default()
    };
    let first = TcpInfo {
        busy_us: Some(0),
        rwnd_limited_us: Some(0),
        sndbuf_limited_us: Some(0),
        data_segs_out: Some(0),
        ..TcpInfo::default()
    };
    Evidence {
        bytes: 10_000_000,
        tcp: Some((first, last, totals)),
        ..evidence(Role::Sender)
    }
}

fn info(busy: u64, rwnd: u64, sndbuf: u64) -> TcpInfo {
    TcpInfo {
        busy_us: Some(busy * 1_000_000),
        rwnd_limited_us: Some(rwnd * 1_000_000),
        sndbuf_limited_us: Some(sndbuf * 1_000_000),
        data_segs_out: Some(10_000),
        min_rtt: Some(20_000),
        ..TcpInfo::default()
    }
}

fn causes(frame: impl Borrow<Frame>, stream: Evidence) -> Vec<Cause> {
    let found = find(frame.borrow(), &[stream]);
    found.into_iter().map(|limit| limit.cause).collect()
}

#[test]
fn the_kernels_clocks_show_what_held_the_sender_back() {
    let cause = |last| causes(frame(), sender(last, 21_000));
    assert_eq!(cause(info(10, 7, 0)), [Cause::ReceiveWindow]);
    assert_eq!(cause(info(10, 0, 4)), [Cause::SendBuffer]);
    assert_eq!(cause(info(10, 0, 0)), [], "nothing lost, nothing queued");
    let lossy = TcpInfo {
        total_retrans: 80,
        ..info(10, 0, 0)
    };
    assert_eq!(cause(lossy), [Cause::Congestion]);
    let queued = causes(frame(), sender(info(10, 0, 0), 180_000));
    assert_eq!(queued, [Cause::Congestion]);
}

#[test]
fn a_rate_that_is_kept_is_the_limit_and_no_other() {
    let at_rate = |rate| Frame {
        rate: Some(iperf_model::BitRate::new(rate)),
        ..frame()
    };
    let at = |rate| causes(at_rate(rate), sender(info(1, 0, 0), 21_000));
    assert_eq!(at(8_000_000), [Cause::Bitrate]);
    assert_eq!(at(16_000_000), []);
}

#[test]
fn threads_that_work_or_wait_for_a_processor_are_the_limit() {
    let thread = |cpu, waited| Evidence {
        cpu: Duration::from_secs(cpu),
        waited: Some(Duration::from_secs(waited)),
        ..evidence(Role::Receiver)
    };
    assert_eq!(causes(frame(), thread(10, 0)), [Cause::ReceiverCpu]);
    assert_eq!(causes(frame(), thread(3, 6)), [Cause::ReceiverCpu]);
    assert_eq!(causes(frame(), thread(3, 1)), []);
}

#[test]
fn datagrams_are_lost_on_the_way_or_in_the_socket() {
    let lost = |lost, dropped| Evidence {
        datagrams: Some((1000, lost, dropped)),
        ..evidence(Role::Receiver)
    };
    assert_eq!(causes(frame(), lost(50, 50)), [Cause::SocketBuffer]);
    assert_eq!(causes(frame(), lost(50, 0)), [Cause::Congestion]);
    assert_eq!(causes(frame(), lost(0, 0)), []);
}

#[test]
fn a_vsock_sender_that_does_not_work_waits_for_its_peer() {
    let vsock = Frame {
        transport: Transport::Vsock,
        ..frame()
    };
    let stream = Evidence {
        cpu: Duration::from_secs(2),
        ..evidence(Role::Sender)
    };
    assert_eq!(causes(vsock, stream), [Cause::Credit]);
}

#[test]
fn a_receiver_that_does_not_read_is_no_congestion() {
    // A stopped receiver acknowledges late, and the probes of its window count as retransmitted.
    let probed = TcpInfo {
        total_retrans: 30,
        ..info(10, 6, 0)
    };
    let slow = causes(frame(), sender(probed, 180_000));
    assert_eq!(slow, [Cause::ReceiveWindow]);
    let both = TcpInfo {
        total_retrans: 30,
        ..info(10, 3, 0)
    };
    let both = causes(frame(), sender(both, 180_000));
    assert_eq!(both, [Cause::ReceiveWindow, Cause::Congestion]);
}

#[test]
fn the_advice_for_a_window_fits_its_size_and_its_use() {
    // 8 Mbit/s are sent, with round trips of 20 ms.
    let advice = |largest: u32, last: u32, frame: Frame| {
        let last = TcpInfo {
            snd_wnd: Some(last),
            snd_mss: 1448,
            ..info(10, 7, 0)
        };
        let mut stream = sender(last, 20_000);
        if let Some((_, _, totals)) = &mut stream.tcp {
            totals.max_snd_wnd = largest.into();
        }
        find(&frame, &[stream]).remove(0).evidence
    };
    assert_eq!(
        advice(20_000, 20_000, frame()),
        "70 % of the time; it was up to 20000 bytes, for 8.0 Mbit/s at 20.00 ms: try the receiver's net.ipv4.tcp_rmem, \
         or -w up to its net.core.rmem_max"
    );
    let sized = Frame {
        sized: true,
        ..frame()
    };
    assert!(advice(65_536, 16_384, sized).ends_with("try a larger -w, or none"));
    let closed = "70 % of the time; it was closed at the end: the receiver reads slowly";
    assert_eq!(advice(400_000, 100, frame()), closed);
    assert!(advice(400_000, 90_000, frame()).ends_with("opened it late, or reads slowly"));
    let on_a_link = on(Conditions {
        link: Some(Carried {
            link: Link {
                name: "eth0".to_owned(),
                speed: Some(10_000),
                mtu: Some(1500),
            },
            seconds: 10.0,
            sent: crate::run::machine::Counters::default(),
            received: crate::run::machine::Counters::default(),
        }),
        ..Conditions::default()
    });
    let wanted = "; bandwidth × delay is 25.00 MB: try the receiver's net.ipv4.tcp_rmem, or -w 24M and net.core.rmem_max";
    let evidence = advice(20_000, 20_000, on_a_link);
    assert!(evidence.ends_with(wanted), "{evidence}");
    assert!(
        evidence.chars().count() <= 200,
        "what a peer reads of it: {evidence}"
    );
}

#[test]
fn what_was_sent_again_needlessly_was_not_lost() {
    let with = |again, needless| TcpInfo {
        total_retrans: again,
        dsack_dups: Some(needless),
        ..info(10, 0, 0)
    };
    let cause = |last| causes(frame(), sender(last, 21_000));
    assert_eq!(cause(with(80, 80)), []);
    assert_eq!(cause(with(80, 60)), [Cause::Congestion]);
}

#[test]
fn a_thread_that_lacks_a_processor_explains_what_nothing_else_does() {
    let with = |waited, mean_rtt| Evidence {
        cpu: Duration::from_secs(3),
        waited: Some(Duration::from_secs(waited)),
        ..sender(info(10, 0, 0), mean_rtt)
    };
    let cause = |stream| causes(frame(), stream);
    assert_eq!(cause(with(3, 21_000)), [Cause::SenderCpu]);
    assert_eq!(cause(with(1, 21_000)), []);
    assert_eq!(cause(with(3, 180_000)), [Cause::SenderCpu], "no queue");
    assert_eq!(cause(with(1, 180_000)), [Cause::Congestion]);
    let vsock = Frame {
        transport: Transport::Vsock,
        ..frame()
    };
    let waits = Evidence {
        tcp: None,
        ..with(3, 0)
    };
    let both = [Cause::SenderCpu, Cause::Credit];
    assert_eq!(causes(&vsock, waits.clone()), both);
    let waits = Evidence {
        cpu: Duration::from_millis(5500),
        ..waits
    };
    assert_eq!(causes(vsock, waits), [Cause::SenderCpu], "not for its peer");
}

#[test]
fn a_pacing_rate_that_is_kept_is_the_limit() {
    // 8 Mbit/s are sent.
    let paced = |rate: u64| TcpInfo {
        max_pacing_rate: Some(rate / 8),
        ..info(10, 0, 0)
    };
    let at = |rate| causes(frame(), sender(paced(rate), 21_000));
    assert_eq!(at(8_400_000), [Cause::PacingRate]);
    assert_eq!(at(16_000_000), []);
}

#[test]
fn a_connection_with_nothing_to_send_is_limited_by_the_application() {
    let with = |app_limited, seconds, mean_rtt| {
        let last = TcpInfo {
            app_limited,
            ..info(9, 0, 0)
        };
        Evidence {
            cpu: Duration::from_secs(seconds),
            ..sender(last, mean_rtt)
        }
    };
    let cause = |stream| causes(frame(), stream);
    assert_eq!(cause(with(true, 1, 21_000)), [Cause::Application]);
    assert_eq!(
        cause(with(true, 1, 180_000)),
        [Cause::Application],
        "late acknowledgements"
    );
    assert_eq!(cause(with(false, 1, 21_000)), []);
    assert_eq!(cause(with(true, 6, 21_000)), [], "its thread works");
    let paced = Frame {
        rate: Some(iperf_model::BitRate::new(1_000_000_000)),
        ..frame()
    };
    assert_eq!(
        causes(paced, with(true, 1, 21_000)),
        [],
        "a rate that was not kept"
    );
}

fn on(machine: Conditions) -> Frame {
    Frame { machine, ..frame() }
}

#[test]
fn what_holds_one_stream_of_eight_back_is_named() {
    let fast = || Evidence {
        bytes: 37_500_000,
        ..sender(info(3, 0, 0), 21_000)
    };
    let lossy = TcpInfo {
        total_retrans: 50,
        ..info(8, 0, 0)
    };
    let streams = |last: TcpInfo| -> Vec<Evidence> {
        let slow = Evidence {
            bytes: 10_000_000,
            ..sender(last, 30_000)
        };
        (0..7).map(|_| fast()).chain([slow]).collect()
    };
    let of = |rate: Option<u64>, last| {
        let frame = Frame {
            rate: rate.map(BitRate::new),
            ..frame()
        };
        let found = find(&frame, &streams(last));
        let found = found.into_iter();
        found
            .map(|limit| (limit.cause, limit.evidence))
            .collect::<Vec<_>>()
    };
    let [(cause, evidence)] = &of(None, lossy)[..] else {
        panic!("{:?}", of(None, lossy));
    };
    assert_eq!(*cause, Cause::Congestion);
    let start = "1 of 8 streams, at less than half of the mean rate: 0.50 % retransmitted";
    assert!(evidence.starts_with(start), "{evidence}");
    let of_a_window = of(None, info(9, 8, 0));
    assert_eq!(of_a_window[0].0, Cause::ReceiveWindow, "{of_a_window:?}");
    // The others keep to the rate of -b.
    let found = of(Some(30_000_000), lossy);
    let rate = (
        Cause::Bitrate,
        "7 of 8 streams kept to the requested rate".to_owned(),
    );
    assert_eq!(
        (found.len(), &found[0], found[1].0),
        (2, &rate, Cause::Congestion)
    );
}

/// A round trip and a clock that are long enough show in the mean of all.
#[test]
fn a_queue_that_few_streams_wait_in_is_not_that_of_all() {
    let evidence = |slow: usize| {
        let stream = |index| Evidence {
            bytes: if index < slow { 10_000_000 } else { 37_500_000 },
            ..if index < slow {
                sender(info(10, 0, 0), 300_000)
            } else {
                sender(info(3, 0, 0), 21_000)
            }
        };
        let found = find(&frame(), &(0..8).map(stream).collect::<Vec<_>>());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].cause, Cause::Congestion);
        found[0].evidence.clone()
    };
    for few in [1, 3] {
        let start = format!("{few} of 8 streams, at less than half of the mean rate: ");
        assert!(evidence(few).starts_with(&start), "{}", evidence(few));
    }
    for many in [4, 8] {
        assert!(evidence(many).starts_with("0.00 % retransmitted"));
    }
}

#[test]
fn an_sctp_senders_closed_window_and_lost_chunks_are_told_apart() {
    let of = |window_closed: f64, total_retrans, gaps| {
        let last = TcpInfo {
            total_retrans,
            gaps: Some(gaps),
            pmtu: 1500,
            ..TcpInfo::default()
        };
        let stream = Evidence {
            window_closed: Some(window_closed),
            tcp: Some((TcpInfo::default(), last, TcpTotals::default())),
            ..sender(last, 0)
        };
        let frame = Frame {
            transport: Transport::Sctp,
            ..frame()
        };
        causes(frame, stream)
    };
    assert_eq!(of(0.5, 100, 0), [Cause::ReceiveWindow]);
    assert_eq!(of(0.1, 100, 0), []);
    assert_eq!(of(0.0, 100, 100), [Cause::Congestion]);
    // What arrived waits behind a chunk that did not.
    assert_eq!(of(0.4, 100, 100), [Cause::Congestion]);
    // A receiver that does not read drops what finds no room.
    assert_eq!(of(0.6, 100, 100), [Cause::ReceiveWindow]);
    assert_eq!(of(0.0, 5, 5), []);
    // Acknowledgements were late for want of a processor.
    assert_eq!(of(0.0, 100, 0), []);
}

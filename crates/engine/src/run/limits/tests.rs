//! Each cause by its evidence, and not without it.

use std::borrow::Borrow;

use iperf_zc::proc_stat::{Processors, Times};

use super::*;
use crate::run::machine::{Carried, Link, Quota};

fn frame() -> Frame {
    Frame {
        transport: Transport::Tcp,
        rate: None,
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

fn receiver() -> Evidence {
    Evidence {
        bytes: 11_700_000_000,
        ..evidence(Role::Receiver)
    }
}

fn on(machine: Conditions) -> Frame {
    Frame { machine, ..frame() }
}

#[test]
fn a_quota_steal_time_and_packets_that_need_a_whole_core_are_named() {
    let quota = |share| {
        let quota = Some(Quota {
            share,
            throttled: 50,
            periods: 100,
        });
        on(Conditions {
            quota,
            ..Conditions::default()
        })
    };
    assert_eq!(causes(quota(0.62), receiver()), [Cause::Quota]);
    assert_eq!(causes(quota(0.01), receiver()), []);
    let processors = |stolen, interrupts| {
        let times = Times {
            all: 1000,
            idle: 0,
            interrupts,
            stolen,
        };
        let each = vec![(3, times)];
        let processors = Processors { all: times, each };
        on(Conditions {
            processors,
            ..Conditions::default()
        })
    };
    assert_eq!(causes(processors(120, 0), receiver()), [Cause::Steal]);
    assert_eq!(causes(processors(0, 900), receiver()), [Cause::ReceiverCpu]);
    assert_eq!(causes(processors(40, 500), receiver()), []);
    let busy = Evidence {
        cpu: Duration::from_secs(10),
        core: Some(3),
        ..receiver()
    };
    let found = find(&processors(0, 120), &[busy]);
    let core = "; core 3 was idle 0 % and handled packets 12 %";
    assert!(found[0].evidence.ends_with(core), "{found:?}");
}

#[test]
fn a_full_link_and_dropped_packets_are_named() {
    let link = |speed, bytes, dropped| {
        let counters = crate::run::machine::Counters {
            bytes,
            packets: 8_000_000,
            dropped,
        };
        let link = Some(Carried {
            link: Link {
                name: "eth0".to_owned(),
                speed,
                mtu: Some(1500),
            },
            seconds: 10.0,
            sent: crate::run::machine::Counters::default(),
            received: counters,
        });
        on(Conditions {
            link,
            ..Conditions::default()
        })
    };
    // 9.79 Gbit/s with headers; 9.844 are the most.
    let full = find(&link(Some(10_000), 12_240_000_000, 0), &[receiver()]);
    assert_eq!(full[0].cause, Cause::Link);
    let evidence = "9.36 Gbit/s of 10.00 Gbit/s of the receiver's eth0, which carried 9.79 Gbit/s: \
        the most at MTU 1500 is 9.84 Gbit/s";
    assert_eq!(full[0].evidence, evidence);
    let cause = |frame| causes(frame, receiver());
    assert_eq!(cause(link(Some(25_000), 12_240_000_000, 0)), []);
    assert_eq!(
        cause(link(None, 12_240_000_000, 0)),
        [],
        "no speed is known"
    );
    assert_eq!(
        cause(link(Some(1000), 12_240_000_000, 0)),
        [],
        "not its speed"
    );
    assert_eq!(
        cause(link(None, 0, 80_000)),
        [Cause::InterfaceDrops],
        "one in a hundred"
    );
}

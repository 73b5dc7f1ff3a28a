//! What an end's machine was short of, and what stands beside it.

use iperf_zc::proc_stat::{Processors, Times};

use super::*;
use crate::run::machine::{Carried, Counters, Link, Quota};

fn receiver() -> Evidence {
    Evidence {
        bytes: 11_700_000_000,
        ..evidence(Role::Receiver)
    }
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
    let both = [Cause::ReceiverCpu, Cause::Steal];
    assert_eq!(causes(processors(300, 650), receiver()), both);
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
fn time_that_others_take_does_not_hide_what_the_sender_waits_for() {
    let machine = |stolen, throttled| {
        let all = Times {
            all: 100,
            stolen,
            ..Times::default()
        };
        let quota = Some(Quota {
            share: throttled,
            throttled: 1,
            periods: 10,
        });
        let processors = Processors { all, each: vec![] };
        Conditions {
            processors,
            quota,
            ..Conditions::default()
        }
    };
    let left = TcpInfo {
        app_limited: true,
        ..info(1, 0, 0)
    };
    let tcp = |stolen, quota| causes(on(machine(stolen, quota)), sender(left, 21_000));
    assert_eq!(tcp(25, 0.0), [Cause::Steal, Cause::Application]);
    assert_eq!(tcp(0, 0.1), [Cause::Quota, Cause::Application]);
    assert_eq!(tcp(60, 0.0), [Cause::Steal], "it may have had no processor");
    assert_eq!(tcp(0, 0.6), [Cause::Quota], "nor here");
    let vsock = |stolen| {
        let frame = Frame {
            transport: Transport::Vsock,
            ..on(machine(stolen, 0.0))
        };
        causes(frame, evidence(Role::Sender))
    };
    assert_eq!(vsock(25), [Cause::Steal, Cause::Credit]);
    assert_eq!(vsock(90), [Cause::Steal]);
}

#[test]
fn a_full_link_and_dropped_packets_are_named() {
    let link = |speed, bytes, dropped| {
        let counters = Counters {
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
            sent: Counters::default(),
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
    let evidence = "9.36 Gbit/s of data, 9.79 Gbit/s with headers: the most for the receiver's eth0 is 9.84 Gbit/s, \
        at 10.00 Gbit/s and MTU 1500";
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

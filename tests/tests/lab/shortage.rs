//! Memory for the ring of `virtio_vsock_pages` is short, which its parameter `fail_one_in` brings about: a kernel has
//! enough in per-processor lists to make a real shortage a matter of chance.
//!
//! ```text
//! some allocations fail     shorter runs, and buffers that are missing for a while: every byte arrives, and is mapped
//! all of them fail          the ring runs empty and the stream stands still; it goes on when there is memory again
//! ```

use std::thread::sleep;
use std::time::Duration;

use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer, Problems};
use iperf_lab::{Backend, Kernel, Vm};

use super::encounter::Route;
use super::modes::to_guest;
use super::pages::{change_transport, check_log, counter, machine, mapped_shares};

const LEAST_MAPPED: f64 = 90.0;

fn fail_one_in(vm: &Vm, number: u32) {
    vm.must(&format!(
        "echo {number} > /sys/module/virtio_vsock_pages/parameters/fail_one_in"
    ));
}

fn some_fail(vm: &Vm, route: &Route<'_>) {
    for (port, one_in) in [(5700, 10), (5701, 3)] {
        let before = ["rx_short_runs", "rx_shortages"].map(|name| counter(vm, name));
        fail_one_in(vm, one_in);
        let (ends, client, _) = route
            .checked(Peer::Ours, Peer::Ours, port, "-Z --verify -n 8M -l 64K")
            .unwrap_or_else(|report| panic!("one in {one_in}\n{report}"));
        fail_one_in(vm, 0);
        let after = ["rx_short_runs", "rx_shortages"].map(|name| counter(vm, name));
        let mut f = Problems::new();
        f.holds("shorter runs", after[0] > before[0]);
        f.holds("shortages", after[1] > before[1]);
        for share in mapped_shares(&client) {
            f.between("mapped, percent", Some(share), LEAST_MAPPED, 100.0);
        }
        f.assert_none(format!("one in {one_in}: {before:?}, {after:?}\n{ends}"));
    }
}

fn all_fail_for_a_while(vm: &Vm, route: &Route<'_>) {
    let server = route.serve(Peer::Ours, 5702, "-1");
    wait_for(HANG, || {
        server.stdout_so_far().contains("listening").then_some(())
    })
    .expect("it listens");
    let before = counter(vm, "rx_shortages");
    fail_one_in(vm, 1);
    // More than the ring holds.
    let client = route.start_client(Peer::Ours, 5702, "-Z --verify -n 16M -l 64K -J");
    wait_for(HANG, || (counter(vm, "rx_buffers") == 0).then_some(())).expect("the ring runs empty");
    // What was in the ring is counted, and then nothing more.
    let counted = || {
        let packets = counter(vm, "rx_packets");
        sleep(Duration::from_millis(200));
        (counter(vm, "rx_packets") == packets).then_some(packets)
    };
    let packets = wait_for(HANG, counted).expect("the stream stands still");
    // The refill is tried every 100 ms.
    sleep(Duration::from_millis(500));
    assert_eq!(counter(vm, "rx_packets"), packets);
    wait_for(HANG, || {
        (counter(vm, "rx_shortages") > before).then_some(())
    })
    .expect("shortages are counted");
    fail_one_in(vm, 0);
    for end in [client.finish(HANG), server.finish(HANG)] {
        assert!(end.succeeded(), "{end}");
    }
    assert!(counter(vm, "rx_buffers") > 0);
}

fn goes_on_without_memory(kernel: Kernel) {
    let backend = Backend::start_unlimited(1);
    let vm = machine(kernel, &backend);
    change_transport(&vm, "split=1");
    vm.must("insmod /vsock_zerocopy.ko");
    let route = to_guest(&vm, backend.guest(0));
    some_fail(&vm, &route);
    all_fail_for_a_while(&vm, &route);
    let shortages = counter(&vm, "rx_shortages");
    route
        .checked(Peer::Ours, Peer::Ours, 5703, "-Z --verify -n 8M")
        .unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(counter(&vm, "rx_shortages"), shortages);
    check_log(&vm);
    vm.must("rmmod vsock_zerocopy virtio_vsock_pages");
}

#[test]
fn pages_go_on_without_memory_on_the_newest_kernel() {
    goes_on_without_memory(Kernel::New);
}

/// By hand.
#[test]
#[ignore = "takes its time, and differs little"]
fn pages_go_on_without_memory_on_the_long_term_kernel() {
    goes_on_without_memory(Kernel::Lts);
}

//! A guest that receives from its host by mapping: our transport `virtio_vsock_pages` in place of the stock one.
//!
//! ```text
//! stock transport loaded    ours is refused, and reports what to do
//! ours                      every way, every byte compared: at least 98 % of what the host sends is mapped
//! split=1                   a host that takes packets of one piece gets all that the guest sends
//! data that nothing reads   takes no more memory than the credit allows
//! ```

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use iperf_harness::json::{at, int, list, text};
use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer, Problems};
use iperf_lab::{Backend, DEAF, Guest, Kernel, Machine, Process, Vm, ZerocopyModule, programs};
use serde_json::Value;

use super::modes::{to_guest, to_host};

const LEAST_MAPPED: f64 = 98.0;
const COUNTERS: &str = "/sys/bus/virtio/drivers/virtio_vsock_pages/virtio*/pages";

/// What the host sends, and a guest maps.
const FROM_HOST: [&str; 7] = [
    "-Z --verify -n 16M -l 4K",
    "-Z --verify -n 16M -l 64K",
    "-Z --verify -n 16M -l 1M",
    "-Z --verify -n 32M -l 16M",
    "-Z --verify -n 16M -P 4",
    "-Z --verify -n 8M --bidir",
    "-Z --verify -t 1 -b 100M -l 64K",
];

/// A guest with the stock transport, and our modules as files.
pub(super) fn machine(kernel: Kernel, backend: &Backend) -> Vm {
    let built = ZerocopyModule::build(kernel);
    Machine::new(kernel)
        .vsock(backend.guest(0))
        .file("/vsock_zerocopy.ko", programs::read(&built.file))
        .file("/virtio_vsock_pages.ko", programs::read(&built.transport))
        .kernel_option("rcupdate.rcu_cpu_stall_suppress=1")
        .boot()
}

/// As the module's page has it: the stock driver is unloaded, then ours is loaded.
pub(super) fn change_transport(vm: &Vm, parameters: &str) {
    vm.must(&format!(
        "rmmod vmw_vsock_virtio_transport && insmod /virtio_vsock_pages.ko {parameters}"
    ));
}

pub(super) fn counter(vm: &Vm, name: &str) -> i64 {
    let text = vm.must(&format!("cat {COUNTERS}/{name}"));
    text.trim().parse().expect("a counter is a number")
}

pub(super) fn check_log(vm: &Vm) {
    let log = vm.must("dmesg");
    for complaint in ["WARNING:", "BUG: ", "Oops", "Call Trace", "Bad page"] {
        assert!(!log.contains(complaint), "{complaint} in:\n{log}");
    }
}

/// The share of the received bytes that the guest mapped, in percent, for each stream from the host.
pub(super) fn mapped_shares(client: &Value) -> Vec<f64> {
    let streams = list(client, "/end/streams").iter();
    let from_host = streams.filter(|stream| at(stream, "/sender/sender") == &Value::Bool(true));
    let share = |stream: &Value| {
        let report = at(stream, "/receiver/zerocopy");
        let bytes = |key: &str| int(report, &format!("/{key}")).unwrap_or(0) as f64;
        let (mapped, copied) = (bytes("bytes_not_copied"), bytes("bytes_copied"));
        assert_eq!(text(report, "/used"), Some("mmap"), "{report:#}");
        100.0 * mapped / (mapped + copied)
    };
    from_host.map(share).collect()
}

fn check_from_host(vm: &Vm, guest: &Guest) {
    let route = to_guest(vm, guest);
    for (port, args) in (5400..).zip(FROM_HOST) {
        let (ends, client, _) = route
            .checked(Peer::Ours, Peer::Ours, port, args)
            .unwrap_or_else(|report| panic!("{args}\n{report}"));
        let shares = mapped_shares(&client);
        let mut f = Problems::new();
        f.holds("streams from the host", !shares.is_empty());
        for share in &shares {
            f.between("mapped, percent", Some(*share), LEAST_MAPPED, 100.0);
        }
        f.assert_none(format!("{args}\n{ends}"));
    }
}

/// The guest's packets are cut, or this host would drop them.
fn check_to_host(vm: &Vm, guest: &Guest) {
    let rows = [
        (to_host(vm, guest), "--verify -n 8M -l 64K"),
        (to_host(vm, guest), "--verify -n 8M -l 1M"),
        (to_guest(vm, guest), "--verify -n 8M -l 1M -R"),
    ];
    for (port, (route, args)) in (5420..).zip(rows) {
        route
            .checked(Peer::Ours, Peer::Ours, port, args)
            .unwrap_or_else(|report| panic!("{args}\n{report}"));
    }
}

fn receives_into_pages(kernel: Kernel) {
    let backend = Backend::start_unlimited(1);
    let guest = backend.guest(0);
    let vm = machine(kernel, &backend);
    let early = vm.run("insmod /virtio_vsock_pages.ko");
    assert!(!early.succeeded(), "{early}");
    assert!(
        vm.must("dmesg")
            .contains("rmmod vmw_vsock_virtio_transport")
    );
    for wrong in [
        "order=5",
        "copybreak=127",
        "copybreak=4097",
        "ring_kib=255",
        "fail_one_in=1000001",
    ] {
        let end = vm.run(&format!("insmod /virtio_vsock_pages.ko {wrong}"));
        assert!(!end.succeeded(), "{wrong}: {end}");
        let name = wrong.split('=').next().expect("a name");
        assert!(vm.must("dmesg").contains(&format!("{name} is ")), "{wrong}");
    }

    let check = vm.must("iperf --zerocopy-check");
    let stock = "load virtio_vsock_pages instead of vmw_vsock_virtio_transport, and vsock_zerocopy";
    assert!(check.contains(stock), "{check}");

    change_transport(&vm, "split=1");
    let check = vm.must("iperf --zerocopy-check");
    assert!(check.contains("load the module vsock_zerocopy"), "{check}");
    vm.must("insmod /vsock_zerocopy.ko");
    let check = vm.must("iperf --zerocopy-check");
    assert!(
        check.contains("vsock from the host, receive    yes     mmap"),
        "{check}"
    );
    check_from_host(&vm, guest);
    check_to_host(&vm, guest);
    assert!(counter(&vm, "rx_paged_bytes") > 80 << 20);
    assert!(counter(&vm, "tx_splits") > 0);
    assert_eq!(counter(&vm, "rx_dropped"), 0);

    check_log(&vm);
    vm.must("rmmod virtio_vsock_pages");
    boots_with_the_recipe(&vm);
    // And the way back.
    vm.must("insmod /lab/modules/vmw_vsock_virtio_transport.ko");
    to_guest(&vm, guest)
        .checked(Peer::Ours, Peer::Ours, 5450, "-n 1M")
        .unwrap_or_else(|report| panic!("{report}"));
    vm.must("rmmod vsock_zerocopy");
}

/// The file for modprobe.d decides which transport comes when the device is found, as at boot.
fn boots_with_the_recipe(vm: &Vm) {
    vm.must(
        "mkdir -p /lib/modules/$(uname -r) /etc/modprobe.d && cp /lab/modules/*.ko /*.ko /lib/modules/$(uname -r) && depmod",
    );
    let recipe = include_str!("../../../crates/zc/kernel/virtio_vsock_pages/boot/modprobe.conf");
    for (recipe, loaded, other) in [
        (recipe, "virtio_vsock_pages", "vmw_vsock_virtio_transport"),
        ("", "vmw_vsock_virtio_transport", "virtio_vsock_pages"),
    ] {
        vm.write("/etc/modprobe.d/virtio-vsock-pages.conf", recipe.as_bytes());
        vm.must("modprobe -b $(cat /sys/bus/virtio/devices/*/modalias | grep d00000013)");
        let modules = vm.must("cut -d ' ' -f 1 /proc/modules");
        let is = |name: &str| modules.lines().any(|line| line == name);
        assert!(is(loaded) && !is(other), "{recipe}\n{modules}");
        vm.must(&format!("rmmod {loaded}"));
    }
}

#[test]
fn pages_receive_what_a_host_sends_on_the_newest_kernel() {
    receives_into_pages(Kernel::New);
}

#[test]
fn pages_receive_what_a_host_sends_on_the_long_term_kernel() {
    receives_into_pages(Kernel::Lts);
}

fn free_kib(vm: &Vm) -> i64 {
    // What the kernel frees late is not to count.
    vm.must("for i in 1 2 3; do echo 3 > /proc/sys/vm/drop_caches; sleep 1; done");
    let free = vm.must("awk '/^MemFree/ { print $2 }' /proc/meminfo");
    free.trim().parse().expect("a number of KiB")
}

/// Accepts connections in the guest, and reads nothing.
pub(super) fn deaf(vm: &Vm, port: u32) -> Process {
    let deaf = vm.start(&format!("exec {DEAF} {port}"));
    wait_for(HANG, || {
        deaf.stdout_so_far().contains("listening").then_some(())
    })
    .expect("it listens");
    deaf
}

/// Connects to the guest's port through its VMM.
fn connect(path: &std::path::Path, port: u32) -> UnixStream {
    let mut stream = UnixStream::connect(path).expect("the VMM listens");
    writeln!(stream, "CONNECT {port}").expect("the VMM reads");
    let mut answer = [0; 1];
    while stream.read(&mut answer).expect("the VMM answers") == 1 && answer != *b"\n" {}
    stream
        .set_write_timeout(Some(HANG))
        .expect("a limit for writes");
    stream
}

/// Writes single bytes, each in a packet of its own if the device is quick. A full socket waits for the device.
fn write_bytes(stream: &mut UnixStream, bytes: usize) {
    for written in 0..bytes {
        stream
            .write_all(b"x")
            .unwrap_or_else(|error| panic!("after {written} bytes: {error}"));
        std::thread::sleep(Duration::from_micros(20));
    }
}

#[test]
fn unread_pages_of_a_peer_are_bounded() {
    const BYTES: usize = 20_000;
    const PACKETS: i64 = 1000;
    let backend = Backend::start_unlimited(1);
    let vm = machine(Kernel::New, &backend);
    change_transport(&vm, "");
    let _deaf = deaf(&vm, 7000);
    let before = free_kib(&vm);
    let mut stream = connect(&backend.guest(0).path, 7000);
    // A device that others keep from working puts many bytes into one packet. The credit is 256 KiB.
    let mut packets = 0;
    for _ in 0..10 {
        write_bytes(&mut stream, BYTES);
        packets = counter(&vm, "rx_packets");
        if packets > PACKETS {
            break;
        }
    }
    let used = before - free_kib(&vm);
    assert!(packets > PACKETS, "{packets} packets");
    // In a page each they would take 78 MiB.
    assert!(used < 8 << 10, "{used} KiB more for {packets} packets");
    assert_eq!(counter(&vm, "rx_paged_packets"), 0);
    check_log(&vm);
}

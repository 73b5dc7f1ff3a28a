//! The kernel module keeps its contract. What is checked, and how, is written in `crates/zc/kernel`, in the folder of the
//! module's tests; here it is run on each kernel, over loopback and over `virtio_vsock_pages`, and its report is read.

use std::time::Duration;

use iperf_harness::process::Finished;
use iperf_lab::hairpin::HAIRPIN_CID;
use iperf_lab::{Hairpin, Kernel, Machine, Vm, ZerocopyModule, programs};

use super::pages::change_transport;

/// Emulated, beside other machines and whatever else keeps the processors busy.
const LIMIT: Duration = Duration::from_secs(800);

/// There are more; a program that skips most of its checks is not one that passes.
const FEWEST: usize = 220;

/// A machine with the module and its checks in it, and the module not loaded.
fn machine(kernel: Kernel) -> Machine {
    let module = ZerocopyModule::build(kernel);
    Machine::new(kernel)
        // Some mappings take a whole window of 4 MiB, and others are sent while they do.
        .memory(768)
        // Pages come as they were left, so that one that the module does not clear shows.
        .kernel_option("init_on_alloc=0")
        .load("vhost_vsock")
        .file("/vsock_zerocopy.ko", programs::read(&module.file))
        .file("/virtio_vsock_pages.ko", programs::read(&module.transport))
        .program(&module.contract, "/bin/contract")
}

/// Over loopback, or over the way that the arguments name.
fn check(vm: &Vm, way: &str) -> Finished {
    vm.run_within(&format!("contract /vsock_zerocopy.ko {way}"), LIMIT)
}

fn lines_with<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines()
        .filter(|line| line.starts_with(start))
        .collect()
}

fn keeps_its_contract(vm: &Vm, way: &str) {
    let end = check(vm, way);
    assert_eq!(lines_with(&end.stdout, "not ok "), [""; 0], "{end}");
    assert!(end.succeeded(), "{end}");
    let passed = lines_with(&end.stdout, "ok ").len();
    assert!(passed >= FEWEST, "{end}");
    assert_eq!(lines_with(&end.stdout, "1.."), [format!("1..{passed}")]);

    // The program has read the log too; this does not depend on its being right about it.
    let log = vm.must("dmesg");
    assert!(log.contains(": loading out-of-tree module"));
    for complaint in ["WARNING:", "BUG:", "Oops", "Call Trace", "Bad page"] {
        assert!(!log.contains(complaint), "{complaint} in:\n{log}");
    }
    assert!(
        !vm.must("cut -d ' ' -f 1 /proc/modules")
            .contains("vsock_zerocopy")
    );
}

/// The guest reaches itself through its device, and receives into pages.
fn keeps_its_contract_over_pages(kernel: Kernel) {
    let device = Hairpin::start();
    let vm = machine(kernel).hairpin(&device).boot();
    change_transport(&vm, "");
    let name = vm.must("cd /sys/bus/virtio/drivers/virtio_vsock_pages; echo virtio*");
    keeps_its_contract(&vm, &format!("{HAIRPIN_CID} {}", name.trim()));
    vm.must("rmmod virtio_vsock_pages");
}

#[test]
fn module_keeps_its_contract_on_the_newest_kernel() {
    keeps_its_contract(&machine(Kernel::New).boot(), "");
}

#[test]
fn module_keeps_its_contract_on_the_long_term_kernel() {
    keeps_its_contract(&machine(Kernel::Lts).boot(), "");
}

#[test]
fn module_keeps_its_contract_over_pages_on_the_newest_kernel() {
    keeps_its_contract_over_pages(Kernel::New);
}

/// By hand.
#[test]
#[ignore = "takes its time, and differs little"]
fn module_keeps_its_contract_over_pages_on_the_long_term_kernel() {
    keeps_its_contract_over_pages(Kernel::Lts);
}

#[test]
fn module_checks_fail_when_the_kernel_complains() {
    let vm = machine(Kernel::Lts).boot();
    vm.must("echo 'WARNING: as if the module had gone wrong' > /dev/kmsg");
    let end = check(&vm, "");
    assert_eq!(end.code(), Some(1), "{end}");
    let failed = lines_with(&end.stdout, "not ok ");
    assert!(
        failed.len() == 1 && failed[0].contains("has no complaint"),
        "{end}"
    );
}

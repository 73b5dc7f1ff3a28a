//! The kernel module keeps its contract. What is checked, and how, is written in `crates/zc/kernel/tests`; here it is
//! run on each kernel, and its report is read.

use std::time::Duration;

use iperf_harness::process::Finished;
use iperf_lab::{Kernel, Machine, Vm, ZerocopyModule, programs};

/// Emulated, beside other machines.
const LIMIT: Duration = Duration::from_secs(240);

/// There are more; a program that skips most of its checks is not one that passes.
const FEWEST: usize = 200;

/// A machine with the module and its checks in it, and the module not loaded.
fn machine(kernel: Kernel) -> Vm {
    let module = ZerocopyModule::build(kernel);
    Machine::new(kernel)
        // Some mappings take a whole window of 4 MiB, and others are sent while they do.
        .memory(768)
        // Pages come as they were left, so that one that the module does not clear shows.
        .kernel_option("init_on_alloc=0")
        .load("vhost_vsock")
        .file("/vsock_zerocopy.ko", programs::read(&module.file))
        .program(&module.contract, "/bin/contract")
        .boot()
}

fn check(vm: &Vm) -> Finished {
    vm.run_within("contract /vsock_zerocopy.ko", LIMIT)
}

fn lines_with<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines()
        .filter(|line| line.starts_with(start))
        .collect()
}

fn keeps_its_contract(kernel: Kernel) {
    let vm = machine(kernel);
    let end = check(&vm);
    assert!(end.succeeded(), "{end}");
    let passed = lines_with(&end.stdout, "ok ").len();
    assert_eq!(lines_with(&end.stdout, "not ok "), [""; 0], "{end}");
    assert!(passed >= FEWEST, "{end}");
    assert_eq!(lines_with(&end.stdout, "1.."), [format!("1..{passed}")]);

    // The program has read the log too; this does not depend on its being right about it.
    let log = vm.must("dmesg");
    assert!(log.contains("vsock_zerocopy: loading out-of-tree module"));
    for complaint in ["WARNING:", "BUG:", "Oops", "Call Trace", "Bad page"] {
        assert!(!log.contains(complaint), "{complaint} in:\n{log}");
    }
    assert!(!vm.must("lsmod").contains("vsock_zerocopy"));
}

#[test]
fn module_keeps_its_contract_on_the_newest_kernel() {
    keeps_its_contract(Kernel::New);
}

#[test]
fn module_keeps_its_contract_on_the_long_term_kernel() {
    keeps_its_contract(Kernel::Lts);
}

#[test]
fn module_checks_fail_when_the_kernel_complains() {
    let vm = machine(Kernel::Lts);
    vm.must("echo 'WARNING: as if the module had gone wrong' > /dev/kmsg");
    let end = check(&vm);
    assert_eq!(end.code(), Some(1), "{end}");
    let failed = lines_with(&end.stdout, "not ok ");
    assert!(
        failed.len() == 1 && failed[0].contains("has no complaint"),
        "{end}"
    );
}

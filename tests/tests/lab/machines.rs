//! The lab itself: what tests may rely on.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use iperf_harness::HANG;
use iperf_harness::process::wait_for;
use iperf_lab::{Kernel, Machine, TC};
use nix::sys::signal::Signal;

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn commands_run_side_by_side_and_their_output_and_ends_come_back() {
    let vm = Machine::new(Kernel::Lts)
        .file("/etc/note", "a file of the machine")
        .boot();
    assert_eq!(vm.must("uname -r").trim(), Kernel::Lts.release());
    assert_eq!(vm.must("cat /etc/note"), "a file of the machine");

    let end = vm.run("echo out; echo err >&2; exit 3");
    assert_eq!(
        (end.stdout.as_str(), end.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert!(end.code() == Some(3) && !end.timed_out, "{end}");

    let long =
        vm.start("trap 'echo caught; exit 7' TERM; echo ready; while :; do usleep 50000; done");
    wait_for(HANG, || (long.stdout_so_far() == "ready\n").then_some(()))
        .expect("the command gets ready");
    assert!(long.is_alive() && vm.run("true").succeeded());
    long.signal(Signal::SIGTERM);
    let end = long.finish(HANG);
    assert_eq!(
        (end.code(), end.stdout.as_str()),
        (Some(7), "ready\ncaught\n")
    );

    let end = vm.run_within("echo begun; sleep 60", SHORT);
    assert!(end.timed_out && !end.succeeded(), "{end}");
    assert_eq!(vm.run("kill -9 $$").status.signal(), Some(9));

    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    vm.write("/tmp/many bytes", &bytes);
    assert!(vm.read("/tmp/many bytes") == bytes);
    vm.write("/tmp/none", b"");
    assert!(vm.read("/tmp/none").is_empty());
}

#[test]
fn a_machine_has_its_kernel_modules_and_programs() {
    let vm = Machine::new(Kernel::New).load("sctp").netem().boot();
    assert_eq!(vm.must("uname -r").trim(), Kernel::New.release());
    let modules = vm.must("lsmod");
    for module in ["vsock_loopback", "sctp", "sch_netem"] {
        assert!(modules.contains(module), "{modules}");
    }
    for version in [
        "iperf --version",
        "iperf3-old --version",
        "iperf3-new --version",
        &format!("{TC} -V"),
    ] {
        let said = vm.must(version);
        assert!(said.contains('.'), "{version}: {said}");
    }
}

#[test]
#[should_panic(expected = "does not start")]
fn a_machine_whose_module_is_none_does_not_start() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let module = folder.path().join("nonsense.ko");
    std::fs::write(&module, "no module").expect("a file in it");
    Machine::new(Kernel::New).load_file(&module).boot();
}

#[test]
fn a_killed_machine_is_gone() {
    let vm = Machine::new(Kernel::Lts).bare().boot();
    let command = vm.start("sleep 60");
    vm.kill();
    wait_for(HANG, || (!command.is_alive()).then_some(())).expect("the command is gone too");
}

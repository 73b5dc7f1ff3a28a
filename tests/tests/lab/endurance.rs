//! One server in a guest, a hundred tests: nothing that a test used is left behind.

use std::time::Duration;

use iperf_harness::process::wait_for;
use iperf_lab::{Kernel, Machine};

/// A test takes about half a second where the guest is emulated, and many times that beside others.
const HUNDRED: Duration = Duration::from_secs(900);

const LOOP: &str = "
i=0
while [ $i -lt 100 ]; do
    case $((i % 4)) in
    0) mode= ;; 1) mode=-R ;; 2) mode='--bidir -P 2' ;; *) mode='-P 4' ;;
    esac
    iperf -c 1 -n 256K $mode >/tmp/client 2>&1 || { echo test $i failed; cat /tmp/client; exit 1; }
    i=$((i + 1))
done
echo $i";

#[test]
fn a_hundred_tests_leave_nothing_behind() {
    let vm = Machine::new(Kernel::New).boot();
    let server = vm.start("exec iperf -s --vsock -I /tmp/pid > /tmp/server 2>&1");
    wait_for(Duration::from_secs(30), || {
        vm.run("iperf -c 1 -n 64K").succeeded().then_some(())
    })
    .expect("the server serves");
    let held = || -> (usize, usize) {
        let count = |folder| {
            let listing = vm.must(&format!("ls /proc/$(tr -dc 0-9 < /tmp/pid)/{folder}"));
            listing.lines().count()
        };
        (count("fd"), count("task"))
    };
    let before = held();
    let end = vm.run_within(LOOP, HUNDRED);
    assert!(end.succeeded() && end.stdout == "100\n", "{end}");
    let settled = wait_for(Duration::from_secs(30), || {
        let (files, threads) = held();
        (files == before.0 && threads <= before.1).then_some(())
    });
    assert!(
        settled.is_some(),
        "files and threads: {before:?} before, {:?} after",
        held()
    );
    assert!(server.is_alive());
}

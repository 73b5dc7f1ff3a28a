//! A guest's vsock device is taken from its driver, `virtio_vsock_pages`, while a test uses it, and given back.
//!
//! The test ends with an error at the guest, and the next one works. In between, the rings are reset while the host
//! sends. vhost-device-vsock 0.3.0 now and then does not survive that: if something happens on the host while no ring is
//! ready, the thread that serves the rings ends, with the stock driver as with ours. Such a device is replaced, together
//! with the guest; only a device that still serves blames the driver.

use std::thread::sleep;
use std::time::Duration;

use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer};
use iperf_lab::{Backend, Kernel, Vm};
use nix::sys::signal::Signal;

use super::modes::to_guest;
use super::pages::{change_transport, check_log, machine};

const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_vsock_pages";

/// A guest that receives into pages, its device, and the device's name.
struct Pair {
    backend: Backend,
    vm: Vm,
    device: String,
}

impl Pair {
    fn start(kernel: Kernel) -> Self {
        let backend = Backend::start_unlimited(1);
        let vm = machine(kernel, &backend);
        change_transport(&vm, "split=1");
        vm.must("insmod /vsock_zerocopy.ko");
        let device = vm.must(&format!("cd {DRIVER}; echo virtio*"));
        let device = device.trim().to_owned();
        Self {
            backend,
            vm,
            device,
        }
    }

    /// Unbinds and binds in the middle of a test; an error if the next test fails.
    fn unbind(&self, round: u32) -> Result<(), String> {
        let Self { vm, device, .. } = self;
        let port = 5430 + round;
        let route = to_guest(vm, self.backend.guest(0));
        let server = route.serve(Peer::Ours, port, "-1");
        wait_for(HANG, || {
            server.stdout_so_far().contains("listening").then_some(())
        })
        .expect("the server listens");
        let client = wait_for(HANG, || {
            let mut client = route.start_client(Peer::Ours, port, "-t 60 --bidir");
            // A server that accepts a client that is gone serves no other.
            let met = wait_for(HANG, || {
                let met = server.stdout_so_far().contains("Accepted");
                (met || !client.is_alive()).then_some(met)
            });
            (met == Some(true)).then_some(client)
        })
        .expect("a test begins");
        // In another moment of it each time.
        sleep(Duration::from_millis(200 + 37 * u64::from(round % 10)));
        vm.must(&format!("echo {device} > {DRIVER}/unbind"));
        let lost = server.finish(HANG);
        assert!(
            !lost.timed_out,
            "the server goes on without its device: {lost}"
        );
        // A server that runs one test ends well even if the test does not.
        assert!(lost.stderr.contains("iperf: error - "), "{lost}");
        vm.must(&format!("echo {device} > {DRIVER}/bind"));
        client.signal(Signal::SIGTERM);
        client.finish(HANG);
        route
            .checked(Peer::Ours, Peer::Ours, port + 100, "-Z --verify -n 1M")
            .map(drop)
    }
}

/// Rounds in which the device survived.
fn unbound_in_the_middle(kernel: Kernel, rounds: u32) {
    let mut pair = Pair::start(kernel);
    let mut dead_devices = 0;
    let mut round = 0;
    while round < rounds {
        let result = pair.unbind(round);
        check_log(&pair.vm);
        match result {
            Ok(()) => round += 1,
            Err(report) if pair.backend.serves() => {
                panic!("round {round}, bound again:\n{report}")
            }
            Err(_) => {
                dead_devices += 1;
                assert!(dead_devices <= 2 + rounds / 10, "too many of them");
                pair = Pair::start(kernel);
            }
        }
    }
}

#[test]
fn pages_are_unbound_in_the_middle_on_the_newest_kernel() {
    unbound_in_the_middle(Kernel::New, 2);
}

#[test]
fn pages_are_unbound_in_the_middle_on_the_long_term_kernel() {
    unbound_in_the_middle(Kernel::Lts, 2);
}

/// By hand.
#[test]
#[ignore = "takes minutes"]
fn pages_are_unbound_fifty_times_on_the_newest_kernel() {
    unbound_in_the_middle(Kernel::New, 50);
}

/// By hand.
#[test]
#[ignore = "takes minutes"]
fn pages_are_unbound_fifty_times_on_the_long_term_kernel() {
    unbound_in_the_middle(Kernel::Lts, 50);
}

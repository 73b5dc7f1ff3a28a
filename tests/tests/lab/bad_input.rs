//! Errors with a real guest: no such guest, no listener, no module, and a guest that only connects.

use iperf_harness::process::wait_for;
use iperf_harness::{Finished, HANG, Peer};
use iperf_lab::{Backend, FLOOD, Kernel, Machine, Place};

use super::modes::to_host;

/// The client fails, and its one line of error contains this.
fn fails(place: Place<'_>, args: &str, messages: &[&str]) {
    let end: Finished = place.start(Peer::Ours, args).finish(HANG);
    assert_eq!(end.code(), Some(1), "{end}");
    for text in messages {
        assert!(end.stderr.contains(text), "{text:?} is not said:\n{end}");
    }
}

#[test]
fn errors_name_what_to_do() {
    let backend = Backend::start(1);
    let guest = backend.guest(0);
    let vm = Machine::new(Kernel::New).vsock(guest).boot();
    let there = Place::In(&vm);
    fails(there, "-c 1 -p 4711", &["nothing listens on port 4711"]);
    // vhost-device-vsock does not answer if nothing listens, nor if there is no such guest.
    let soon = "--vsock --connect-timeout 2000";
    fails(
        there,
        &format!("-c 2 -p 4711 {soon}"),
        &["no answer from the host", "port 4711"],
    );
    fails(there, &format!("-c 77 {soon}"), &["CID 77"]);
    fails(there, &format!("-c s78 {soon}"), &["CID 78"]);
    let path = guest.path.display();
    fails(
        Place::Here,
        &format!("-c {path} --vsock -p 4711"),
        &["nothing listens on port 4711 in the guest"],
    );
}

#[test]
fn the_missing_module_is_named() {
    let vm = Machine::new(Kernel::Lts).bare().load("vsock").boot();
    let there = Place::In(&vm);
    for line in ["-c 1", "--loopback --vsock", "-s -1 --vsock -B 1"] {
        fails(there, line, &["vsock_loopback"]);
    }
    fails(there, "-c 2", &["vmw_vsock_virtio_transport"]);
    let vm = Machine::new(Kernel::New).bare().boot();
    fails(Place::In(&vm), "-c 2", &["vmw_vsock_virtio_transport"]);
}

/// Connections that send nothing arrive all the time, from the guest to this machine and within the guest, and a good
/// test is served beside them.
#[test]
fn a_guest_that_floods_the_listener_blocks_no_other_client() {
    let backend = Backend::start(1);
    let guest = backend.guest(0);
    let vm = Machine::new(Kernel::New).vsock(guest).boot();
    let on_host = to_host(&vm, guest);
    let within =
        super::encounter::Route::new(Place::In(&vm), "1 --vsock", Place::In(&vm), "--vsock");
    for (route, cid) in [(on_host, 2), (within, 1)] {
        let mut server = route.serve(Peer::Ours, 5201, "");
        let first = route.ask(Peer::Ours, 5201, "-n 256K");
        assert!(first.succeeded(), "{first}");
        let flood = vm.start(&format!("exec {FLOOD} {cid} 5201 40"));
        wait_for(HANG, || {
            flood.stdout_so_far().contains("flooded").then_some(())
        })
        .expect("connections are made");
        let good = route.ask(Peer::Ours, 5201, "-n 256K -J");
        assert!(good.succeeded(), "while CID {cid} is flooded:\n{good}");
        assert!(flood.is_alive() && server.is_alive());
        drop(flood);
        let after = route.ask(Peer::Ours, 5201, "-n 256K");
        assert!(after.succeeded(), "{after}");
    }
}

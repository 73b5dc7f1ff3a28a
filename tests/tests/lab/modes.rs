//! Every mode over every way that vsock has: within a guest, from the host to a guest, from a guest to its host, and
//! between two guests.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use iperf_harness::json::{at, int, list, text};
use iperf_harness::{Peer, Problems, parallel};
use iperf_lab::{Backend, Guest, Kernel, Machine, Place, Vm};
use serde_json::Value;

use super::encounter::Route;

/// A guest has one processor, and a test waits for its second to pass. More than these keep each other from a handshake in time.
const WORKERS: usize = 2;

/// What is special about a case: looked at in the client's and the server's document.
type Also = fn(&mut Problems, &Value, &Value);

/// What a client is to do.
#[derive(Clone, Copy)]
struct Mode {
    args: &'static str,
    also: Option<Also>,
}

const fn mode(args: &'static str) -> Mode {
    Mode { args, also: None }
}

const fn also(args: &'static str, also: Also) -> Mode {
    let also = Some(also);
    Mode { args, also }
}

/// All modes of byte streams.
fn modes() -> Vec<Mode> {
    vec![
        mode("-t 1 -b 20M"),
        mode("-t 1"),
        mode("-t 1 -R"),
        mode("-t 1 -b 20M -R"),
        mode("-t 1 -b 10M --bidir"),
        mode("-t 1 --bidir"),
        mode("-t 1 -b 5M -P 4"),
        mode("-t 1 -P 4"),
        mode("-t 1 -b 5M -P 4 -R"),
        mode("-t 1 -b 5M -P 2 --bidir"),
        mode("-n 4M"),
        mode("-n 1000000 -R"),
        mode("-n 8M -P 4"),
        mode("-k 40"),
        mode("-k 40 -R -i 0"),
        mode("-t 1 -b 20M -O 1"),
        mode("-t 1 -b 10M -O 1 -R"),
        mode("-t 2 -b 10M -O 1 -i 0.5 --bidir"),
        mode("-t 1 -b 5M -l 1000"),
        mode("-t 1 -b 40M -l 1M"),
        mode("-t 1 -b 20M -i 0.5"),
        mode("-t 1 -b 20M -i 0"),
        mode("-t 1 -b 20M -w 128K"),
        mode("-t 1 -b 20M -w 1M -R"),
        mode("-t 1 -b 20M -A 0"),
        mode("-t 1 -b 20M/5"),
        mode("-t 1 -Z"),
        mode("-t 1 -Z -R"),
        also("-t 1 -b 20M --get-server-output", |f, client, server| {
            let inner = at(client, "/server_output_json");
            let key = "/end/sum_received/bytes";
            f.equal("inner bytes", int(inner, key), int(server, key));
            f.holds("inner intervals", !list(inner, "/intervals").is_empty());
        }),
        also(
            "-t 1 -b 20M -T title --extra-data more",
            |f, client, server| {
                for doc in [client, server] {
                    f.equal("extra_data", text(doc, "/extra_data"), Some("more"));
                }
                f.equal("title", text(client, "/title"), Some("title"));
            },
        ),
    ]
}

/// All modes of messages, which only AF_VSOCK carries.
fn messages() -> Vec<Mode> {
    let seqpacket: Also = |f, client, server| {
        for doc in [client, server] {
            let key = "/start/vsock/socket_type";
            f.equal(key, text(doc, key), Some("seqpacket"));
        }
    };
    [
        "--seqpacket -t 1",
        "--seqpacket -t 1 -R",
        "--seqpacket -t 1 -b 10M --bidir -P 2",
        "--seqpacket -n 4M",
        "--seqpacket -k 40 -l 1000 -R",
        "--seqpacket -t 1 -b 40M -l 1M",
        "--seqpacket -t 1 -b 20M -w 1M -O 1",
        "--seqpacket -t 1 -Z",
        "--seqpacket -t 1 --verify -l 5000",
    ]
    .map(|args| also(args, seqpacket))
    .to_vec()
}

/// What differs between kernels and ways, if anything does.
fn some_modes() -> Vec<Mode> {
    vec![
        mode("-t 1"),
        mode("-t 1 -R"),
        mode("-t 1 -b 10M --bidir -P 2"),
        mode("-t 1 -b 5M -P 4"),
        mode("-n 4M"),
        mode("-k 40 -R"),
        mode("-t 1 -b 20M -O 1"),
        mode("-t 1 -b 20M -w 128K"),
        mode("-t 1 -Z"),
    ]
}

/// Blocks that vhost-device-vsock passes on to a sibling: it hands a guest's packets on as they are, and drops those that
/// do not fit into one buffer of the other guest, which is a page with headers.
fn sibling_modes() -> Vec<Mode> {
    vec![
        mode("-t 1 -l 2K"),
        mode("-t 1 -l 2K -R"),
        mode("-t 1 -b 2M -l 2K --bidir"),
        mode("-t 1 -b 1M -l 2K -P 4"),
        mode("-n 500K -l 1K"),
        mode("-k 100 -l 2K -R"),
        mode("-t 1 -b 2M -l 2K -O 1"),
    ]
}

/// A mode on a way.
struct Case<'a> {
    name: &'a str,
    route: &'a Route<'a>,
    mode: Mode,
}

impl fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.mode.args)
    }
}

fn run(modes: Vec<Mode>, routes: &[(&str, Route<'_>)]) {
    static PORT: AtomicU32 = AtomicU32::new(70_000);
    // On one emulated processor, a sender at full speed starves the others.
    let greedy = |case: &Case<'_>| {
        let bounds = ["-b", "-n", "-k"];
        !case.mode.args.split(' ').any(|word| bounds.contains(&word))
    };
    let cases: Vec<Case<'_>> = modes
        .into_iter()
        .flat_map(|mode| {
            routes
                .iter()
                .map(move |(name, route)| Case { name, route, mode })
        })
        .collect();
    let (alone, together): (Vec<_>, Vec<_>) = cases.into_iter().partition(greedy);
    let check = |case: &Case<'_>| {
        // Ports have 32 bits here.
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        let (ends, client, server) =
            case.route
                .checked(Peer::Ours, Peer::Ours, port, case.mode.args)?;
        let mut f = Problems::new();
        if let Some(also) = case.mode.also {
            also(&mut f, &client, &server);
        }
        f.into_result(ends)
    };
    parallel::each(&alone, 1, check);
    parallel::each(&together, WORKERS, check);
}

fn loopback(vm: &Vm) -> Route<'_> {
    Route::new(Place::In(vm), "1 --vsock", Place::In(vm), "--vsock")
}

/// From this machine to a server in a guest.
pub(super) fn to_guest<'a>(vm: &'a Vm, guest: &Guest) -> Route<'a> {
    let to = format!("{} --vsock", guest.path.display());
    Route::new(Place::Here, &to, Place::In(vm), "--vsock").anonymous()
}

/// From a guest to a server on this machine.
pub(super) fn to_host<'a>(vm: &'a Vm, guest: &Guest) -> Route<'a> {
    let listen = format!("--vsock -B {}", guest.path.display());
    Route::new(Place::In(vm), "2 --vsock", Place::Here, &listen).from(guest)
}

fn loopback_in_all_modes(kernel: Kernel) {
    let vm = Machine::new(kernel).boot();
    let modes = [modes(), messages()].concat();
    run(modes, &[("loopback", loopback(&vm))]);
}

fn host_and_guest(kernel: Kernel, modes: Vec<Mode>) {
    let backend = Backend::start(1);
    let guest = backend.guest(0);
    let vm = Machine::new(kernel).vsock(guest).boot();
    run(
        modes,
        &[
            ("host to guest", to_guest(&vm, guest)),
            ("guest to host", to_host(&vm, guest)),
        ],
    );
}

#[test]
fn loopback_on_the_new_kernel() {
    loopback_in_all_modes(Kernel::New);
}

#[test]
fn loopback_on_the_lts_kernel() {
    loopback_in_all_modes(Kernel::Lts);
}

#[test]
fn host_and_guest_on_the_new_kernel() {
    host_and_guest(Kernel::New, modes());
}

#[test]
fn host_and_guest_on_the_lts_kernel() {
    host_and_guest(Kernel::Lts, some_modes());
}

#[test]
fn siblings() {
    let backend = Backend::start(2);
    let boot = |kernel, guest| Machine::new(kernel).vsock(backend.guest(guest)).boot();
    let (first, second) = (boot(Kernel::New, 0), boot(Kernel::Lts, 1));
    let to = format!("s{} --vsock", backend.guest(1).cid);
    let route = Route::new(Place::In(&first), &to, Place::In(&second), "--vsock");
    run(sibling_modes(), &[("sibling", route)]);
}

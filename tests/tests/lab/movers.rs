//! The movers of `iperf-zc` over vsock, with every byte looked at, on kernels with and without the module.
//!
//! This program runs once more inside the machine, where only the bodies run: they need vsock's loopback.

#![allow(
    clippy::print_stderr,
    reason = "what the guests measured is for those who look at the log"
)]
#![allow(
    clippy::unwrap_used,
    reason = "what can't go on fails, inside the machine as well"
)]

#[path = "../../../crates/zc/tests/common/mod.rs"]
mod common;

use std::env;
use std::os::fd::AsFd;
use std::time::Duration;

use common::{Done, Pair, Receiving, STREAM, Sending, transfer};
use iperf_lab::{Kernel, Machine, ZerocopyModule};
use iperf_zc::account::Fallback;
use iperf_zc::receive::map::{self, MapOptions};
use iperf_zc::verify::Verifier;
use nix::libc;
use socket2::{Domain, SockAddr, Socket, Type};

/// Set inside the machine.
const INSIDE: &str = "IPERF_INSIDE_A_MACHINE";

/// Emulated, beside other machines.
const LIMIT: Duration = Duration::from_secs(240);

fn inside(name: &str, kernel: Kernel, module: bool, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        body();
        return;
    }
    let program = env::current_exe().expect("this program has a path");
    let mut machine = Machine::new(kernel)
        .memory(1024)
        .program(&program, "/bin/movers");
    if module {
        machine = machine.load_file(&ZerocopyModule::build(kernel).file);
    }
    let vm = machine.boot();
    let command = format!("{INSIDE}=1 movers --exact movers::{name} --nocapture");
    let end = vm.run_within(&command, LIMIT);
    eprintln!("{end}");
    assert!(end.succeeded());
    // A name that no test has would succeed too.
    assert!(end.stdout.contains("1 passed"));
    let log = vm.must("dmesg");
    for complaint in ["WARNING:", "BUG:", "Oops", "Call Trace", "Bad page"] {
        assert!(!log.contains(complaint), "{complaint} in:\n{log}");
    }
}

fn vsock() -> Pair {
    let listener = Socket::new(Domain::VSOCK, Type::STREAM, None).unwrap();
    let any = SockAddr::vsock(libc::VMADDR_CID_ANY, libc::VMADDR_PORT_ANY);
    listener.bind(&any).unwrap();
    listener.listen(1).unwrap();
    let (_, port) = listener.local_addr().unwrap().as_vsock_address().unwrap();
    let client = Socket::new(Domain::VSOCK, Type::STREAM, None).unwrap();
    let here = SockAddr::vsock(libc::VMADDR_CID_LOCAL, port);
    client.connect(&here).unwrap();
    (client.into(), listener.accept().unwrap().0.into())
}

fn verified(sending: Sending, receiving: Receiving, block: usize, blocks: u64) -> (Done, Done) {
    let what = format!("{sending:?} to {receiving:?}, blocks of {block}");
    let (sent, received) = transfer(&what, vsock(), (sending, block, blocks), move |socket| {
        receiving.mover(socket, block, Some(Verifier::new(STREAM)))
    });
    eprintln!("{what}: {:?}, {:?}", sent.account, received.account);
    (sent, received)
}

/// All ways to send and to receive.
fn all_ways(receivers: &[Receiving]) {
    for (block, blocks) in [(131_072, 64), (100_001, 40), (1000, 400)] {
        for sending in Sending::ALL {
            for &receiving in receivers {
                let (sent, _) = verified(sending, receiving, block, blocks);
                if sending == Sending::Msg {
                    let cut = sent.account.copied_completions > 0;
                    assert_eq!(sent.fallback, cut.then_some(Fallback::Cut));
                    assert!(sent.account.completions >= blocks);
                    // One completion per call, or per piece of a call that was cut.
                    let (all, copied) = (sent.account.completions, sent.account.copied_completions);
                    let most = ((all - copied) * block as u64).min(sent.bytes);
                    let uncopied = sent.account.uncopied;
                    assert!(uncopied <= most, "{uncopied} of at most {most}");
                    assert!(copied > 0 || uncopied == sent.bytes, "{uncopied}");
                    assert!(copied == all || uncopied > 0);
                } else {
                    assert_eq!((sent.account.uncopied, sent.account.completions), (0, 0));
                }
            }
        }
    }
}

fn without_the_module() {
    all_ways(&Receiving::ALL);
    let (sent, received) = verified(Sending::Msg, Receiving::Map, 65_536, 64);
    assert!(sent.account.uncopied > 0, "{:?}", sent.account);
    let fallback = received.fallback.unwrap().to_string();
    assert_eq!(
        fallback,
        "this kernel does not map vsock data, and /dev/vsock-zerocopy: No such file or directory"
    );
    assert_eq!(received.account.uncopied, 0);
}

fn with_the_module() {
    all_ways(&[Receiving::Map]);
    // Whole pages of the kernel's own are mapped, all of them.
    for block in [32_768, 65_536, 131_072, 1 << 20] {
        let blocks = (16 << 20) / block as u64;
        let (_, received) = verified(Sending::Copy, Receiving::Map, block, blocks);
        assert_eq!(received.account.uncopied, received.bytes);
        assert_eq!(received.fallback, None);
    }
    // What is shorter than a page is copied, and what has an end in a page in part.
    let (_, received) = verified(Sending::Copy, Receiving::Map, 4096, 4096);
    assert_eq!(received.account.uncopied, 0);
    assert_eq!(received.fallback, Some(Fallback::Packets { percent: 0 }));
    let (_, received) = verified(Sending::Copy, Receiving::Map, 100_001, 100);
    let share = received.account.uncopied * 100 / received.bytes;
    assert!((50..100).contains(&share), "{share} %");
    // A mapping of few pages gives packets in parts.
    for window in [1, 5 * 4096, 1 << 16] {
        let options = MapOptions {
            window,
            ..MapOptions::new(131_072)
        };
        let what = format!("a window of {window}");
        let sending = (Sending::Copy, 131_072, 32);
        let (_, received) = transfer(&what, vsock(), sending, move |socket| {
            map::receiver(socket.as_fd(), &options, Some(Verifier::new(STREAM))).unwrap()
        });
        assert_eq!(received.account.uncopied, received.bytes, "{what}");
    }
}

#[test]
fn movers_on_the_newest_kernel() {
    inside(
        "movers_on_the_newest_kernel",
        Kernel::New,
        false,
        without_the_module,
    );
}

#[test]
fn movers_on_the_long_term_kernel() {
    inside(
        "movers_on_the_long_term_kernel",
        Kernel::Lts,
        false,
        without_the_module,
    );
}

#[test]
fn mapping_on_the_newest_kernel() {
    inside(
        "mapping_on_the_newest_kernel",
        Kernel::New,
        true,
        with_the_module,
    );
}

#[test]
fn mapping_on_the_long_term_kernel() {
    inside(
        "mapping_on_the_long_term_kernel",
        Kernel::Lts,
        true,
        with_the_module,
    );
}

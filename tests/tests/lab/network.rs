//! What this machine's kernel may not have: SCTP, and a network that loses datagrams.

use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use iperf_harness::json::{self, float, int, text};
use iperf_harness::{Case, Peer, parallel, paths};
use iperf_lab::{Kernel, Machine, Place, TC, Vm};

use super::encounter::Route;

fn over_ip(vm: &Vm) -> Route<'_> {
    Route::new(Place::In(vm), "127.0.0.1", Place::In(vm), "")
}

const SCTP: [&str; 5] = [
    "--sctp -t 1 -b 10M",
    "--sctp -t 1 -b 10M -R",
    "--sctp -t 1 -b 5M -P 2",
    "--sctp -t 1 -b 5M -P 2 --bidir",
    "--sctp -n 1M",
];

fn sctp(kernel: Kernel) {
    static PORT: AtomicU32 = AtomicU32::new(6000);
    let vm = Machine::new(kernel).load("sctp").boot();
    let route = over_ip(&vm);
    let cases: Vec<_> = [
        (Peer::Ours, Peer::Ours),
        (Peer::Ours, Peer::New),
        (Peer::New, Peer::Ours),
    ]
    .into_iter()
    .flat_map(|(client, server)| SCTP.map(|args| Case::new(client, server, args, ())))
    .collect();
    parallel::each(&cases, 2, |case| {
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        route
            .checked(case.client, case.server, port, &case.args)
            .map(|_| ())
    });
}

#[test]
fn sctp_on_the_new_kernel() {
    sctp(Kernel::New);
}

#[test]
fn sctp_on_the_lts_kernel() {
    sctp(Kernel::Lts);
}

/// The unit tests that this machine's kernel may not be able to run.
#[test]
fn unit_tests_of_sctp_pass_on_a_kernel_that_has_it() {
    let programs = ["iperf_engine", "iperf_server"].map(unit_tests);
    let vm = Machine::new(Kernel::New)
        .load("sctp")
        .program(&programs[0], "/bin/engine")
        .program(&programs[1], "/bin/server")
        .boot();
    for program in ["engine", "server"] {
        let said = vm.must(&format!("{program} --ignored sctp 2>&1"));
        assert!(said.contains("ok. 1 passed; 0 failed"), "{said}");
    }
}

/// The program with a crate's unit tests, built with the same features as this test.
fn unit_tests(crate_name: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--no-run", "--workspace", "--lib"])
        .arg("--message-format=json")
        .arg("--target-dir")
        .arg(paths::target())
        .current_dir(paths::workspace())
        .output()
        .expect("cargo starts");
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages.lines().find_map(|line| {
        let message = json::parse(line).ok()?;
        let is_it = text(&message, "/target/name") == Some(crate_name);
        let path = text(&message, "/executable")?;
        is_it.then(|| PathBuf::from(path))
    });
    executable.unwrap_or_else(|| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        panic!("the unit tests of {crate_name} do not build:\n{stderr}")
    })
}

/// A hundredth of the datagrams is lost by the kernel: what is reported lies within five standard deviations of the
/// binomial distribution, and not above what the kernel reports as dropped. The receiver's socket has room for 3 s, so that
/// it drops none itself, and each datagram is a packet, to be lost alone.
#[test]
fn lost_datagrams_are_counted() {
    const LOSS: f64 = 0.01;
    let vm = Machine::new(Kernel::Lts).netem().boot();
    for direction in ["r", "w"] {
        vm.must(&format!(
            "echo 16777216 > /proc/sys/net/core/{direction}mem_max"
        ));
    }
    let route = over_ip(&vm);
    let run = |port, mode: &str| {
        let args = format!("-u -b 8M -l 1000 -t 5 -w 4M {mode}");
        let (ends, client, _) = route
            .checked(Peer::Ours, Peer::Ours, port, &args)
            .unwrap_or_else(|e| panic!("{e}"));
        let sum = "/end/sum_received";
        let packets = int(&client, &format!("{sum}/packets")).unwrap_or(0);
        let lost = int(&client, &format!("{sum}/lost_packets")).unwrap_or(-1);
        let percent = float(&client, &format!("{sum}/lost_percent")).unwrap_or(-1.0);
        assert!(packets > 1000, "{packets} datagrams:\n{ends}");
        assert!(
            (percent - 100.0 * lost as f64 / packets as f64).abs() < 1e-6,
            "{lost} of {packets} are not {percent} %"
        );
        (packets as f64, lost as f64)
    };
    let (_, lost) = run(7000, "");
    assert!(lost < 1.0, "{lost} are lost before anything loses them");

    vm.must(&format!(
        "{TC} qdisc add dev lo root netem loss 1% limit 100000"
    ));
    for (port, mode) in [(7001, ""), (7002, "-R")] {
        let dropped = || -> f64 {
            let said = vm.must(&format!("{TC} -s qdisc show dev lo"));
            let count = said
                .split("dropped ")
                .nth(1)
                .and_then(|rest| rest.split(',').next());
            count
                .and_then(|number| number.parse().ok())
                .unwrap_or_else(|| panic!("no count of what was dropped: {said}"))
        };
        let before = dropped();
        let (packets, lost) = run(port, mode);
        let dropped = dropped() - before;
        let deviation = (packets * LOSS * (1.0 - LOSS)).sqrt();
        assert!(
            (lost - packets * LOSS).abs() <= 5.0 * deviation,
            "{mode}: {lost} of {packets} are lost, of which {} were to be",
            packets * LOSS
        );
        assert!(lost <= dropped, "{mode}: {lost} lost, {dropped} dropped");
    }
}

/// What limits a test over a network that delays and loses packets, and one with a short send buffer.
#[test]
fn a_network_that_delays_and_loses_is_congestion_and_a_short_send_buffer_is_named() {
    let vm = Machine::new(Kernel::Lts).netem().boot();
    let route = over_ip(&vm);
    let causes = |port| {
        let ends = route.meet(port, "-J -t 3", "");
        let document = json::parse(&ends.client.stdout).unwrap_or_else(|e| panic!("{e}: {ends}"));
        let limits = json::list(&document, "/end/limits").iter();
        let causes = limits.filter_map(|limit| text(limit, "/cause").map(str::to_owned));
        (causes.collect::<Vec<_>>(), ends)
    };
    // What the kernel remembers of a path is no part of the next test.
    vm.must("echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save");
    vm.must(&format!(
        "{TC} qdisc add dev lo root netem delay 10ms loss 1%"
    ));
    // An emulated processor that others keep from working limits a test as well: one of three is enough.
    let is_named = |mut ports: Range<u32>, cause: &str| {
        ports.any(|port| {
            let (found, ends) = causes(port);
            let is_named = found.iter().any(|name| name == cause);
            if !is_named {
                eprintln!("{found:?}: {ends}");
            }
            is_named
        })
    };
    assert!(
        is_named(7010..7013, "congestion"),
        "no run of three is limited by congestion"
    );
    vm.must(&format!(
        "{TC} qdisc change dev lo root netem delay 20ms loss 0%"
    ));
    vm.must("echo 4096 16384 16384 > /proc/sys/net/ipv4/tcp_wmem");
    assert!(
        is_named(7013..7016, "send buffer"),
        "no run of three is limited by its send buffer"
    );
}

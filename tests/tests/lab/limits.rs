//! What limits a test where it takes a network card that reports its speed, or a path that is long.

use std::ops::Range;

use iperf_harness::json::{self, float, list, text};
use iperf_lab::{Kernel, Machine, Place, TC, Vm};
use serde_json::Value;

use super::encounter::Route;

/// The evidence for a cause, if it is named.
fn evidence<'a>(document: &'a Value, cause: &str) -> Option<&'a str> {
    let mut limits = list(document, "/end/limits").iter();
    let limit = limits.find(|limit| text(limit, "/cause") == Some(cause))?;
    text(limit, "/evidence")
}

/// The bytes of a receive window that is named as too small.
fn window(evidence: &str) -> u64 {
    let bytes = evidence
        .split(" it was up to ")
        .nth(1)
        .and_then(|text| text.split(' ').next()?.parse().ok());
    bytes.unwrap_or_else(|| panic!("no window in {evidence:?}"))
}

/// The cable ends in a namespace of its own, and carries 1 Mbit/s with what an Ethernet adds to each packet.
fn join_by_a_cable(vm: &Vm) -> String {
    let script = format!(
        "unshare --net sleep 1000 >/dev/null 2>&1 & other=$!
        until [ \"$(readlink /proc/$other/ns/net)\" != \"$(readlink /proc/$$/ns/net)\" ]; do sleep 0.1; done
        set -e
        ip link set eth1 netns $other
        ip addr add 10.8.0.1/24 dev eth0
        ip link set eth0 up
        {TC} qdisc add dev eth0 root tbf rate 1mbit burst 24k limit 60k overhead 24
        nsenter --net=/proc/$other/ns/net ip addr add 10.8.0.2/24 dev eth1
        nsenter --net=/proc/$other/ns/net ip link set eth1 up
        echo $other"
    );
    vm.must(&script).trim().to_owned()
}

#[test]
fn a_full_link_and_a_vsock_peer_that_takes_no_more_are_named() {
    let vm = Machine::new(Kernel::Lts)
        .netem()
        .load("sch_tbf")
        .cable(1)
        .boot();
    let other = join_by_a_cable(&vm);
    // A machine that is not emulated for a while sends nothing meanwhile: one of three is enough.
    let mut found = (0..3).map(|_| {
        let end = vm.run(&format!(
            "nsenter --net=/proc/{other}/ns/net iperf -s -1 -p 5301 --forceflush >/tmp/server 2>&1 &
            until grep -q listening /tmp/server; do sleep 0.1; done
            iperf -c 10.8.0.2 -p 5301 -t 8 -J"
        ));
        let document = json::parse(&end.stdout).unwrap_or_else(|error| panic!("{error}: {end}"));
        let found = evidence(&document, "link").unwrap_or_default().to_owned();
        eprintln!("{found:?}, {:?}", json::at(&document, "/end/limits"));
        found
    });
    let is_named = |found: String| {
        found.contains(" of data, ")
            && found.contains(" with headers: the most for the ")
            && found.ends_with(" is 984 kbit/s, at 1.0 Mbit/s and MTU 1500")
    };
    assert!(
        found.any(is_named),
        "no run of three is limited by its link"
    );
    let end = vm.run(
        "iperf -s --vsock -1 -p 5302 --forceflush >/tmp/vsock 2>&1 & server=$!
        until grep -q listening /tmp/vsock; do sleep 0.1; done
        (until grep -q connected /tmp/vsock; do sleep 0.1; done
        sleep 1; kill -STOP $server; sleep 3; kill -CONT $server) >/dev/null 2>&1 &
        iperf -c 1 --vsock -p 5302 -t 5 -J",
    );
    let document = json::parse(&end.stdout).unwrap_or_else(|error| panic!("{error}: {end}"));
    let found = evidence(&document, "vsock credit").unwrap_or_default();
    assert!(
        found.starts_with("the sender waited for its peer "),
        "{end}"
    );
}

/// With round trips of 40 ms, a small window is the limit, and is not when it has become what the advice names.
#[test]
fn what_is_advised_lifts_a_small_window() {
    let vm = Machine::new(Kernel::Lts).netem().boot();
    let route = Route::new(Place::In(&vm), "127.0.0.1", Place::In(&vm), "");
    vm.must("echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save");
    vm.must(&format!("{TC} qdisc add dev lo root netem delay 20ms"));
    let run = |port, args: &str| {
        let ends = route.meet(port, &format!("-J -t 3 {args}"), "");
        let document = json::parse(&ends.client.stdout).unwrap_or_else(|e| panic!("{e}: {ends}"));
        let rate = float(&document, "/end/sum_received/bits_per_second").unwrap_or(0.0);
        (document, rate)
    };
    let memory = |bytes: &str| {
        let file = "/proc/sys/net/ipv4/tcp_rmem";
        let before = vm.must(&format!("cat {file}"));
        vm.must(&format!("echo {bytes} > {file}"));
        before.trim().to_owned()
    };
    let before = memory("4096 65536 65536");
    let (document, narrow) = run(7020, "");
    let advice = evidence(&document, "receive window").unwrap_or_default();
    assert!(
        advice.contains("try the receiver's net.ipv4.tcp_rmem"),
        "{document:#}"
    );
    // A processor that others use as well may be the next limit, and a lower one: one run of three is enough.
    let lifted = |ports: Range<u32>, args: &str| {
        let mut runs = ports.map(|port| run(port, args));
        let lifted = runs.find(|(document, rate)| {
            let is_lifted = *rate > 2.0 * narrow;
            if !is_lifted {
                eprintln!("{narrow} and {rate}: {document:#}");
            }
            is_lifted
        });
        lifted
            .unwrap_or_else(|| panic!("no run of three with {args:?} is twice as fast"))
            .0
    };
    lifted(7021..7024, "-w 400K");
    memory(&before);
    let document = lifted(7024..7027, "");
    // On a fast machine the system's own window may be too small for this path as well: it is another one.
    if let Some(found) = evidence(&document, "receive window") {
        assert!(window(found) > 1 << 20, "{document:#}");
    }
}

/// The causes of what a client over SCTP sends, in a machine whose server is stopped again and again if `stops`.
fn over_sctp(vm: &Vm, port: u16, args: &str, stops: bool) -> Vec<String> {
    let stop = if stops {
        "(until grep -q connected /tmp/sctp; do sleep 0.1; done
        for n in 1 2 3; do kill -STOP $server; sleep 2; kill -CONT $server; sleep 0.2; done) >/dev/null 2>&1 &"
    } else {
        ""
    };
    let end = vm.run(&format!(
        "iperf -s -1 -p {port} --forceflush >/tmp/sctp 2>&1 & server=$!
        until grep -q listening /tmp/sctp; do sleep 0.1; done
        {stop}
        iperf -c 127.0.0.1 -p {port} --sctp -J {args}"
    ));
    let document = json::parse(&end.stdout).unwrap_or_else(|error| panic!("{error}: {end}"));
    let limits = list(&document, "/end/limits").iter();
    let causes = limits.filter_map(|limit| text(limit, "/cause"));
    causes.map(str::to_owned).collect()
}

#[test]
fn what_limits_sctp_is_named() {
    let vm = Machine::new(Kernel::New).load("sctp").netem().boot();
    vm.must("ip link set lo mtu 1500");
    let is_named = |found: &[String], cause: &str| found.iter().any(|name| name == cause);
    // Without a processor for a while at its end, a test is below its rate, and something else is named: one run of three.
    let mut paced = (5308..5311).map(|port| over_sctp(&vm, port, "-t 4 -b 1M -l 8K", false));
    let only_the_rate = |found: &Vec<String>| *found == ["-b"];
    assert!(paced.any(|found| only_the_rate(&found)), "no run of three");
    let found = over_sctp(&vm, 5312, "-t 7 -l 8K -i 0.25", true);
    assert!(is_named(&found, "receive window"), "{found:?}");
    assert!(!is_named(&found, "congestion"), "{found:?}");
    vm.must(&format!(
        "{TC} qdisc add dev lo root netem delay 5ms loss 3%"
    ));
    let found = over_sctp(&vm, 5313, "-t 4 -l 8K -i 0.25", false);
    assert!(is_named(&found, "congestion"), "{found:?}");
    assert!(!is_named(&found, "receive window"), "{found:?}");
}

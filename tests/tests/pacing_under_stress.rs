//! Pacing compared with iperf3's under hard conditions: with little processor time, and before short queues.
//!
//! The table of queues is for readers: timers of a busy machine lose more than bursts do, so the rule about short queues
//! is tested in virtual time (`worker::quantum` of the engine). These take minutes, need root and a quiet machine, so they run only on request:
//!
//! ```text
//! cargo nextest run -p iperf-tests --run-ignored only --no-capture -E 'binary(pacing_under_stress)'
//! ```

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use iperf_harness::json::float;
use iperf_harness::netns::{Namespace, wire};
use iperf_harness::pair::{start_client, words};
use iperf_harness::process::Running;
use iperf_harness::{Peer, Server};
use nix::sys::signal::Signal;

const LIMIT: Duration = Duration::from_secs(60);

/// What a sender gets of a processor: this much of each period.
const PERIOD: Duration = Duration::from_millis(100);
const QUOTA: Duration = Duration::from_millis(30);

/// The length of a test.
const TIME: Duration = Duration::from_secs(10);

/// The least part of iperf3's average that ours may have: what comes due in a stop into which the end of the test falls can't
/// be made up for, and only one of the two may have had such a stop.
fn least(stops: bool) -> f64 {
    let last = PERIOD.saturating_sub(QUOTA).as_secs_f64() / TIME.as_secs_f64();
    0.99 - if stops { last } else { 0.0 }
}

/// A cgroup with a quota of processor time; gone when dropped.
struct QuotaGroup(PathBuf);

impl QuotaGroup {
    /// None where the controller is missing or may not be used.
    fn new() -> Option<Self> {
        let name = format!("iperf-pacing-{}", std::process::id());
        let (period, quota) = (PERIOD.as_micros(), QUOTA.as_micros());
        let old = PathBuf::from("/sys/fs/cgroup/cpu").join(&name);
        if fs::create_dir(&old).is_ok() {
            let group = Self(old);
            fs::write(group.0.join("cpu.cfs_period_us"), period.to_string()).ok()?;
            fs::write(group.0.join("cpu.cfs_quota_us"), quota.to_string()).ok()?;
            return Some(group);
        }
        let group = Self(PathBuf::from("/sys/fs/cgroup").join(&name));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join("cpu.max"), format!("{quota} {period}")).ok()?;
        Some(group)
    }

    fn take(&self, process: &Running) {
        let moved = fs::write(self.0.join("cgroup.procs"), process.id().to_string());
        moved.expect("the process moves into the cgroup");
    }
}

impl Drop for QuotaGroup {
    fn drop(&mut self) {
        // Its processes have ended, and leave it a moment later.
        for _ in 0..50 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
    }
}

/// Lets a process run for a part of each period, as a quota does for one that always has work to do.
fn stop_and_go(process: &mut Running) {
    let end = Instant::now() + LIMIT;
    while process.is_alive() && Instant::now() < end {
        process.signal(Signal::SIGSTOP);
        sleep(PERIOD.saturating_sub(QUOTA));
        process.signal(Signal::SIGCONT);
        sleep(QUOTA);
    }
}

/// The bits per second that a client sends with a quota, or with stops; its server runs freely.
fn sent_by(peer: Peer, args: &str, stops: bool) -> f64 {
    let server = Server::start(peer, &["-1"]);
    let time = TIME.as_secs();
    let mut client = start_client(peer, server.port(), &format!("-J -t {time} {args}"));
    let group = if stops { None } else { QuotaGroup::new() };
    match &group {
        Some(group) => group.take(&client),
        None => stop_and_go(&mut client),
    }
    let client = client.finish(LIMIT);
    server.finish(Duration::from_secs(60));
    let document = client.document();
    float(&document, "/end/sum_sent/bits_per_second").unwrap_or_else(|| panic!("{client}"))
}

fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[test]
#[ignore = "minutes long; see the module's header"]
fn little_processor_time_costs_no_more_of_the_average_than_of_iperf3s() {
    tell("| arguments | processor | ours | iperf3 | (Mbit/s sent)");
    for args in [
        "-u -b 20M -l 1400",
        "-u -b 100M -l 4K",
        "-u -b 300M -l 1448",
        "-b 50M -l 8K",
        "-b 1G",
    ] {
        for stops in [false, true] {
            let [ours, theirs] = [Peer::Ours, Peer::New].map(|peer| sent_by(peer, args, stops));
            let way = if stops { "stopped" } else { "quota" };
            tell(&format!(
                "| `{args}` | {way} | {:.2} | {:.2} |",
                ours / 1e6,
                theirs / 1e6
            ));
            assert!(
                ours >= least(stops) * theirs,
                "{args}, {way}: {ours} against iperf3's {theirs} bit/s"
            );
        }
    }
}

/// The loss in percent of a test over the wire.
fn loss(ends: &[Namespace; 2], peer: Peer, args: &str) -> f64 {
    let server = Server::start_with(peer, &["-1"], |command| ends[1].enter(&command));
    let mut command = peer.command();
    let port = server.port().to_string();
    command
        .args(["-J", "-c", "10.9.0.2", "-p", &port])
        .args(words(args));
    let client = Running::start(ends[0].enter(&command)).finish(LIMIT);
    server.finish(Duration::from_secs(60));
    let document = client.document();
    float(&document, "/end/sum_received/lost_percent").unwrap_or_else(|| panic!("{client}"))
}

#[test]
#[ignore = "minutes long; see the module's header"]
fn a_table_of_what_short_queues_lose() {
    let ends = wire(1500);
    tell(
        "| link (Mbit/s) | queue (packets) | ours | ours, `--no-gso` | iperf3 | (% lost, the best of 3)",
    );
    for link in [100_u32, 300, 500, 1000] {
        for queue in [2_u32, 10, 30, 100] {
            // A bucket of two packets, before which the others wait.
            let line = format!(
                "qdisc replace dev left root tbf rate {link}mbit burst 3100 limit {}",
                1500 * queue
            );
            ends[0].run("tc", &words(&line));
            let args = format!("-u -t 1 -l 1448 -b {}K", link * 940);
            let single = format!("{args} --no-gso");
            let mut best = [f64::INFINITY; 3];
            for _ in 0..3 {
                let runs = [
                    (Peer::Ours, &args),
                    (Peer::Ours, &single),
                    (Peer::New, &args),
                ];
                for (best, (peer, args)) in best.iter_mut().zip(runs) {
                    *best = best.min(loss(&ends, peer, args));
                }
            }
            let [ours, single, theirs] = best;
            tell(&format!(
                "| {link} | {queue} | {ours:.2} | {single:.2} | {theirs:.2} |"
            ));
        }
    }
}

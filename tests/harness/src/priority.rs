//! Tests whose subject is time: a rate that is kept, a delay, what held a sender back.
//!
//! Where other programs want the processors as well, a correct program keeps no rate, and correctly reports that it lacked
//! a processor. Real-time priority gives such a test the machine that it assumes: its programs run whenever they can.

use std::process::Command;

use nix::unistd::gettid;

const RENICE: (&str, &[&str]) = ("renice", &["-n", "-20", "-p"]);

/// From now on this thread, the threads that it starts and the programs that they start run before all programs that have
/// no real-time priority. Not for tests that keep a processor busy: all other tests would wait for them.
///
/// Where the system does not permit this (it needs `CAP_SYS_NICE`), the test reports it and goes on without.
pub fn raise() {
    set("chrt", &["--fifo", "--pid", "1"]);
}

/// The same with a higher share of the processors instead of real-time priority, for programs that may keep a processor busy:
/// some of iperf3 do while they wait. At real-time priority they would keep even their own peers from working.
pub fn prefer() {
    set(RENICE.0, RENICE.1);
}

/// Changes the priority of this thread by a program of util-linux, which gets its number as the last argument. Whether the
/// system permits it.
#[allow(
    clippy::print_stderr,
    reason = "a test that fails on a busy machine shows why"
)]
fn set(program: &str, args: &[&str]) -> bool {
    let output = Command::new(program)
        .args(args)
        .arg(gettid().to_string())
        .output()
        .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        eprintln!(
            "without a higher priority this test needs a quiet machine: {}",
            reason.trim()
        );
    }
    output.status.success()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{HANG, Running};

    /// The policy of a thread or process, as chrt prints it.
    fn policy(id: &str) -> String {
        let mut command = Command::new("chrt");
        command.args(["--pid", id]);
        Running::start(command).finish(HANG).stdout
    }

    #[test]
    fn a_higher_share_is_inherited() {
        let niceness = std::thread::spawn(|| {
            let is_permitted = set(RENICE.0, RENICE.1);
            let child = Command::new("nice");
            let program = std::thread::spawn(|| Running::start(child).finish(HANG).stdout);
            (program.join().unwrap(), is_permitted)
        });
        let (niceness, is_permitted) = niceness.join().unwrap();
        assert_eq!(niceness == "-20\n", is_permitted, "{niceness}");
    }

    #[test]
    fn threads_and_programs_inherit_the_priority_and_other_threads_keep_theirs() {
        let other = gettid().to_string();
        let inherited = std::thread::spawn(|| {
            raise();
            let mut child = Command::new("sh");
            child.args(["-c", "chrt --pid $$"]);
            let of_a_program = std::thread::spawn(|| Running::start(child).finish(HANG).stdout);
            let of_a_program = of_a_program.join().unwrap();
            (policy(&gettid().to_string()), of_a_program)
        });
        let (of_the_thread, of_a_program) = inherited.join().unwrap();
        let is_permitted = of_the_thread.contains("SCHED_FIFO");
        assert_eq!(of_a_program.contains("SCHED_FIFO"), is_permitted);
        assert!(policy(&other).contains("SCHED_OTHER"), "{}", policy(&other));
    }
}

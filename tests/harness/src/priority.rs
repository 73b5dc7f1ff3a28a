//! Tests whose subject is time: a rate that is kept, a delay, what held a sender back.
//!
//! Where other programs want the processors as well, a correct program keeps no rate, and correctly reports that it lacked
//! a processor. Real-time priority gives such a test the machine that it assumes: its programs run whenever they can.

use std::process::Command;

use nix::unistd::gettid;

/// From now on this thread, the threads that it starts and the programs that they start run before all programs that have
/// no real-time priority. Not for tests that keep a processor busy: all other tests would wait for them.
///
/// Where the system does not permit this (it needs `CAP_SYS_NICE`), the test reports it and goes on without.
#[allow(
    clippy::print_stderr,
    reason = "a test that fails on a busy machine shows why"
)]
pub fn raise() {
    let thread = gettid().to_string();
    let output = Command::new("chrt")
        .args(["--fifo", "--pid", "1", &thread])
        .output()
        .expect("chrt, of util-linux, starts");
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        eprintln!(
            "without real-time priority this test needs a quiet machine: {}",
            reason.trim()
        );
    }
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

//! A kernel that pins no memory, or little: `RLIMIT_MEMLOCK` bounds what `MSG_ZEROCOPY` may hold.

use std::fmt;
use std::process::Command;

use iperf_harness::json::text;
use iperf_harness::pair::tcp_pair;
use iperf_harness::{Problems, parallel};

use crate::account::{self, ExpectedMode, ExpectedReport};
use crate::modes::{RECEIVERS, SENDERS};

/// The same command with a limit of pinned bytes. `CAP_IPC_LOCK` would lift the limit, so it is dropped.
fn pinning(command: &Command, bytes: u64) -> Command {
    let mut bounded = Command::new("prlimit");
    bounded.arg(format!("--memlock={bytes}:{bytes}"));
    if nix::unistd::geteuid().is_root() {
        bounded.args(["setpriv", "--bounding-set=-ipc_lock"]);
    }
    bounded.arg(command.get_program()).args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        bounded.current_dir(directory);
    }
    bounded.env("LC_ALL", "C");
    bounded
}

struct Case {
    args: &'static str,
    bytes: u64,
    sender: ExpectedMode,
    /// With which error a strict client ends.
    strict: Option<&'static str>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} bytes may be pinned", self.args, self.bytes)
    }
}

impl Case {
    /// Both ends are bounded.
    fn go(&self) -> Result<(), String> {
        let pinning = |command| pinning(&command, self.bytes);
        let outcome = tcp_pair(self.args).run_as(pinning, pinning);
        let client = &outcome.client;
        let mut f = Problems::new();
        f.equal(
            "exit code",
            client.code(),
            Some(i32::from(self.strict.is_some())),
        );
        f.holds("the server succeeds", outcome.server.succeeded());
        let (ours, theirs) = outcome.documents();
        let error = text(&ours, "/error");
        f.holds(
            format!("error {error:?}"),
            error.map(|error| self.strict.is_some_and(|part| error.contains(part)))
                == self.strict.map(|_| true),
        );
        let wanted = ExpectedReport {
            send: self.sender,
            receive: RECEIVERS[0].1,
            bidir: false,
            exact: true,
        };
        account::both(&mut f, &ours, &theirs, &wanted);
        let reason = text(&ours, "/end/sum_sent/zerocopy/reason").unwrap_or("none");
        if self.sender.used == ["copy"] {
            f.holds(
                format!("reason {reason}"),
                reason.contains("RLIMIT_MEMLOCK"),
            );
        }
        f.into_result(&outcome)
    }
}

#[test]
fn what_may_not_be_pinned_is_copied_and_the_reason_given() {
    const NOTHING: ExpectedMode = ExpectedMode::plain("msg", &["copy"]).because();
    let strict = Some("the kernel pins no more memory (RLIMIT_MEMLOCK");
    let mut cases = Vec::new();
    for (args, bytes, sender, strict) in [
        (
            "-n 8M --zerocopy=msg --zerocopy-rx=off --verify",
            0,
            NOTHING,
            None,
        ),
        (
            "-n 8M --zerocopy=msg --zerocopy-rx=off --verify -R",
            0,
            NOTHING,
            None,
        ),
        // Less than a block.
        (
            "-n 8M --zerocopy=msg --zerocopy-rx=off --verify",
            65_536,
            NOTHING,
            None,
        ),
        (
            "-n 8M --zerocopy=msg --zerocopy-rx=off --verify -R -P 3",
            65_536,
            NOTHING,
            None,
        ),
        (
            "-n 8M --zerocopy=msg --zerocopy-rx=off --zerocopy-strict",
            0,
            NOTHING,
            strict,
        ),
        // A few blocks at a time: the others wait for them.
        (
            "-n 8M --zerocopy=msg --zerocopy-rx=off --verify",
            1 << 20,
            SENDERS[4].1,
            None,
        ),
        (
            "-n 8M -l 8K --zerocopy=msg --zerocopy-rx=off --verify -R",
            65_536,
            SENDERS[4].1,
            None,
        ),
        // What pins nothing does not care.
        (
            "-n 8M --zerocopy=splice --zerocopy-rx=off --verify",
            0,
            SENDERS[3].1,
            None,
        ),
        (
            "-n 8M -Z --zerocopy-rx=off --verify -R",
            0,
            SENDERS[1].1,
            None,
        ),
    ] {
        cases.push(Case {
            args,
            bytes,
            sender,
            strict,
        });
    }
    // One after another: the bound is on all that a user pins.
    parallel::each(&cases, 1, Case::go);
}

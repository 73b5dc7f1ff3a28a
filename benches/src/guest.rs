//! Runs in a virtual machine of the lab, for what this machine has no devices or modules for.
//!
//! ```text
//! here                          the guest
//! Guest::run ──command──► measure PROGRAM CASE SECONDS
//!                           Program::run ──► client and server
//!            ◄───JSON──── Run
//! ```

use std::path::Path;
use std::time::Duration;

use crate::cases::Case;
use crate::measure::{Program, Run};
use iperf_harness::workspace;
use iperf_lab::{Kernel, Machine, Vm};

/// Where the peer lies in the guest; ours is where every guest has it.
const OURS: &str = "/bin/iperf";
const PEER: &str = "/bin/peer";
/// This package's program of that name.
const MEASURE: &str = "/bin/measure";

/// A run may take so much longer than its test, on an emulated machine.
const GRACE: Duration = Duration::from_secs(60);

/// A virtual machine with both programs.
#[derive(Debug)]
pub struct Guest(Vm);

/// Whose program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The program of this workspace.
    Ours,
    /// What it is compared with.
    Peer,
}

impl Guest {
    /// Boots one with the newest kernel.
    pub fn boot(peer: &Program) -> Self {
        let measure = workspace::program("iperf-bench", "measure");
        let machine = Machine::new(Kernel::New)
            .program(peer.path(), PEER)
            .program(&measure, MEASURE);
        Self(machine.boot())
    }

    /// What it is, for the reader of a table.
    pub fn line(&self) -> String {
        let kernel = self.0.kernel().release();
        format!("vsock: CID 1 in a virtual machine of QEMU, 1 processor, Linux {kernel}")
    }

    /// Runs a case once.
    pub fn run(&self, side: Side, case: &Case, seconds: u32) -> Result<Run, String> {
        let program = match side {
            Side::Ours => OURS,
            Side::Peer => PEER,
        };
        let command = format!("{MEASURE} {program} {} {seconds}", case.name);
        let limit = Duration::from_secs(seconds.into()) + GRACE;
        let end = self.0.run_within(&command, limit);
        if !end.succeeded() {
            return Err(end.stderr.trim().to_owned());
        }
        serde_json::from_str(&end.stdout).map_err(|e| format!("{e}\n{end}"))
    }
}

/// In the guest: runs a case once, and tells what it came to.
pub fn measure(args: &[String]) -> Result<String, String> {
    let [program, case, seconds] = args else {
        return Err("usage: measure PROGRAM CASE SECONDS".to_owned());
    };
    let cases = Case::named(std::slice::from_ref(case));
    let cases = cases.map_err(|name| format!("there is no case {name}"))?;
    let seconds = seconds.parse().map_err(|e| format!("{seconds}: {e}"))?;
    let run = Program::at(Path::new(program)).run(&cases[0], seconds)?;
    serde_json::to_string(&run).map_err(|e| e.to_string())
}

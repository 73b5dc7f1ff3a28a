//! Runs in a virtual machine of the lab, for what this machine has no devices or modules for.

use std::time::Duration;

use iperf_lab::{Kernel, Machine, Vm};

use crate::engine::{Effort, quoted};
use crate::programs::Program;

/// Where ours is in every guest.
const OURS: &str = "/bin/iperf";
/// The file of runs.
const SAVED: &str = "/tmp/runs.jsonl";
/// Starting servers and commands takes about so long on an emulated machine.
const EACH: u32 = 10;

/// A virtual machine with the programs.
#[derive(Debug)]
pub struct Guest {
    vm: Vm,
    programs: Vec<Program>,
}

impl Guest {
    /// Boots one with the newest kernel, and `programs`, the first being ours.
    pub fn boot(programs: &[&Program]) -> Self {
        let mut machine = Machine::new(Kernel::New);
        let mut inside = Vec::new();
        for (at, program) in programs.iter().enumerate() {
            if at == 0 {
                inside.push(program.at(OURS));
            } else {
                let place = format!("/bin/peer-{at}");
                machine = machine.program(program.path(), &place);
                inside.push(program.at(&place));
            }
        }
        Self {
            vm: machine.boot(),
            programs: inside,
        }
    }

    /// The programs as they are in the guest.
    pub fn programs(&self) -> Vec<&Program> {
        self.programs.iter().collect()
    }

    /// What it is, for the reader of a table.
    pub fn line(&self) -> String {
        let kernel = self.vm.kernel().release();
        format!("vsock: CID 1 in a virtual machine of QEMU, 1 processor, Linux {kernel}")
    }

    /// Runs ours with `words`, a bench, and returns the file of runs.
    pub(crate) fn bench(&self, words: &[String], effort: Effort) -> Result<String, String> {
        let words = quoted(words);
        let command =
            format!("rm -f {SAVED}; {OURS}{words} --save {SAVED} >/dev/null; cat {SAVED}");
        let runs = effort.rounds * u32::try_from(self.programs.len()).unwrap_or(u32::MAX);
        let seconds = runs * (effort.seconds + EACH);
        let end = self
            .vm
            .run_within(&command, Duration::from_secs(seconds.into()));
        if end.stdout.is_empty() {
            return Err(format!("iperf bench saved nothing: {}", end.stderr.trim()));
        }
        Ok(end.stdout)
    }
}

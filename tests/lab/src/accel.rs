//! How QEMU runs a guest: on the processor itself (KVM) where that works, else by translation (TCG).
//!
//! If this machine is itself a guest, being able to open `/dev/kvm` is not enough: there, guests may crash before their
//! kernel begins. So one is started to find out, with a short deadline, and all test processes until the next boot of
//! this machine use the result.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, Write};
use std::sync::OnceLock;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use super::{Kernel, Machine, Vm, folder};

/// Long enough for a guest on the processor itself, and no more.
const PROBE: Duration = Duration::from_secs(15);

/// A way to run guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// Hardware virtualisation.
    Kvm,
    /// Emulation: tens of times slower, and it works everywhere.
    Tcg,
    /// Emulation in which an instruction takes a nanosecond of the guest's time: what a program costs does not depend on
    /// what else this machine does.
    Instructions,
}

impl Accel {
    /// The faster one that works on this machine.
    pub fn best() -> Self {
        static BEST: OnceLock<Accel> = OnceLock::new();
        *BEST.get_or_init(find)
    }

    pub(super) fn options(self) -> &'static str {
        match self {
            Self::Kvm => "-accel kvm -cpu host",
            Self::Tcg => "-accel tcg,thread=multi -cpu max",
            Self::Instructions => "-accel tcg,thread=single -cpu max -icount shift=0",
        }
    }
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
            Self::Instructions => "TCG, time counted in instructions",
        })
    }
}

fn find() -> Accel {
    let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    if let Err(error) = kvm {
        eprintln!("lab: TCG: /dev/kvm: {error}");
        return Accel::Tcg;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder().join("accel"))
        .expect("the lab's folder can be written to");
    // The first process probes, and the others wait for what it finds.
    let mut file = Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .expect("a file can be locked");
    let mut known = String::new();
    file.read_to_string(&mut known).unwrap_or_default();
    if let Some(found) = known.strip_prefix(&boot) {
        return if found == "KVM" {
            Accel::Kvm
        } else {
            Accel::Tcg
        };
    }
    let probe = Machine::new(Kernel::New).bare();
    let best = match Vm::try_boot(&probe, Accel::Kvm, PROBE) {
        Ok(_) => Accel::Kvm,
        Err(why) => {
            eprintln!("lab: KVM does not work here: {why}");
            Accel::Tcg
        }
    };
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{boot}{best}"))
        .expect("the lab's folder can be written to");
    best
}

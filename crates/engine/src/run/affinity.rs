//! Binding to a CPU. Threads inherit the binding of the thread that starts them.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread; `sched_setaffinity` takes 0 for it.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// A binding that ends with this value: the thread then may run where it could before.
#[derive(Debug)]
pub struct Affinity {
    before: CpuSet,
}

impl Drop for Affinity {
    fn drop(&mut self) {
        // The old set was in force before, so it can only be refused when CPUs vanished meanwhile.
        let _ = sched_setaffinity(THIS_THREAD, &self.before);
    }
}

/// Binds the calling thread, and the threads that it starts from now on, to one CPU.
pub fn pin(cpu: u16) -> io::Result<Affinity> {
    let before = sched_getaffinity(THIS_THREAD)?;
    let mut set = CpuSet::new();
    set.set(usize::from(cpu))?;
    sched_setaffinity(THIS_THREAD, &set)?;
    Ok(Affinity { before })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binding_ends_with_its_guard() {
        let before = sched_getaffinity(THIS_THREAD).unwrap();
        let guard = pin(0).unwrap();
        let bound = std::thread::spawn(|| sched_getaffinity(THIS_THREAD).unwrap())
            .join()
            .unwrap();
        assert!(bound.is_set(0).unwrap() && !bound.is_set(1).unwrap());
        drop(guard);
        assert_eq!(sched_getaffinity(THIS_THREAD).unwrap(), before);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_refused() {
        assert!(pin(1023).is_err());
    }
}

//! How many tests the machine has room for (`--tests 0`): what descriptors and threads suffice for.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

/// Descriptors of a stream: its socket, and a pipe when it splices.
const FILES_PER_STREAM: u64 = 3;

/// Descriptors of a test without its streams: the control connection and a runtime.
pub(crate) const FILES_PER_TEST: u64 = 9;

/// Threads of a test without a worker per stream: its own, and short-lived helpers.
const THREADS_PER_TEST: u64 = 4;

/// What tests may use. The other half of the system's limits is for connections that wait, and for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    files: u64,
    threads: u64,
}

impl Capacity {
    /// Half of what the system gives this process now.
    pub(crate) fn of_system() -> Self {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        let processes = getrlimit(Resource::RLIMIT_NPROC).map_or(u64::MAX, |(soft, _)| soft);
        let system = number("/proc/sys/kernel/threads-max");
        let group = number("/sys/fs/cgroup/pids.max");
        let threads = [Some(processes), system, group].into_iter().flatten().min();
        Self {
            files: files / 2,
            threads: threads.unwrap_or(u64::MAX) / 2,
        }
    }

    /// Whether this many tests with this many streams in total fit.
    pub(crate) fn fits(self, tests: usize, streams: usize) -> bool {
        let (tests, streams) = (tests as u64, streams as u64);
        FILES_PER_TEST * tests + FILES_PER_STREAM * streams <= self.files
            && THREADS_PER_TEST * tests + streams <= self.threads
    }
}

/// The number in a file of the kernel; `None` for `max`, or where the file does not exist.
fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_tests_use_up_descriptors_and_threads() {
        let capacity = Capacity {
            files: 100,
            threads: 40,
        };
        assert!(capacity.fits(1, 30));
        assert!(!capacity.fits(1, 31), "99 + 3 descriptors");
        assert!(capacity.fits(8, 8) && !capacity.fits(9, 9), "threads");
        assert!(Capacity::of_system().fits(1, 1));
    }
}

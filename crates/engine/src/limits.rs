//! The process's limit of open files, raised as far as a test needs it.

use std::{fs, io};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::EngineError;

/// Descriptors that a stream may take: its socket, and another two while it is prepared or splices.
const PER_STREAM: u64 = 3;

/// Descriptors that come and go beside the streams.
const BESIDE: u64 = 64;

/// Raises the soft limit of open files to what so many streams may take beside what is open, if it is lower. The hard
/// limit stays as it is: where it does not suffice, the error names it.
pub fn allow_files(streams: usize) -> Result<(), EngineError> {
    let failed = EngineError::system("raise the limit of open files (RLIMIT_NOFILE)");
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(errno) => return Err(failed(errno.into())),
    };
    match wanted(soft, hard, open_files(), streams as u64) {
        Ok(None) => Ok(()),
        Ok(Some(limit)) => {
            setrlimit(Resource::RLIMIT_NOFILE, limit, hard).map_err(|errno| failed(errno.into()))
        }
        Err(least) => Err(failed(io::Error::other(format!(
            "{streams} streams need {least} open files, and the hard limit is {hard}"
        )))),
    }
}

/// What the soft limit has to become, if it does not suffice; or how many files are needed at least, if the hard limit
/// does not allow for them.
fn wanted(soft: u64, hard: u64, open: u64, streams: u64) -> Result<Option<u64>, u64> {
    let least = open + streams;
    let comfortable = open + PER_STREAM * streams + BESIDE;
    if hard < least {
        Err(least)
    } else if soft < comfortable && soft < hard {
        Ok(Some(comfortable.min(hard)))
    } else {
        Ok(None)
    }
}

/// How many files this process has open.
fn open_files() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_needed_and_allowed() {
        // soft, hard, open, streams
        for (limits, want) in [
            ((1024, 20_000, 10, 128), Ok(None)),
            ((1024, 20_000, 10, 1000), Ok(Some(3074))),
            ((1024, 20_000, 10, 10_000), Ok(Some(20_000))),
            ((1024, 4096, 10, 10_000), Err(10_010)),
            ((20, 20, 10, 2), Ok(None)),
            ((11, 11, 10, 2), Err(12)),
        ] {
            let (soft, hard, open, streams) = limits;
            assert_eq!(wanted(soft, hard, open, streams), want, "{limits:?}");
        }
    }
}

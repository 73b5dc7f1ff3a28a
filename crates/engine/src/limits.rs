//! The process's limit of open files: whether it suffices for a test. The program raises it.

use std::{fs, io};

use nix::sys::resource::{Resource, getrlimit};

use crate::error::EngineError;

/// Checks that the limit of open files suffices for this many streams in addition to what is open; the error names it.
pub fn check_files(streams: usize) -> Result<(), EngineError> {
    let failed = EngineError::system("open the streams (RLIMIT_NOFILE)");
    let (limit, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(errno) => return Err(failed(errno.into())),
    };
    let least = open_files() + streams as u64;
    if limit < least {
        return Err(failed(io::Error::other(format!(
            "{streams} streams need {least} open files, the limit is {limit} and the hard limit is {hard} (ulimit -n)"
        ))));
    }
    Ok(())
}

/// How many files this process has open.
fn open_files() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_streams_than_files_are_refused() {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX / 2);
        assert!(check_files(1).is_ok());
        let error = check_files(limit).unwrap_err().to_string();
        assert!(error.contains("RLIMIT_NOFILE"), "{error}");
        assert!(error.contains("the limit is"), "{error}");
    }
}

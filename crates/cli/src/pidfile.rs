//! The file of `--pidfile`: says which process this is while it runs.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use iperf_proto::Code;

/// A pid file, which is removed when this value is dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the number of this process, unless the file names another one that is alive.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        if let Ok(text) = fs::read_to_string(path)
            && let Ok(pid) = text.trim().parse::<u32>()
            && pid != std::process::id()
            && Path::new(&format!("/proc/{pid}")).exists()
        {
            return Err(io::Error::other(
                "Another instance of iperf appears to be running",
            ));
        }
        let write = || -> io::Result<()> {
            let mut options = File::options();
            options.write(true).create(true).truncate(true).mode(0o600);
            write!(options.open(path)?, "{}", std::process::id())
        };
        write().map_err(|error| io::Error::other(Code::PID_FILE.with_error(&error)))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody else may have removed it; there is nothing to do about it then.
        let _ = fs::remove_file(&self.path);
    }
}

//! The file of `--pidfile`: it holds the process ID while the program runs.
//!
//! Such files are often in directories where others can write. A symbolic link there could lead anywhere, and a FIFO
//! could block the start, so only regular files are opened, and without waiting. At the end the file is removed if it
//! is still the one that was written.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use iperf_control::{FileId, OwnFile};
use iperf_proto::Code;
use nix::errno::Errno;
use nix::fcntl::OFlag;

/// Room for a process ID and white space around it, in bytes.
const MOST_READ: u64 = 64;

/// A PID file, removed when this value is dropped, unless another process has replaced it.
#[derive(Debug)]
pub(crate) struct PidFile {
    /// Dropped before the file, which keeps the inode in use.
    _own: OwnFile,
    _file: File,
}

impl PidFile {
    /// Writes the ID of this process, unless the file names another one that is running.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let failed = |error: io::Error| io::Error::other(Code::PID_FILE.with_error(&error));
        let mut file = open(path).map_err(failed)?;
        if names_another_process(&mut file).map_err(failed)? {
            return Err(io::Error::other(
                "Another instance of iperf appears to be running",
            ));
        }
        let id = write(&mut file).map_err(failed)?;
        Ok(Self {
            _own: OwnFile::new(path.to_owned(), id),
            _file: file,
        })
    }
}

/// Opens a regular file, or creates one that only its owner can read.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = File::options();
    options.read(true).write(true).create(true).mode(0o600);
    let opened = options.custom_flags(flags.bits()).open(path);
    let file = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ELOOP) => not_regular(path, "a symbolic link"),
        Some(Errno::ENXIO) => not_regular(path, "a socket"),
        _ => error,
    })?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(not_regular(path, "a FIFO or a device"))
    }
}

fn not_regular(path: &Path, what: &str) -> io::Error {
    io::Error::other(format!("{} is {what}, not a regular file", path.display()))
}

fn names_another_process(file: &mut File) -> io::Result<bool> {
    let mut bytes = Vec::new();
    file.take(MOST_READ).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let pid = text.trim().parse::<u32>().ok();
    let other = pid.filter(|pid| *pid != std::process::id());
    Ok(other.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists()))
}

fn write(file: &mut File) -> io::Result<FileId> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    file.metadata().map(|metadata| FileId::of(&metadata))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    fn refused(path: &Path) -> String {
        PidFile::create(path).unwrap_err().to_string()
    }

    #[test]
    fn it_names_this_process_while_it_runs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        fs::write(&path, "4294967295 was longer").unwrap();
        let pid_file = PidFile::create(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            std::process::id().to_string()
        );
        drop(pid_file);
        assert!(!path.exists());
        let _again = PidFile::create(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_living_process_keeps_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        fs::write(&path, "1\n").unwrap();
        assert!(refused(&path).contains("Another instance"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (target, path) = (
            directory.path().join("target"),
            directory.path().join("pid"),
        );
        fs::write(&target, "precious").unwrap();
        symlink(&target, &path).unwrap();
        let error = refused(&path);
        assert!(
            error.ends_with("is a symbolic link, not a regular file"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        fs::remove_file(&target).unwrap();
        refused(&path);
        assert!(!target.exists(), "nor is a file made where one leads");
    }

    #[test]
    fn fifos_sockets_and_directories_are_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let error = refused(&path);
        assert!(
            error.ends_with("is a FIFO or a device, not a regular file"),
            "{error}"
        );
        fs::remove_file(&path).unwrap();
        let _listener = UnixListener::bind(&path).unwrap();
        let error = refused(&path);
        assert!(
            error.ends_with("is a socket, not a regular file"),
            "{error}"
        );
        let error = refused(directory.path());
        assert!(error.ends_with("Is a directory"), "{error}");
    }

    #[test]
    fn another_processes_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let pid_file = PidFile::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "1").unwrap();
        drop(pid_file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1");
    }
}

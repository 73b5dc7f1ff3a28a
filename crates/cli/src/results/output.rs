//! Printing: to stdout, or to a file that readers never see half written.
//!
//! | the file is | `--output` | files beside a test |
//! |---|---|---|
//! | a regular file, or none | written beside it, then renamed | the same; `--influx` appends |
//! | a link | the file it leads to | the same |
//! | a device, a FIFO, below /dev or /proc | written to, without waiting for a reader | refused |

use std::fmt::Display;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use iperf_model::reason;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::NamedTempFile;

use super::UNREADABLE;

/// What everybody may read, as a collector under another user does.
const MODE: u32 = 0o644;

/// How long the reader of a FIFO may read nothing.
const READER_MS: u16 = 10_000;

/// Prints `text`.
pub(super) fn print(output: Option<&Path>, text: &str) -> Result<(), String> {
    match output {
        Some(path) => write(path, text)
            .map_err(|error| format!("--output {}: {}", path.display(), reason(&error))),
        None => stdout(text).map_err(|error| format!("stdout: {}", reason(&error))),
    }
}

/// Writes to stdout. A reader that has seen enough is no error.
pub(super) fn stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a message to stderr.
pub(super) fn note(text: &str) {
    // If stderr is gone, there is nowhere to report it.
    let _ = writeln!(io::stderr(), "iperf: {text}");
}

/// Prints what is wrong, and gives the exit code for it.
pub(super) fn failed(error: &dyn Display) -> ExitCode {
    note(&error.to_string());
    ExitCode::from(UNREADABLE)
}

/// Whether `print` could write to a regular file now.
pub(super) fn check(path: &Path) -> Result<(), String> {
    if is_special(path) {
        return Ok(());
    }
    let beside = regular(path).and_then(|path| beside(&path));
    beside
        .map(drop)
        .map_err(|error| format!("--output {}: {}", path.display(), reason(&error)))
}

fn is_special(path: &Path) -> bool {
    let special = fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
    special || path.starts_with("/dev") || path.starts_with("/proc")
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if is_special(path) {
        write_in_place(path, text)
    } else {
        replace(path, text)
    }
}

/// A new file in the folder of another one. Its name ends in no suffix that a collector looks for.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    NamedTempFile::with_prefix_in(".iperf-", directory).map_err(plain)
}

/// Replaces a regular file, by one that is written beside it.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = regular(path)?;
    let mut beside = beside(&path)?;
    beside.write_all(text.as_bytes())?;
    beside
        .as_file()
        .set_permissions(Permissions::from_mode(MODE))?;
    beside.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// Appends to a regular file.
pub(super) fn append(path: &Path, text: &str) -> io::Result<()> {
    let path = regular(path)?;
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// The file that a path leads to, unless it is something else than a file.
pub(super) fn regular(path: &Path) -> io::Result<PathBuf> {
    let Ok(found) = fs::metadata(path) else {
        return Ok(path.to_owned());
    };
    let kind = found.file_type();
    let what = match () {
        () if kind.is_file() => return fs::canonicalize(path),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(io::Error::other(format!("is {what}, and not a file")))
}

/// Checks that a file can be made where a path leads, as far as that shows before the test: what it leads to is a file, or
/// nothing in a folder.
pub(super) fn can_be_made(path: &Path) -> io::Result<()> {
    let path = regular(path)?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let Some(folder) = folder else {
        return Ok(());
    };
    if fs::metadata(folder)?.is_dir() {
        Ok(())
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}

/// The system's reason, without the name of the temporary file.
fn plain(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((reason, _)) => io::Error::other(reason.to_owned()),
        None => error,
    }
}

/// Writes to what is no file, as /dev/stdout. A FIFO without a reader is an error.
fn write_in_place(path: &Path, text: &str) -> io::Result<()> {
    let opened = OpenOptions::new()
        .append(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path);
    let mut file = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENXIO) => io::Error::other("is a FIFO that no process reads"),
        _ => error,
    })?;
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_reader(&file)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A reader that has seen enough is no error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_for_reader(file: &File) -> io::Result<()> {
    let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut polled, PollTimeout::from(READER_MS)) {
        Ok(0) => Err(io::Error::other("its reader has read nothing for 10 s")),
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A message about the file of an option.
pub(super) fn named(option: &str, path: &Path, error: &io::Error) -> String {
    format!("{option} {}: {}", path.display(), reason(error))
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.prom");
        write(&path, "old").unwrap();
        write(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_and_its_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, "new").unwrap();
        append(&link, "er").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "newer");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        for (path, expected) in [
            (
                "/nowhere/x",
                "--output /nowhere/x: No such file or directory",
            ),
            ("/", "--output /: is a directory, and not a file"),
        ] {
            let error = print(Some(Path::new(path)), "").unwrap_err();
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn a_fifo_is_written_to_only_while_it_has_a_reader() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let error = write(&path, "x").unwrap_err().to_string();
        assert_eq!(error, "is a FIFO that no process reads");
        for refused in [replace(&path, "x"), append(&path, "x")] {
            assert_eq!(
                refused.unwrap_err().to_string(),
                "is a FIFO, and not a file"
            );
        }
        // More than a pipe holds, so that the writer has to wait.
        let text = "x".repeat(1 << 20);
        let reader = {
            let path = path.clone();
            std::thread::spawn(move || fs::read_to_string(path).unwrap())
        };
        while write(&path, &text).is_err() {
            std::thread::yield_now();
        }
        assert_eq!(reader.join().unwrap(), text);
    }
}

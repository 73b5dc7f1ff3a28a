//! Printing: to stdout, or to a file that readers never see half written.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// What everybody may read, as a collector under another user does.
const MODE: u32 = 0o644;

/// Prints `text`.
pub(super) fn print(output: Option<&Path>, text: &str) -> Result<(), String> {
    match output {
        Some(path) => write(path, text).map_err(|error| format!("{}: {error}", path.display())),
        None => stdout(text).map_err(|error| format!("stdout: {error}")),
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

/// Writes beside `path` and renames. What is no file, as /dev/stdout, is written to as it is.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(text.as_bytes());
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Its name ends in no suffix that a collector looks for.
    let mut beside = NamedTempFile::with_prefix_in(".iperf-", directory)?;
    beside.write_all(text.as_bytes())?;
    beside
        .as_file()
        .set_permissions(Permissions::from_mode(MODE))?;
    beside.persist(path)?;
    Ok(())
}

/// Appends to a file.
pub(super) fn append(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
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
    fn a_file_that_cannot_be_written_is_named() {
        let error = print(Some(Path::new("/nowhere/x")), "").unwrap_err();
        assert!(error.starts_with("/nowhere/x: "), "{error}");
    }
}

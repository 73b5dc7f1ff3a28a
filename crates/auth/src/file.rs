//! Reading small files that an option names. The name may also be that of a pipe (`<(pass show key)`) that is never
//! written to, or of a device without an end.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use zeroize::Zeroizing;

/// How long a pipe may take.
const LIMIT: Duration = Duration::from_secs(4);

/// The most bytes.
const MOST: usize = 64 << 20;

/// Opens a file for reading, and never waits for a writer.
pub fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
}

/// Reads a whole file of up to 64 MiB, and waits up to 4 seconds for a pipe.
pub fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let deadline = Instant::now() + LIMIT;
    let mut file = open(path)?;
    let mut bytes = Zeroizing::new(Vec::new());
    let mut piece = Zeroizing::new([0; 4096]);
    loop {
        wait(&file, deadline)?;
        match file.read(&mut piece[..]) {
            Ok(0) => return Ok(bytes),
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if bytes.len() > MOST {
            let text = format!("it has more than {} MiB", MOST >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
    }
}

/// Waits until there is something to read, or the end. A pipe that had no writer yet has no end.
fn wait(file: &File, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    let mut files = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    if poll(&mut files, left)? == 0 {
        let text = format!("nothing arrived from it within {} s", LIMIT.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    #[test]
    fn a_pipe_is_read_to_its_end_and_not_waited_for_without_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.to_string(), "nothing arrived from it within 4 s");
        let writer = std::thread::spawn({
            let path = path.clone();
            move || std::fs::write(path, vec![7; 100_000])
        });
        assert_eq!(read(&path).unwrap().len(), 100_000);
        writer.join().unwrap().unwrap();
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 64 MiB");
    }
}

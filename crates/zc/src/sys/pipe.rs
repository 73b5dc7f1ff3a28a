//! A pipe that holds references to pages, between two `splice(2)`s.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
    /// Bytes in it.
    filled: usize,
}

impl Pipe {
    /// A pipe with room for `bytes`, or as close to it as this user may have (`fs.pipe-max-size`,
    /// `fs.pipe-user-pages-soft`, pipe(7)).
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        let mut capacity = size(&write)?;
        let mut wanted = bytes;
        // If the size is refused, try half of it; the pipe has some size in any case.
        while wanted > capacity {
            let size = libc::c_int::try_from(wanted).unwrap_or(libc::c_int::MAX);
            if fcntl(&write, FcntlArg::F_SETPIPE_SZ(size)).is_ok() {
                break;
            }
            wanted /= 2;
        }
        capacity = capacity.max(size(&write)?);
        Ok(Self {
            read,
            write,
            capacity,
            filled: 0,
        })
    }

    /// Bytes of whole pages that fit.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes in it.
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    pub(crate) fn write_end(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// Records bytes that were added.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    /// Moves the content of the pipe, or a part of it, to `target`; `more`: more will follow at once. Not to be called
    /// when the pipe is empty.
    pub(crate) fn splice_to(&mut self, target: BorrowedFd<'_>, more: bool) -> io::Result<usize> {
        let mut flags = SpliceFFlags::SPLICE_F_MOVE;
        flags.set(SpliceFFlags::SPLICE_F_MORE, more);
        let bytes = splice(&self.read, None, target, None, self.filled, flags)?;
        self.filled -= bytes;
        Ok(bytes)
    }
}

fn size(pipe: &OwnedFd) -> io::Result<usize> {
    let size = fcntl(pipe, FcntlArg::F_GETPIPE_SZ)?;
    Ok(usize::try_from(size).unwrap_or(0))
}

/// `/dev/null`.
pub(crate) fn null() -> io::Result<File> {
    let opened = File::options().write(true).open("/dev/null");
    opened.map_err(|error| io::Error::new(error.kind(), format!("can't open /dev/null: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_as_large_as_it_may_be() {
        assert!(Pipe::new(1 << 18).unwrap().capacity() >= 1 << 18);
        // More than any user may have.
        assert!(Pipe::new(usize::MAX).unwrap().capacity() >= 4096);
    }
}

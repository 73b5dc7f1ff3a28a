//! A mover that empties a message socket (`SOCK_SEQPACKET`): each message is one block, and must arrive whole.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{MsgFlags, recv};

use crate::Moved;
use crate::account::Report;
use crate::receive::{ReceiveMover, flags};
use crate::verify::{self, Verifier};

/// Reads a message per call into a buffer of one block.
pub struct PacketReceiver {
    buffer: Vec<u8>,
    report: Report,
    verifier: Option<Verifier>,
    file: Option<File>,
}

impl PacketReceiver {
    /// Takes messages of up to `block` bytes; a longer one is an error and is not truncated.
    pub fn new(block: usize) -> Self {
        Self {
            buffer: vec![0; block],
            report: Report::default(),
            verifier: None,
            file: None,
        }
    }

    /// Checks what arrives, if there is a verifier; the first difference is an error.
    pub fn verified(mut self, verifier: Option<Verifier>) -> Self {
        self.verifier = verifier;
        self
    }

    /// Writes what arrives to a file, if there is one.
    pub fn into_file(mut self, file: Option<File>) -> Self {
        self.file = file;
        self
    }
}

impl ReceiveMover for PacketReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        // With MSG_TRUNC the length is that of the message, even if it did not fit (recv(2)).
        let flags = flags(wait) | MsgFlags::MSG_TRUNC;
        let bytes = recv(socket.as_raw_fd(), &mut self.buffer, flags)?;
        let Some(message) = self.buffer.get(..bytes) else {
            let block = self.buffer.len();
            let text = format!("a message of {bytes} bytes exceeds the block size of {block}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        };
        self.report.account.copy(bytes);
        verify::check(&mut self.verifier, message)?;
        if let Some(file) = &mut self.file {
            file.write_all(message)?;
        }
        let blocks = u32::from(bytes > 0);
        Ok(Moved { bytes, blocks })
    }

    fn report(&self) -> Report {
        self.report.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::os::fd::AsFd;

    fn pair() -> (Socket, Socket) {
        Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap()
    }

    #[test]
    fn a_message_is_a_block_however_long_it_is() {
        let (here, there) = pair();
        let mut mover = PacketReceiver::new(100);
        for length in [100, 1, 99] {
            here.send(&vec![7; length]).unwrap();
        }
        drop(here);
        for length in [100, 1, 99] {
            let moved = mover.receive(there.as_fd(), true).unwrap();
            assert_eq!((moved.bytes, moved.blocks), (length, 1));
        }
        let end = mover.receive(there.as_fd(), true).unwrap();
        assert_eq!((end.bytes, end.blocks), (0, 0));
        assert_eq!(mover.report().account.copied, 200);
    }

    #[test]
    fn a_message_that_does_not_fit_is_an_error_and_not_truncated() {
        let (here, there) = pair();
        here.send(&[7; 101]).unwrap();
        let error = PacketReceiver::new(100)
            .receive(there.as_fd(), true)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "a message of 101 bytes exceeds the block size of 100"
        );
    }
}

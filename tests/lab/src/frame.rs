//! The messages of the harness and the agent in a guest, over the guest's serial port.
//!
//! ```text
//! kind: 1 byte │ process: 4 bytes │ length: 4 bytes │ the bytes          (numbers little-endian)
//! ```
//!
//! The harness chooses the numbers of processes. Bytes of several processes may come in any order, those of one
//! stream of one process come in theirs.

use std::io::{self, Read, Write};

/// Nothing that either end sends is longer.
const LONGEST: usize = 64 * 1024;

/// What a frame means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The agent is there; its bytes are the release of the kernel. Process 0.
    Hello = 1,
    /// To the agent: run these bytes as a command of the shell, with nothing on standard input.
    Run = 2,
    /// To the agent: the same, with [`Kind::Input`] on standard input.
    RunWithInput = 3,
    /// To the agent: bytes of standard input; none at all close it.
    Input = 4,
    /// To the agent: send the signal with this number (4 bytes) to the process and its children.
    Signal = 5,
    /// Bytes of standard output.
    Output = 6,
    /// Bytes of standard error.
    Error = 7,
    /// The process has ended, and this is how (4 bytes, as `wait` writes it).
    End = 8,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// What it means.
    pub kind: Kind,
    /// Which process it is about.
    pub process: u32,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// A frame.
    pub(super) fn new(kind: Kind, process: u32, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self {
            kind,
            process,
            bytes,
        }
    }

    /// A number that the frame carries.
    pub(super) fn number(&self) -> Option<i32> {
        let bytes = self.bytes.as_slice().try_into().ok()?;
        Some(i32::from_le_bytes(bytes))
    }

    /// Writes it in one go; longer bytes than fit are cut into several frames.
    pub(super) fn write_to(&self, sink: &mut impl Write) -> io::Result<()> {
        if self.bytes.is_empty() {
            return sink.write_all(&self.with_header(&[]));
        }
        self.bytes
            .chunks(LONGEST)
            .try_for_each(|part| sink.write_all(&self.with_header(part)))
    }

    /// Reads one.
    pub(super) fn read_from(source: &mut impl Read) -> io::Result<Self> {
        let mut kind = [0];
        let (mut process, mut length) = ([0; 4], [0; 4]);
        source.read_exact(&mut kind)?;
        source.read_exact(&mut process)?;
        source.read_exact(&mut length)?;
        let kind = kind[0];
        let kind = Kind::of(kind).ok_or_else(|| wrong(format!("a frame of kind {kind}")))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST {
            return Err(wrong(format!("a frame of {length} bytes")));
        }
        let mut bytes = vec![0; length];
        source.read_exact(&mut bytes)?;
        Ok(Self::new(kind, u32::from_le_bytes(process), bytes))
    }

    fn with_header(&self, part: &[u8]) -> Vec<u8> {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        let mut whole = vec![self.kind as u8];
        whole.extend(self.process.to_le_bytes());
        whole.extend(length.to_le_bytes());
        whole.extend(part);
        whole
    }
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        use Kind::{End, Error, Hello, Input, Output, Run, RunWithInput, Signal};
        [Hello, Run, RunWithInput, Input, Signal, Output, Error, End]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

fn wrong(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        let long = vec![7; LONGEST + 1];
        let mut wire = Vec::new();
        let frames = [
            Frame::new(Kind::Run, 5, "true"),
            Frame::new(Kind::Input, 5, []),
            Frame::new(Kind::End, 6, (-2_i32).to_le_bytes()),
        ];
        for frame in &frames {
            frame.write_to(&mut wire).unwrap();
        }
        Frame::new(Kind::Output, 9, long.clone())
            .write_to(&mut wire)
            .unwrap();
        let mut rest = wire.as_slice();
        let mut next = || Frame::read_from(&mut rest).unwrap();
        for frame in frames {
            assert_eq!(next(), frame);
        }
        assert_eq!(next().bytes, long[..LONGEST]);
        assert_eq!(next(), Frame::new(Kind::Output, 9, [7]));
        assert!(Frame::read_from(&mut rest).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        let read = |wire: &[u8]| Frame::read_from(&mut { wire }).unwrap_err().to_string();
        assert_eq!(read(&[99, 0, 0, 0, 0, 0, 0, 0, 0]), "a frame of kind 99");
        assert_eq!(
            read(&[1, 0, 0, 0, 0, 0, 0, 0, 1]),
            "a frame of 16777216 bytes"
        );
    }
}

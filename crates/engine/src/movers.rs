//! The choice of a mover: once per stream, by what the test asks for, what its socket is, and what the kernel can do.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use iperf_model::{CopyMode, ReceiveMode, SendMode, TestConfig, Transport};
use iperf_zc::receive::{CopyReceiver, FileReceiver, ReceiveMover, TruncReceiver};
use iperf_zc::sctp::MessageReceiver;
use iperf_zc::send::{CopySender, FileSender, FileSendfileSender, SendMover, SendfileSender};
use iperf_zc::source::Source;
use iperf_zc::udp::{DatagramReceiver, DatagramSender, OffloadReceiver};
use iperf_zc::verify::Verifier;

use crate::datagrams::{self, DatagramCounters};
use crate::modes::Modes;
use crate::{EngineError, payload};

/// The file of `-F`: read by a sender, made anew by a receiver.
pub(crate) fn open(path: &Path, sending: bool) -> Result<(File, String), EngineError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    if sending {
        options.read(true);
    } else {
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600);
    }
    let file = options.open(path).map_err(|source| EngineError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok((file, path.to_string_lossy().into_owned()))
}

fn duplicate(file: &File) -> Result<File, EngineError> {
    file.try_clone()
        .map_err(EngineError::system("duplicate the file"))
}

/// What the choice depends on besides the test.
pub(crate) struct Place<'a> {
    pub(crate) config: &'a TestConfig,
    /// The stream's id on the wire.
    pub(crate) stream: u32,
    pub(crate) socket: BorrowedFd<'a>,
    pub(crate) file: Option<&'a File>,
    /// Whether the socket cuts datagrams itself, or brings many at a time.
    pub(crate) offload: bool,
}

/// A mover and how it is to move.
pub(crate) struct Chosen<M: ?Sized> {
    pub(crate) mover: Box<M>,
    pub(crate) modes: Modes,
}

impl Place<'_> {
    fn length(&self) -> usize {
        self.config.block as usize
    }

    /// What the blocks are made of.
    fn source(&self) -> Result<Source, EngineError> {
        let source = if self.config.verify {
            Source::pattern(self.stream, self.length())
        } else {
            Source::repeat(&payload::block(self.config.payload, self.length()))
        };
        source.map_err(EngineError::system("prepare the block"))
    }

    fn verifier(&self) -> Option<Verifier> {
        self.config.verify.then(|| Verifier::new(self.stream))
    }

    /// Chooses the mover of a sending stream.
    pub(crate) fn sender(&self) -> Result<Chosen<dyn SendMover>, EngineError> {
        let requested = self.config.zerocopy.send;
        if self.config.transport == Transport::Udp {
            let payload = payload::block(self.config.payload, self.length());
            let stamp = datagrams::stamp(self.config.udp.counters_64bit);
            let mover = DatagramSender::new(&payload, self.offload, stamp);
            return Ok(sends(mover, Modes::new(requested, CopyMode::Copy)));
        }
        if let Some(file) = self.file {
            let file = duplicate(file)?;
            if requested == SendMode::Copy {
                let mover = FileSender::new(file, self.length());
                return Ok(sends(mover, Modes::new(requested, CopyMode::Copy)));
            }
            let mover = FileSendfileSender::new(file, self.length())
                .map_err(EngineError::system("prepare sendfile"))?;
            return Ok(sends(mover, Modes::new(requested, CopyMode::Sendfile)));
        }
        let source = self.source()?;
        Ok(match requested {
            SendMode::Copy => sends(
                CopySender::new(source),
                Modes::new(requested, CopyMode::Copy),
            ),
            _ => sends(
                SendfileSender::new(source),
                Modes::new(requested, CopyMode::Sendfile),
            ),
        })
    }

    /// Chooses the mover of a stream that receives bytes.
    pub(crate) fn receiver(&self) -> Result<Chosen<dyn ReceiveMover>, EngineError> {
        let requested = self.config.zerocopy.receive;
        let length = self.length();
        if let Some(file) = self.file {
            let mover = FileReceiver::new(duplicate(file)?, length);
            return Ok(self.whole(receives(mover, Modes::new(requested, CopyMode::Copy))));
        }
        let chosen = match requested {
            ReceiveMode::Trunc => receives(
                TruncReceiver::new(length),
                Modes::new(requested, CopyMode::Trunc),
            ),
            _ => {
                let mover = CopyReceiver::new(length);
                let mover = match self.verifier() {
                    Some(verifier) => mover.verified(verifier),
                    None => mover,
                };
                receives(mover, Modes::new(requested, CopyMode::Copy))
            }
        };
        Ok(self.whole(chosen))
    }

    /// SCTP hands out messages, whose notifications are no data.
    fn whole(&self, chosen: Chosen<dyn ReceiveMover>) -> Chosen<dyn ReceiveMover> {
        match self.config.transport {
            Transport::Sctp => Chosen {
                mover: Box::new(MessageReceiver::new(chosen.mover)),
                modes: chosen.modes,
            },
            _ => chosen,
        }
    }

    /// Chooses the mover of a stream that receives datagrams.
    pub(crate) fn datagram_receiver(
        &self,
        counters: Arc<DatagramCounters>,
    ) -> Chosen<dyn ReceiveMover> {
        let requested = self.config.zerocopy.receive;
        let look = datagrams::look(counters, self.config.udp.counters_64bit);
        let skip = requested == ReceiveMode::Trunc;
        if self.offload {
            return receives(
                OffloadReceiver::new(look),
                Modes::new(requested, CopyMode::Copy),
            );
        }
        let mode = if skip {
            CopyMode::Trunc
        } else {
            CopyMode::Copy
        };
        receives(
            DatagramReceiver::new(skip, look),
            Modes::new(requested, mode),
        )
    }
}

fn sends(mover: impl SendMover + 'static, modes: Modes) -> Chosen<dyn SendMover> {
    let mover = Box::new(mover);
    Chosen { mover, modes }
}

fn receives(mover: impl ReceiveMover + 'static, modes: Modes) -> Chosen<dyn ReceiveMover> {
    let mover = Box::new(mover);
    Chosen { mover, modes }
}

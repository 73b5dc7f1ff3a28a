//! Chooses a stream's mover, once: by the test's request, the kind of socket, and what the kernel can do.

mod uring;

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::Arc;

use iperf_model::{
    Batching, CopyMode, Io, LocalOptions, MAX_STREAMS, ReceiveMode, Role, SendMode, TestConfig,
    Transport,
};
use iperf_zc::probe;
use iperf_zc::receive::map::{self, MapOptions};
use iperf_zc::receive::message::MessageReceiver;
use iperf_zc::receive::packet::PacketReceiver;
use iperf_zc::receive::splice::SpliceReceiver;
use iperf_zc::receive::uring::UringReceiver;
use iperf_zc::receive::{CopyReceiver, FileReceiver, MOST_DROPPED, ReceiveMover, TruncReceiver};
use iperf_zc::send::msg::MsgSender;
use iperf_zc::send::splice::SpliceSender;
use iperf_zc::send::uring::UringSender;
use iperf_zc::send::{CopySender, FileSender, FileSendfileSender, SendMover, SendfileSender};
use iperf_zc::source::{self, Source};
use iperf_zc::udp::msg::DatagramMsgSender;
use iperf_zc::udp::{BatchingInUse, DatagramReceiver, DatagramSender, Receive};
use iperf_zc::verify::Verifier;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::datagrams::{self, DatagramCounters, HeaderReader, Passage};
use crate::error::EngineError;
use crate::modes::Modes;
use crate::worker::cut::Cut;
use crate::worker::payload;

/// The file of `-F`: read by a sender, created or truncated by a receiver. It may be a pipe: opening one never waits
/// for its other end, which a reader does not need yet.
pub(crate) fn open_file(
    local: &LocalOptions,
    role: Role,
) -> Result<Option<(File, String)>, EngineError> {
    let Some(path) = &local.file else {
        return Ok(None);
    };
    let is_pipe = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    let mut options = File::options();
    options.custom_flags(OFlag::O_NONBLOCK.bits());
    if role.sends() {
        options.read(true);
    } else if is_pipe {
        options.write(true);
    } else {
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600);
    }
    let failed = |source| EngineError::File {
        path: path.clone(),
        source,
    };
    let file = options.open(path).map_err(failed)?;
    // A directory can be opened, too, but not be read.
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    // Workers block, and are woken.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).map_err(|errno| failed(errno.into()))?;
    Ok(Some((file, path.to_string_lossy().into_owned())))
}

fn duplicate(file: &File) -> Result<File, EngineError> {
    file.try_clone()
        .map_err(EngineError::system("duplicate the file"))
}

/// Why messages do not go through a pipe.
const CUTS_MESSAGES: &str = "sendfile and splice would cut messages into pages";

/// What the choice depends on in addition to the test.
pub(crate) struct MoverContext<'a> {
    pub(crate) config: &'a TestConfig,
    /// The stream's id on the wire.
    pub(crate) stream: u32,
    pub(crate) socket: BorrowedFd<'a>,
    pub(crate) file: Option<&'a File>,
    /// What all streams send that copy, once one of them needs it.
    pub(crate) shared_block: &'a OnceCell<Source>,
    /// How datagrams are to pass through the kernel, and where their mover records how they do.
    pub(crate) passage: Passage,
    pub(crate) batching: Arc<BatchingInUse>,
    /// Where the omitted period ends in the stream, and whether datagrams behind it are marked.
    pub(crate) cut: Option<Arc<Cut>>,
    pub(crate) marks: bool,
    /// How the bytes are to get in and out of the kernel.
    pub(crate) io: Io,
    /// The stream's worker is not alone on its thread.
    pub(crate) shares_thread: bool,
}

/// What the buffers of all receivers that keep what they read, if only to check it, may take together, in bytes: with many
/// streams that is less than a block each.
const ROOM: usize = 1536 * 1024;

/// What one of them has at least, a segment, and at most.
const LEAST_ROOM: usize = 64 * 1024;
const MOST_ROOM: usize = MOST_DROPPED;

/// Whether receivers of the transport may have a low-water mark: byte streams do, messages come one by one.
pub(crate) fn brings_bytes(transport: Transport) -> bool {
    !matches!(transport, Transport::Udp | Transport::Sctp)
}

/// A mover and how it is to move.
pub(crate) struct Chosen<M: ?Sized> {
    pub(crate) mover: Box<M>,
    pub(crate) modes: Modes,
}

impl MoverContext<'_> {
    fn length(&self) -> usize {
        self.config.block as usize
    }

    /// What the blocks are made of.
    ///
    /// Streams that copy share them. Those that pass pages do not: each would change the same pages' reference counts.
    fn source(&self, mode: SendMode) -> Result<Source, EngineError> {
        let failed = EngineError::system("prepare the block");
        let needed = |source: Source| match mode {
            SendMode::Copy => source.without_file(),
            _ => source,
        };
        if self.config.verify {
            let source = Source::pattern(self.stream, self.length());
            return source.map(needed).map_err(failed);
        }
        if let Some(source) = self.shared_block.get()
            && mode == SendMode::Copy
        {
            return Ok(source.clone());
        }
        let block = payload::block(self.config.payload, self.length());
        let source = Source::repeat(&block).map(needed).map_err(failed)?;
        if mode == SendMode::Copy {
            return Ok(self.shared_block.get_or_init(|| source).clone());
        }
        Ok(source)
    }

    /// The most that a receiver reads in one call. A block is what one call sends; a receiver takes what is there, as
    /// far as its buffer goes. Messages are taken one by one.
    pub(crate) fn room(&self) -> usize {
        match self.config.transport {
            Transport::Sctp => self.length(),
            // Streams that share a thread take turns: the less each takes, the more evenly they advance.
            _ if self.drops() && self.config.streams <= MAX_STREAMS => MOST_ROOM,
            _ => (ROOM / usize::from(self.config.streams.max(1))).clamp(LEAST_ROOM, MOST_ROOM),
        }
    }

    /// Whether received data is not read.
    fn drops(&self) -> bool {
        self.file.is_none()
            && !self.config.verify
            && self.config.zerocopy.receive == ReceiveMode::Copy
    }

    /// Whether a low-water mark may help the stream's receiver: it does where `recv(2)` is used, and a mapping receiver
    /// may fall back to it. With `splice(2)` waiting gains nothing.
    pub(crate) fn may_use_recv(&self) -> bool {
        brings_bytes(self.config.transport)
            && (self.file.is_some() || self.config.zerocopy.receive != ReceiveMode::Splice)
    }

    fn verifier(&self) -> Option<Verifier> {
        self.config.verify.then(|| Verifier::new(self.stream))
    }

    /// Whether segments may be filled over the borders of blocks. With `TCP_NODELAY` everything goes at once.
    fn joins(&self) -> bool {
        self.config.transport.is_tcp() && !self.config.socket.no_delay
    }

    /// Chooses the mover of a sending stream.
    pub(crate) fn sender(&self) -> Result<Chosen<dyn SendMover>, EngineError> {
        let requested = self.config.zerocopy.send;
        if self.config.transport == Transport::Udp {
            return self.datagram_sender();
        }
        if let Some(file) = self.file {
            return self.file_sender(file);
        }
        let (mode, reason) = match requested {
            SendMode::Auto => self.best_way_to_send(),
            SendMode::Sendfile | SendMode::Splice if self.sends_messages() => {
                (SendMode::Copy, Some(CUTS_MESSAGES.to_owned()))
            }
            other => (other, None),
        };
        let source = self.source(mode)?;
        let io = self.io_of_sender(mode);
        let by_ring = io == Some(Ok(()));
        let modes = Modes::new(requested, mode.into()).because(reason);
        let modes = modes.through(io);
        let prepare = EngineError::system("prepare to send without copying");
        Ok(match mode {
            SendMode::Copy if by_ring => {
                sends(UringSender::bundles(source).joined(self.joins()), modes)
            }
            SendMode::Msg if by_ring => sends(UringSender::zerocopy(source), modes),
            SendMode::Copy => sends(CopySender::new(source).joined(self.joins()), modes),
            SendMode::Auto | SendMode::Sendfile => sends(SendfileSender::new(source), modes),
            SendMode::Splice => {
                let mover = SpliceSender::new(source).map_err(prepare)?;
                sends(mover.joined(self.joins()), modes)
            }
            SendMode::Msg => {
                let mover = MsgSender::new(source, self.socket).map_err(prepare)?;
                sends(mover, modes)
            }
        })
    }

    /// Whether a block is a message, and not any part of a stream of bytes.
    fn sends_messages(&self) -> bool {
        self.config.transport == Transport::VsockSeqpacket
    }

    /// What `-Z` alone means: a mode that avoids the copy, and where none does, iperf3's `sendfile`. Over TCP `splice`
    /// is cheaper than that: the pages of a block come from a mapping, not from the page cache, and in fewer pieces.
    fn best_way_to_send(&self) -> (SendMode, Option<String>) {
        if self.config.zerocopy.receive == ReceiveMode::Mmap
            && probe::is_mapped_vsock_loopback(self.socket)
        {
            let reason = "the receiver maps what is copied once, and could not map MSG_ZEROCOPY's";
            return (SendMode::Copy, Some(reason.to_owned()));
        }
        let supports = |mode| probe::send_support(self.socket, mode);
        if self.config.transport == Transport::Tcp && supports(SendMode::Splice).is_ok() {
            return (SendMode::Splice, None);
        }
        if self.sends_messages() {
            return match supports(SendMode::Msg) {
                Ok(()) => (SendMode::Msg, None),
                Err(reason) => (SendMode::Copy, Some(reason.to_string())),
            };
        }
        // Where neither avoids the copy, iperf3's mode is as good.
        match (supports(SendMode::Sendfile), supports(SendMode::Msg)) {
            (Err(_), Ok(())) => (SendMode::Msg, None),
            (Err(_), Err(reason)) if self.config.transport.is_vsock() => {
                (SendMode::Copy, Some(reason.to_string()))
            }
            _ => (SendMode::Sendfile, None),
        }
    }

    fn datagram_sender(&self) -> Result<Chosen<dyn SendMover>, EngineError> {
        let requested = self.config.zerocopy.send;
        let payload = if self.config.verify {
            source::pattern(self.stream)[..self.length()].to_vec()
        } else {
            payload::block(self.config.payload, self.length())
        };
        let cut = self.cut.clone().filter(|_| self.marks);
        let stamp = datagrams::stamp(self.config.udp.counters_64bit, cut);
        if requested == SendMode::Msg {
            let offload = self.passage.batching == Batching::Packets;
            let mover = DatagramMsgSender::new(&payload, offload, stamp, self.socket)
                .map_err(EngineError::system("prepare MSG_ZEROCOPY"))?;
            let modes = self.by_calls(requested, CopyMode::Msg);
            return Ok(sends(mover, modes));
        }
        let reason = (requested != SendMode::Copy)
            .then(|| "datagrams go by copy unless --zerocopy=msg".to_owned());
        let together = self.passage.together;
        let mover = DatagramSender::new(&payload, together, self.batching.clone(), stamp);
        let modes = self.by_calls(requested, CopyMode::Copy).because(reason);
        Ok(sends(mover, modes))
    }

    fn file_sender(&self, file: &File) -> Result<Chosen<dyn SendMover>, EngineError> {
        let requested = self.config.zerocopy.send;
        let file = duplicate(file)?;
        let modes = |mode| self.by_calls(requested, mode);
        let reason = match requested {
            _ if self.sends_messages() => {
                let reason = (requested != SendMode::Copy).then(|| CUTS_MESSAGES.to_owned());
                let mover = FileSender::new(file, self.length());
                return Ok(sends(mover, modes(CopyMode::Copy).because(reason)));
            }
            SendMode::Copy => {
                let mover = FileSender::new(file, self.length());
                return Ok(sends(mover, modes(CopyMode::Copy)));
            }
            SendMode::Splice | SendMode::Msg => Some("a file goes by sendfile".to_owned()),
            SendMode::Auto | SendMode::Sendfile => None,
        };
        let mover = FileSendfileSender::new(file, self.length())
            .map_err(EngineError::system("prepare sendfile"))?;
        Ok(sends(mover, modes(CopyMode::Sendfile).because(reason)))
    }

    /// Chooses the mover of a stream that receives bytes.
    pub(crate) fn receiver(&self) -> Result<Chosen<dyn ReceiveMover>, EngineError> {
        let requested = self.config.zerocopy.receive;
        let length = self.length();
        if self.sends_messages() {
            let file = self.file.map(duplicate).transpose()?;
            let mover = PacketReceiver::new(length).verified(self.verifier());
            let reason = (requested != ReceiveMode::Copy)
                .then(|| "a message is taken as a whole, by copy".to_owned());
            let modes = self.by_calls(requested, CopyMode::Copy).because(reason);
            return Ok(receives(mover.into_file(file), modes));
        }
        if let Some(file) = self.file {
            let mover = FileReceiver::new(duplicate(file)?, length).with_room(self.room());
            let reason = (requested != ReceiveMode::Copy)
                .then(|| "a file is written from a copy".to_owned());
            let modes = self.by_calls(requested, CopyMode::Copy).because(reason);
            return Ok(self.whole(receives(mover, modes)));
        }
        let io = self.io_of_receiver();
        let by_ring = io == Some(Ok(()));
        let modes = Modes::new(requested, requested.into()).through(io);
        let prepare = EngineError::system("prepare to receive without copying");
        let chosen = match requested {
            ReceiveMode::Copy => {
                let mover = CopyReceiver::new(length).with_room(self.room());
                let mover = match self.verifier() {
                    Some(verifier) => mover.verified(verifier),
                    None if self.config.streams > 1 => mover.dropping(),
                    None => mover,
                };
                if by_ring {
                    receives(UringReceiver::new(mover), modes)
                } else {
                    receives(mover, modes)
                }
            }
            ReceiveMode::Mmap => {
                let options = MapOptions {
                    room: self.room(),
                    senders_pages: self.config.zerocopy.send == SendMode::Msg
                        && probe::is_vsock_loopback(self.socket),
                    ..MapOptions::new(length)
                };
                let mover = map::receiver(self.socket, &options, self.verifier());
                let mover = mover.map_err(prepare)?;
                Chosen { mover, modes }
            }
            ReceiveMode::Trunc => {
                let mover = TruncReceiver::new(length).with_room(MOST_ROOM);
                receives(mover, modes)
            }
            ReceiveMode::Splice => receives(SpliceReceiver::new(length).map_err(prepare)?, modes),
        };
        Ok(self.whole(chosen))
    }

    /// SCTP receives messages, and its notifications are not data.
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
        let mode = match self.passage.receive {
            Receive::Header => CopyMode::Trunc,
            Receive::Whole | Receive::Merged => CopyMode::Copy,
        };
        let reason = match (requested, mode) {
            (ReceiveMode::Copy, _) | (_, CopyMode::Trunc) => None,
            (ReceiveMode::Trunc, _) => Some("datagrams that come joined are copied".to_owned()),
            _ => Some(format!(
                "there is no {} for UDP",
                CopyMode::from(requested).name()
            )),
        };
        let modes = self.by_calls(requested, mode).because(reason);
        let reader = HeaderReader::new(counters, self.config.udp.counters_64bit);
        let reader = reader.verified(self.verifier()).marked(self.marks);
        let mover = DatagramReceiver::new(self.passage.receive, self.batching.clone(), reader);
        receives(mover, modes)
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

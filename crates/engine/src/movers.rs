//! The choice of a mover: once per stream, by what the test asks for.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use iperf_model::{TestConfig, Transport};
use iperf_zc::receive::{CopyReceiver, FileReceiver, ReceiveMover, TruncReceiver};
use iperf_zc::sctp::MessageReceiver;
use iperf_zc::send::{CopySender, FileSender, FileSendfileSender, SendMover, SendfileSender};
use iperf_zc::udp::{DatagramReceiver, DatagramSender, OffloadReceiver};

use crate::datagrams::{self, DatagramCounters};
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

/// Chooses the mover of a sending stream. `gso` says whether its socket cuts datagrams itself.
pub(crate) fn sender(
    config: &TestConfig,
    file: Option<&File>,
    gso: bool,
) -> Result<Box<dyn SendMover>, EngineError> {
    let length = config.block as usize;
    let sendfile = EngineError::system("prepare sendfile");
    if config.transport == Transport::Udp {
        let payload = payload::block(config.payload, length);
        let stamp = datagrams::stamp(config.udp.counters_64bit);
        return Ok(Box::new(DatagramSender::new(&payload, gso, stamp)));
    }
    Ok(match (file, config.zerocopy) {
        (Some(file), false) => Box::new(FileSender::new(duplicate(file)?, length)),
        (Some(file), true) => {
            Box::new(FileSendfileSender::new(duplicate(file)?, length).map_err(sendfile)?)
        }
        (None, false) => Box::new(CopySender::new(payload::block(config.payload, length))),
        (None, true) => {
            let payload = payload::block(config.payload, length);
            Box::new(SendfileSender::new(&payload).map_err(sendfile)?)
        }
    })
}

/// What the buffers of all receivers together may take, in bytes, beyond a block each.
const ROOM: usize = 1024 * 1024;

/// The most that a receiver takes in one call. The block is what one call sends; a receiver takes what is there, as far
/// as its buffer goes, and the buffers of many streams are not to be larger than iperf3's.
pub(crate) fn room(config: &TestConfig) -> usize {
    let share = ROOM / usize::from(config.streams.max(1));
    share.max(config.block as usize)
}

/// Chooses the mover of a receiving byte stream.
pub(crate) fn receiver(
    config: &TestConfig,
    file: Option<&File>,
) -> Result<Box<dyn ReceiveMover>, EngineError> {
    let length = config.block as usize;
    let mover: Box<dyn ReceiveMover> = match file {
        Some(file) => Box::new(FileReceiver::new(duplicate(file)?, length)),
        None if config.skip_rx_copy => Box::new(TruncReceiver::new(length).with_room(room(config))),
        None if config.transport == Transport::Sctp => Box::new(CopyReceiver::new(length)),
        None => Box::new(CopyReceiver::new(length).with_room(room(config))),
    };
    Ok(match config.transport {
        Transport::Sctp => Box::new(MessageReceiver::new(mover)),
        _ => mover,
    })
}

/// Chooses the mover of a stream that receives datagrams. `gro` says whether its socket brings many at a time.
pub(crate) fn datagram_receiver(
    config: &TestConfig,
    gro: bool,
    counters: Arc<DatagramCounters>,
) -> Box<dyn ReceiveMover> {
    let look = datagrams::look(counters, config.udp.counters_64bit);
    if gro {
        Box::new(OffloadReceiver::new(look))
    } else {
        Box::new(DatagramReceiver::new(config.skip_rx_copy, look))
    }
}

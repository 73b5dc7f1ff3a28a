//! The choice of a mover: once per stream, by what the test asks for.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use iperf_model::{TestConfig, Transport};
use iperf_zc::receive::{CopyReceiver, FileReceiver, ReceiveMover, TruncReceiver};
use iperf_zc::sctp::MessageReceiver;
use iperf_zc::send::{CopySender, FileSender, FileSendfileSender, SendMover, SendfileSender};
use iperf_zc::udp::{DatagramReceiver, DatagramSender, WayTaken};

use crate::datagrams::{self, DatagramCounters, HeaderReader, Passage};
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

/// Chooses the mover of a sending stream.
pub(crate) fn sender(
    config: &TestConfig,
    file: Option<&File>,
) -> Result<Box<dyn SendMover>, EngineError> {
    let length = config.block as usize;
    let sendfile = EngineError::system("prepare sendfile");
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

/// Chooses the mover of a receiving byte stream.
pub(crate) fn receiver(
    config: &TestConfig,
    file: Option<&File>,
) -> Result<Box<dyn ReceiveMover>, EngineError> {
    let length = config.block as usize;
    let mover: Box<dyn ReceiveMover> = match file {
        Some(file) => Box::new(FileReceiver::new(duplicate(file)?, length)),
        None if config.skip_rx_copy => Box::new(TruncReceiver::new(length)),
        None => Box::new(CopyReceiver::new(length)),
    };
    Ok(match config.transport {
        Transport::Sctp => Box::new(MessageReceiver::new(mover)),
        _ => mover,
    })
}

/// Makes the mover of a stream that sends datagrams.
pub(crate) fn datagram_sender(
    config: &TestConfig,
    passage: Passage,
    taken: Arc<WayTaken>,
) -> Box<dyn SendMover> {
    let payload = payload::block(config.payload, config.block as usize);
    let stamp = datagrams::stamp(config.udp.counters_64bit);
    Box::new(DatagramSender::new(
        &payload,
        passage.together,
        taken,
        stamp,
    ))
}

/// Makes the mover of a stream that receives datagrams.
pub(crate) fn datagram_receiver(
    config: &TestConfig,
    passage: Passage,
    taken: Arc<WayTaken>,
    counters: Arc<DatagramCounters>,
) -> Box<dyn ReceiveMover> {
    let reader = HeaderReader::new(counters, config.udp.counters_64bit);
    Box::new(DatagramReceiver::new(passage.take, taken, reader))
}

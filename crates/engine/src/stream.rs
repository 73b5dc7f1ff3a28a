//! A connected data stream that has not yet moved any data.

use iperf_model::{Buffers, StreamInfo};
use socket2::Socket;

use crate::datagrams::Passage;

/// How a stream is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Closing {
    /// At once: whatever is under way, the kernel ends the connection behind the programs' backs.
    #[default]
    AtOnce,
    /// Once both ends have shut down: a proxy in between would otherwise see a reset. The streams carry bytes one way
    /// only, so half-closing a sender ends all its data.
    Graceful,
}

/// A connected socket with what is known about it.
#[derive(Debug)]
pub struct Stream {
    /// How output names it.
    pub info: StreamInfo,
    /// The socket, in blocking mode.
    pub socket: Socket,
    /// Its buffers, as requested and as the kernel set them.
    pub buffers: Buffers,
    /// The congestion control that it uses.
    pub congestion: Option<String>,
    /// Whether UDP segmentation offload is on.
    pub gso: bool,
    /// Whether UDP receive offload is on.
    pub gro: bool,
    /// How it is closed when the test is over.
    pub closing: Closing,
    /// How its datagrams are to go through the kernel.
    pub(crate) passage: Passage,
}

impl Stream {
    /// A stream without congestion control and without offload, which is closed at once.
    pub(crate) fn new(info: StreamInfo, socket: Socket, buffers: Buffers) -> Self {
        Self {
            info,
            socket,
            buffers,
            congestion: None,
            gso: false,
            gro: false,
            closing: Closing::AtOnce,
            passage: Passage::default(),
        }
    }
}

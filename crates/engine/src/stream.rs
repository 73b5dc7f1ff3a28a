//! A data stream that stands and has not yet moved anything.

use iperf_model::{Buffers, StreamInfo};
use socket2::Socket;

use crate::datagrams::Passage;

/// A connected socket with what is known about it.
#[derive(Debug)]
pub struct Stream {
    /// How output names it.
    pub info: StreamInfo,
    /// The socket, in blocking mode.
    pub socket: Socket,
    /// Its buffers as asked for and kept.
    pub buffers: Buffers,
    /// The congestion control that it uses.
    pub congestion: Option<String>,
    /// Whether UDP segmentation offload is on.
    pub gso: bool,
    /// Whether UDP receive offload is on.
    pub gro: bool,
    /// How its datagrams are to go through the kernel.
    pub(crate) passage: Passage,
}

impl Stream {
    /// A stream without congestion control and without offload.
    pub(crate) fn new(info: StreamInfo, socket: Socket, buffers: Buffers) -> Self {
        Self {
            info,
            socket,
            buffers,
            congestion: None,
            gso: false,
            gro: false,
            passage: Passage::default(),
        }
    }
}

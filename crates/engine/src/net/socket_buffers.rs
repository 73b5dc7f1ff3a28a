//! The buffers of a test's data sockets, which a client reports even if it can't connect them.

use std::sync::{Arc, Mutex, PoisonError};

use iperf_model::Buffers;

/// What the kernel gave the latest socket, once there is one. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct SocketBuffers(Arc<Mutex<Option<Buffers>>>);

impl SocketBuffers {
    /// A socket has these buffers.
    pub(crate) fn note(&self, buffers: Buffers) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(buffers);
    }

    /// Those of the latest socket.
    pub fn get(&self) -> Option<Buffers> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Telling a client that there is no test for it.
//!
//! The server reports first, and then tells the client: whatever a client knows is in the server's output, even if the
//! server is stopped at that moment.

use iperf_control::Conversation;
use iperf_proto::server::Server;
use tokio::sync::OwnedSemaphorePermit;

use crate::slots::Slot;

/// A client that has not been told yet. The machine holds its last message.
pub(crate) struct Farewell {
    talk: Conversation<Server>,
    slot: Option<Slot>,
    /// Its streams, which are closed after the message.
    streams: Box<dyn Send>,
    permit: Option<OwnedSemaphorePermit>,
    is_brief: bool,
}

impl Farewell {
    /// To a client that may hold a slot and streams.
    pub(crate) fn new(
        talk: Conversation<Server>,
        slot: Option<Slot>,
        streams: impl Send + 'static,
    ) -> Box<Self> {
        Box::new(Self {
            talk,
            slot,
            streams: Box::new(streams),
            permit: None,
            is_brief: false,
        })
    }

    /// Waits until the client has closed its side only with a permit for that.
    pub(crate) fn if_permitted(
        mut self: Box<Self>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Box<Self> {
        self.is_brief = permit.is_none();
        self.permit = permit;
        self
    }

    /// Sends the message and closes everything.
    pub(crate) async fn say(mut self) {
        // The client may try again as soon as it knows.
        drop(self.slot);
        let _ = self.talk.flush().await;
        drop(self.streams);
        if !self.is_brief {
            self.talk.close(None).await;
        }
        drop(self.permit);
    }
}

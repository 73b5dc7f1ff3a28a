//! Telling a client that there is no test for it.
//!
//! The server reports first and tells the client then: what a client knows stands in the server's output, also when the
//! server is stopped at that moment.

use iperf_control::Conversation;
use iperf_proto::server::Server;
use tokio::sync::OwnedSemaphorePermit;

use crate::slots::Slot;

/// A client that has not been told yet. Its last message is in the machine.
pub(crate) struct Farewell {
    talk: Conversation<Server>,
    slot: Option<Slot>,
    /// What is closed after the message: its streams.
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
    ) -> Self {
        Self {
            talk,
            slot,
            streams: Box::new(streams),
            permit: None,
            is_brief: false,
        }
    }

    /// Keeps the permit to wait until the client has closed its side.
    pub(crate) fn with_permit(self, permit: OwnedSemaphorePermit) -> Self {
        let permit = Some(permit);
        Self { permit, ..self }
    }

    /// Does not wait until the client has closed its side.
    pub(crate) fn brief(self) -> Self {
        let is_brief = true;
        Self { is_brief, ..self }
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

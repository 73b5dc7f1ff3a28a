//! What becomes of a fresh connection: its cookie is read, and it is handed to its handshake, begins one, or is refused.

use iperf_control::{Stop, Wire};
use iperf_model::{ServerCounters, SocketName};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::{Instrument, info_span};

use super::{Server, TaskEvent};
use crate::error::TestError;
use crate::handshake::{self, Dropped, NewClient};
use crate::identify::{self, Identified};
use crate::tasks;
use crate::waiting::Origin;

/// What is known when no slot is free for a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Availability {
    /// The client of a test may have gone, and nobody has looked.
    Unknown,
    /// All slots are really taken.
    Known,
}

impl Server<'_> {
    /// Reads the cookie of a fresh connection, by which [`attach`](Self::attach) knows it.
    pub(super) fn read_cookie(&mut self, stream: Wire, peer: SocketName) {
        self.accepted += 1;
        let order = self.accepted;
        let (entry, displaced) = oneshot::channel();
        self.unidentified.insert(order, Origin::of(&peer), entry);
        let refusals = self.refusals.clone();
        let name = peer.clone();
        let lost = move || TaskEvent::Identified(None, name, order);
        tasks::spawn(self.sender.clone(), lost, async move {
            let identified = identify::read_cookie(stream, order, displaced, refusals).await;
            TaskEvent::Identified(identified, peer, order)
        });
    }

    /// Hands a connection to its handshake, begins one with it, or refuses it.
    pub(super) fn attach(
        &mut self,
        identified: Identified,
        peer: SocketName,
        stop: &Stop,
        places: Availability,
    ) {
        let known = self.opening.get(&identified.cookie);
        if let Some(connections) =
            known.or_else(|| self.awaiting_parameters.get(&identified.cookie))
        {
            if let Err(error) = connections.try_send(identified) {
                self.refusals.refuse(error.into_inner().stream);
            }
            return;
        }
        let origin = Origin::of(&peer);
        if self.is_draining || !self.slots.are_free_for(&origin, 1) {
            if places == Availability::Unknown
                && !(self.is_draining || self.config.one_off)
                && let Some(permit) = self.refusals.permit()
            {
                self.await_free(identified, peer, origin, permit);
            } else {
                self.refused();
                self.refusals.refuse(identified.stream);
            }
            return;
        }
        let Identified { cookie, stream, .. } = identified;
        ServerCounters::add(&self.counters.handshakes);
        let (entry, connections) = mpsc::channel(2 * usize::from(iperf_model::MAX_OWN_STREAMS));
        self.awaiting_parameters
            .insert(cookie.clone(), origin, entry);
        let (sender, stop) = (self.sender.clone(), stop.clone());
        let (accepted, accepted_cookie) = (sender.clone(), cookie.clone());
        let client = NewClient {
            cookie: cookie.clone(),
            peer,
            connections,
            config: self.config.clone(),
            listener: self.buffers,
            port_permits: self.port_permits.clone(),
            refusals: self.refusals.clone(),
            authorizer: self.authorizer.clone(),
            slots: (!self.is_sequential).then(|| self.slots.clone()),
            limit: handshake::HANDSHAKE_LIMIT,
            on_accepted: Box::new(move || {
                let _ = accepted.send(TaskEvent::Accepted(accepted_cookie.clone()));
            }),
        };
        let lost_cookie = cookie.clone();
        let lost = move || {
            TaskEvent::Handshake(lost_cookie, Err(Dropped::new(TestError::Panicked, false)))
        };
        let span = info_span!("handshake", %cookie);
        tasks::spawn(sender, lost, async move {
            let outcome = handshake::run(client, stream, stop).instrument(span).await;
            TaskEvent::Handshake(cookie, outcome)
        });
    }

    /// Asks the holders of the taken slots, and then attaches the client.
    fn await_free(
        &self,
        identified: Identified,
        peer: SocketName,
        origin: Origin,
        permit: OwnedSemaphorePermit,
    ) {
        let (sender, slots) = (self.sender.clone(), self.slots.clone());
        tokio::spawn(async move {
            slots.await_free(&origin, 1).await;
            drop(permit);
            // There is no receiver once the server has ended.
            drop(sender.send(TaskEvent::Waited(identified, peer)));
        });
    }
}

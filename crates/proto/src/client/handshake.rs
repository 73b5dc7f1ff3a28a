//! The handshake: parameters, what the server grants, and the streams.

use std::time::Instant;

use super::phase::{EarlyStart, Phase};
use super::{Action, Client, Failure};
use crate::{Granted, Params, State};

impl Client {
    /// Changes the parameters, which may depend on the connection. Has an effect until the server requests them.
    pub fn set_params(&mut self, params: Params) {
        self.params = params;
    }

    pub(super) fn send_params(&mut self, now: Instant) {
        self.session.link.send_json(&self.params.to_json());
        self.session.link.act(Action::ParamsSent);
        self.await_state(Phase::CreateStreams { may_grant: true }, now);
    }

    pub(super) fn on_granted(&mut self, granted: Result<Option<Granted>, String>, now: Instant) {
        match granted {
            Ok(None) => {}
            Ok(Some(granted)) => {
                self.session.grant(&granted);
                self.session.link.act(Action::Granted(Box::new(granted)));
                self.await_state(Phase::CreateStreams { may_grant: false }, now);
            }
            Err(detail) => self.fail(Failure::GrantedUnreadable(detail)),
        }
    }

    /// Whether the server has started the test while the driver still opens streams: it has them all.
    pub fn has_been_started(&self) -> bool {
        matches!(
            self.phase,
            Phase::Opening(EarlyStart::Started | EarlyStart::Running)
        )
    }

    /// All data streams are open.
    pub fn streams_opened(&mut self, now: Instant) {
        let Phase::Opening(early) = self.phase else {
            return;
        };
        self.await_state(Phase::Start, now);
        if early != EarlyStart::No {
            self.on_state(State::TestStart, now);
        }
        if early == EarlyStart::Running {
            self.on_state(State::TestRunning, now);
        }
    }
}

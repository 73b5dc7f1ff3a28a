//! New limits and logins for a server that runs.
//!
//! They are loaded where blocking is allowed and hold from then on as a whole. Tests that run, and handshakes that have
//! begun, keep what they began with. Whatever else a configuration holds stays as it is.

use std::sync::Arc;
use std::time::Instant;

use iperf_auth::{Authorizer, Padding};
use iperf_model::{Concurrency, Event, ServerAuth, ServerConfig};
use tokio::sync::{mpsc, oneshot};

use super::Server;
use crate::ServerError;
use crate::client_rates::ClientRates;
use crate::rate_watch::SharedRateWatch;

/// Limits and logins that are ready for use.
#[derive(Debug)]
pub struct Terms {
    config: ServerConfig,
    pub(super) authorizer: Option<Arc<Authorizer>>,
}

/// New terms, and where to report that they hold.
#[derive(Debug)]
pub struct Change {
    /// The terms.
    pub terms: Terms,
    /// Gets a message once they hold.
    pub done: oneshot::Sender<()>,
}

impl Terms {
    /// Takes the terms of a configuration and reads the key and the users of its logins. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// The key or the file of users can't be used; the error names the file.
    pub fn load(config: &ServerConfig) -> Result<Self, ServerError> {
        let authorizer = config.auth.as_ref().map(authorizer).transpose()?;
        Ok(Self {
            config: config.clone(),
            authorizer: authorizer.map(Arc::new),
        })
    }

    /// A warning, where a key is weak.
    pub(super) fn weakness(&self) -> Option<&str> {
        self.authorizer.as_ref().and_then(|auth| auth.weakness())
    }
}

impl Server<'_> {
    /// Goes by new terms from now on.
    pub(super) fn change(&mut self, change: Change) {
        let Change { terms, done } = change;
        if let Some(weakness) = terms.weakness() {
            let warning = Event::Warning(weakness.to_owned());
            self.report(&warning);
        }
        let new = terms.config;
        let now = Instant::now();
        // A limit that stays keeps counting what has been moved.
        if new.rate_limit != self.config.rate_limit {
            self.rate = new.rate_limit.map(|limit| SharedRateWatch::new(limit, now));
        }
        if new.client_rate_limit != self.config.client_rate_limit {
            self.client_rates = ClientRates::new(new.client_rate_limit);
        }
        self.slots.limit(&new);
        // A server that has begun to run several tests at the same time stays in that mode, even with a single slot.
        self.is_sequential &= new.tests == Concurrency::ONE;
        self.authorizer = terms.authorizer;
        self.config = Arc::new(ServerConfig {
            tests: new.tests,
            tests_per_client: new.tests_per_client,
            rate_limit: new.rate_limit,
            client_rate_limit: new.client_rate_limit,
            max_duration: new.max_duration,
            auth: new.auth,
            ..(*self.config).clone()
        });
        // There is no receiver if the program ends.
        let _ = done.send(());
    }
}

/// The next change, if there are any.
pub(super) async fn next(changes: Option<&mut mpsc::Receiver<Change>>) -> Change {
    if let Some(changes) = changes
        && let Some(change) = changes.recv().await
    {
        return change;
    }
    std::future::pending().await
}

fn authorizer(auth: &ServerAuth) -> Result<Authorizer, ServerError> {
    let padding = if auth.pkcs1 {
        Padding::Pkcs1
    } else {
        Padding::Oaep
    };
    Authorizer::load(&auth.private_key, &auth.users, auth.skew, padding).map_err(ServerError::Login)
}

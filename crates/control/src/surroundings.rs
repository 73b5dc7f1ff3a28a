//! The environment of one test, read in parallel with the control connection. Files and interfaces of the system are read
//! on a separate thread. A test waits at most [`LIMIT`] for it, and then runs without.

use std::time::Duration;

use iperf_model::{Event, RemoteEnvironment};
use tokio::time::timeout;

use crate::environment::{Observation, Steal};
use crate::{Blocking, Control, spawn_blocking};

/// How long a test waits for the facts before it begins, and for the steal time when it is over.
const LIMIT: Duration = Duration::from_secs(1);

/// What is known of this machine, and when.
#[derive(Debug)]
pub enum Surroundings {
    /// Not collected, or the system did not answer in time.
    Unknown,
    /// The thread is reading.
    Asking(Blocking<Observation>),
    /// It has answered.
    Known(Box<Observation>),
}

impl Surroundings {
    /// Starts reading, unless it is disabled (`--no-environment`).
    pub fn ask(control: &Control, wanted: bool) -> Self {
        if !wanted {
            return Self::Unknown;
        }
        let (local, remote) = (control.local().ok(), control.peer().ok());
        Self::Asking(spawn_blocking(move || Observation::begin(local, remote)))
    }

    /// The event that reports the facts, if there are any by now.
    pub async fn event(&mut self) -> Option<Event> {
        if let Self::Asking(answer) = self {
            *self = match timeout(LIMIT, answer).await {
                Ok(Ok(observation)) => Self::Known(Box::new(observation)),
                // Late, or there was no thread.
                _ => Self::Unknown,
            };
        }
        match self {
            Self::Known(observation) => {
                let facts = observation.environment().clone();
                Some(Event::Environment(Box::new(facts)))
            }
            _ => None,
        }
    }

    /// The data have stopped: looks at the steal time.
    pub async fn end(&mut self) {
        if let Self::Known(observation) = self {
            let now = timeout(LIMIT, spawn_blocking(Steal::now)).await;
            observation.end(now.ok().and_then(Result::ok).flatten());
        }
    }

    /// What is sent to a peer of this program.
    pub fn report(&self) -> Option<RemoteEnvironment> {
        match self {
            Self::Known(observation) => Some(observation.report()),
            _ => None,
        }
    }

    /// The event at the end, with the peer's report of its machine.
    pub fn after(&self, remote: Option<RemoteEnvironment>) -> Option<Event> {
        match self {
            Self::Known(observation) => {
                Some(Event::EnvironmentAfter(Box::new(observation.after(remote))))
            }
            _ => None,
        }
    }
}

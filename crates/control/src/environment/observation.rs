//! This machine over one test: the facts before it, and what the hypervisor took until it was over.

use std::net::SocketAddr;

use iperf_model::{Environment, EnvironmentAfter, RemoteEnvironment, VERSION};

use super::{Steal, collect};

/// This machine over one test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    environment: Environment,
    before: Option<Steal>,
    steal_percent: Option<f64>,
}

impl Observation {
    /// Reads the facts, for a control connection between these addresses. It blocks for as long as the system takes.
    pub fn begin(local: Option<SocketAddr>, remote: Option<SocketAddr>) -> Self {
        let route = local.zip(remote).map(|(local, remote)| super::Route {
            local: local.ip(),
            remote: remote.ip(),
        });
        Self {
            environment: collect(route),
            before: Steal::now(),
            steal_percent: None,
        }
    }

    /// The facts.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The data have stopped, and these are the times of the moment.
    pub fn end(&mut self, now: Option<Steal>) {
        let times = now.zip(self.before);
        self.steal_percent = times.and_then(|(now, before)| now.percent_since(before));
    }

    /// What is sent to the peer.
    pub fn report(&self) -> RemoteEnvironment {
        RemoteEnvironment {
            version: Some(VERSION.to_owned()),
            steal_percent: self.steal_percent,
            environment: self.environment.clone(),
        }
    }

    /// What is known when the test is over, with the peer's report.
    pub fn after(&self, remote: Option<RemoteEnvironment>) -> EnvironmentAfter {
        EnvironmentAfter {
            steal_percent: self.steal_percent,
            remote,
        }
    }
}

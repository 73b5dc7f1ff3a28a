//! What ends: a handshake without a test, and the server when it is stopped.
//!
//! An end is reported before the peer can know of it.

use std::time::Duration;

use iperf_control::{Stop, StopReason};
use iperf_model::{Event, Failure, FailureKind, ServerCounters};
use tokio::time::timeout;
use tracing::debug;

use super::Server;
use crate::ServerError;
use crate::error::TestError;
use crate::farewell::Farewell;
use crate::handshake::Dropped;

/// How long running tests may take to end when the server stops.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// How long handshakes may take to end then, and clients to take their last message when the server ends.
const PARTING_LIMIT: Duration = Duration::from_secs(1);

impl Server<'_> {
    /// Reports a handshake that failed, and then tells its client; true when it was the one test of `-1`.
    pub(super) fn dropped(&mut self, mut dropped: Dropped) -> bool {
        let farewell = dropped.farewell.take();
        let is_last = self.report_dropped(dropped);
        if let Some(farewell) = farewell {
            self.part(farewell);
        }
        is_last
    }

    fn report_dropped(&mut self, dropped: Dropped) -> bool {
        let Some(error) = dropped.error else {
            self.refused();
            return false;
        };
        ServerCounters::add(&self.counters.failed_handshakes);
        debug!(%error, "handshake failed");
        // The end of the server is reported once.
        let is_told = matches!(error, TestError::Interrupted(_)) && self.stopped.is_some();
        if is_told || self.is_sequential && !self.tests.are_over() {
            return false;
        }
        if let Some(began) = dropped.began {
            let (began, buffers) = *began;
            self.report(&Event::TestBegan(began));
            self.report(&Event::BuffersKept(buffers));
        }
        self.report(&Event::Failed(error.failure()));
        self.report(&Event::TestFinished);
        if self.config.one_off && dropped.had_params {
            return true;
        }
        self.announce();
        false
    }

    /// Tells a client that there is no test for it.
    pub(super) fn part(&mut self, farewell: Box<Farewell>) {
        while self.farewells.try_join_next().is_some() {}
        self.farewells.spawn(farewell.say());
    }

    /// Ends the server after its handshakes and running tests, which have learned of the stop themselves.
    pub(super) async fn shutdown(&mut self, reason: StopReason, stop: &Stop) -> ServerError {
        self.stopped = Some(reason);
        self.is_draining = true;
        // A test that runs reports its end itself.
        let is_idle = self.tests.are_over();
        let handshakes = async {
            // What has happened already is reported first: a client may have seen it.
            while let Ok(event) = self.events.try_recv() {
                self.on_event(event, stop);
            }
            while !(self.awaiting_parameters.is_empty() && self.opening.is_empty()) {
                self.next_event(stop).await;
            }
        };
        let _ = timeout(PARTING_LIMIT, handshakes).await;
        if is_idle {
            self.report(&Event::Failed(Failure {
                kind: FailureKind::Interrupt,
                message: TestError::Interrupted(reason).to_string(),
            }));
            self.report(&Event::TestFinished);
        }
        let tests = async {
            while !self.tests.have_left() {
                self.next_event(stop).await;
            }
        };
        let _ = timeout(SHUTDOWN_LIMIT, tests).await;
        ServerError::Interrupted(reason)
    }

    /// Waits until the clients that were turned away last have been told.
    pub(super) async fn await_farewells(&mut self) {
        let told = async { while self.farewells.join_next().await.is_some() {} };
        let _ = timeout(PARTING_LIMIT, told).await;
    }

    async fn next_event(&mut self, stop: &Stop) {
        if let Some(event) = self.events.recv().await {
            self.on_event(event, stop);
        }
    }
}

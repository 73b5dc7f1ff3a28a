//! What ends a test from outside: SIGINT, SIGTERM, SIGHUP, or the program itself.

use std::fmt;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Why to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A signal, by number.
    Signal(i32),
    /// The program is done with this end.
    Requested,
}

impl fmt::Display for StopReason {
    /// As iperf3 3.19 and later name signals: ` by signal Interrupt(2)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(1) => f.write_str(" by signal Hangup(1)"),
            Self::Signal(2) => f.write_str(" by signal Interrupt(2)"),
            Self::Signal(15) => f.write_str(" by signal Terminated(15)"),
            Self::Signal(other) => write!(f, " by signal {other}"),
            Self::Requested => Ok(()),
        }
    }
}

/// Receives the request to stop. All clones receive it.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Option<StopReason>>);

/// Triggers its [`Stop`].
#[derive(Debug)]
pub struct StopHandle(watch::Sender<Option<StopReason>>);

impl StopHandle {
    /// Triggers it. The first reason stays.
    pub fn stop(&self, reason: StopReason) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
    }
}

impl Stop {
    /// A handle that requests the stop, and its receiver.
    pub fn new() -> (StopHandle, Self) {
        let (sender, receiver) = watch::channel(None);
        (StopHandle(sender), Self(receiver))
    }

    /// Learns of the signals SIGINT, SIGTERM and SIGHUP, which then no longer end the process.
    pub fn on_signals() -> io::Result<Self> {
        let (handle, stop) = Self::new();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            let number = tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
                _ = hangup.recv() => 1,
            };
            handle.stop(StopReason::Signal(number));
            // Keeps the channel open: a closed one would look like a second reason.
            std::future::pending::<()>().await;
        });
        Ok(stop)
    }

    /// Waits until it is time to stop.
    pub async fn wait(&mut self) -> StopReason {
        loop {
            // Copied out, so that no lock is held across a wait.
            let reason = *self.0.borrow_and_update();
            if let Some(reason) = reason {
                return reason;
            }
            if self.0.changed().await.is_err() {
                // No handle is left that could request a stop.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named_as_iperf3_names_them() {
        let names = [1, 2, 15].map(|number| StopReason::Signal(number).to_string());
        assert_eq!(
            names,
            [
                " by signal Hangup(1)",
                " by signal Interrupt(2)",
                " by signal Terminated(15)"
            ]
        );
    }

    #[tokio::test]
    async fn the_first_reason_reaches_all_clones() {
        let (handle, mut stop) = Stop::new();
        let mut other = stop.clone();
        handle.stop(StopReason::Signal(2));
        handle.stop(StopReason::Requested);
        assert_eq!(stop.wait().await, StopReason::Signal(2));
        assert_eq!(other.wait().await, StopReason::Signal(2));
    }
}

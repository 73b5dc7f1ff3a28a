//! The watchdog of a service manager, and SIGTERM as its request to drain.

use std::io;
use std::time::Duration;

use iperf::embed::{Stop, StopHandle, StopReason};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{interval, sleep};

use crate::service::{notify, stopping};

/// Shows the manager twice in its period that this thread, which is the server's, reacts.
pub(crate) fn watchdog() {
    if let Some(period) = sd_notify::watchdog_enabled()
        && !(period / 2).is_zero()
    {
        let mut beat = interval(period / 2);
        tokio::spawn(async move {
            loop {
                beat.tick().await;
                notify(&NotifyState::Watchdog);
            }
        });
    }
}

/// SIGTERM drains the server first; it ends when the tests are over, after `limit`, or with a second signal. Other signals
/// end it at once.
pub(crate) fn steer(drain: watch::Sender<bool>, limit: Duration) -> io::Result<Stop> {
    let (handle, stop) = Stop::new();
    let interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    let terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        watch_signals(interrupt, hangup, terminate, &drain, &handle, limit).await;
        // Keeps the channels open: a closed one would look like another reason.
        std::future::pending::<()>().await;
    });
    Ok(stop)
}

async fn watch_signals(
    mut interrupt: Signal,
    mut hangup: Signal,
    mut terminate: Signal,
    drain: &watch::Sender<bool>,
    stop: &StopHandle,
    limit: Duration,
) {
    let number = tokio::select! {
        _ = interrupt.recv() => 2,
        _ = hangup.recv() => 1,
        _ = terminate.recv() => {
            stopping();
            drain.send_replace(true);
            tokio::select! {
                _ = interrupt.recv() => 2,
                _ = hangup.recv() => 1,
                _ = terminate.recv() => 15,
                () = sleep(limit) => 15,
            }
        }
    };
    stop.stop(StopReason::Signal(number));
}

//! The watchdog of a service manager, and its signals: SIGTERM as a request to drain, SIGHUP as one to reload.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use iperf::embed::{Stop, StopHandle, StopReason};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, interval, sleep_until};

use crate::reload::Reloader;
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

/// What signals do other than ending the server.
pub(crate) struct Steering {
    /// How long running tests may continue after SIGTERM, and the channel that reports it.
    pub(crate) drain: Option<(Duration, watch::Sender<bool>)>,
    /// What SIGHUP reads again.
    pub(crate) reload: Option<Reloader>,
}

/// SIGTERM drains the server first, if `--drain` is given; it ends when the tests are over, at the limit, or with a second
/// signal. SIGHUP reloads, if there is anything to reload. All else ends the server at once.
pub(crate) fn steer(steering: Steering) -> io::Result<Stop> {
    let Steering { drain, reload } = steering;
    let (handle, stop) = Stop::new();
    let signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        hangup: signal(SignalKind::hangup())?,
        terminate: signal(SignalKind::terminate())?,
    };
    let reload_signal = reload.map(|reloader| {
        let reload_signal = Arc::new(Notify::new());
        tokio::spawn(reloader.run(reload_signal.clone()));
        reload_signal
    });
    tokio::spawn(async move {
        signals
            .watch(drain.as_ref(), reload_signal.as_deref(), &handle)
            .await;
        // Keeps the channels open: a closed one would look like another reason.
        pending::<()>().await;
    });
    Ok(stop)
}

struct Signals {
    interrupt: Signal,
    hangup: Signal,
    terminate: Signal,
}

impl Signals {
    /// Reacts to signals until one ends the server.
    async fn watch(
        mut self,
        drain: Option<&(Duration, watch::Sender<bool>)>,
        reload: Option<&Notify>,
        stop: &StopHandle,
    ) {
        let mut deadline = None;
        let number = loop {
            tokio::select! {
                _ = self.interrupt.recv() => break 2,
                _ = self.hangup.recv() => match reload {
                    Some(reload) => reload.notify_one(),
                    None => break 1,
                },
                _ = self.terminate.recv() => match drain {
                    Some((limit, drain)) if deadline.is_none() => {
                        stopping();
                        drain.send_replace(true);
                        deadline = Some(Instant::now() + *limit);
                    }
                    _ => break 15,
                },
                () = until(deadline) => break 15,
            }
        };
        stop.stop(StopReason::Signal(number));
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

//! `--wait`: tries again while the server is busy or can't be reached.
//!
//! Events before the start of a test are held back: an attempt that leads to no test reports only why the client waits.

use std::io;
use std::time::{Duration, Instant};

use iperf_control::{Output, Stop};
use iperf_model::{ClientConfig, Event, ServerOutput, Sink};
use iperf_proto::Code;
use iperf_proto::client::Failure;
use tokio::time::sleep;

use crate::connect_error::ConnectError;
use crate::{ClientError, Login, driver};

/// Between the first attempts; doubled each time, up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// The shortest time in which to connect.
const LEAST_CONNECT: Duration = Duration::from_millis(100);

/// Runs a test to its end, as soon as the server takes it within `limit`.
pub(crate) async fn run(
    config: &ClientConfig,
    login: Option<&Login>,
    output: &mut Output<'_>,
    mut stop: Stop,
    limit: Duration,
) -> Result<(), ClientError> {
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    let mut reported = String::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut attempt = config.clone();
        let connect = attempt.connect_timeout.unwrap_or(left).min(left);
        attempt.connect_timeout = Some(connect.max(LEAST_CONNECT));
        let mut held = Held::new(output);
        let result = driver::run(&attempt, login, &mut Output::new(&mut held), stop.clone()).await;
        let reason = match &result {
            Err(error) if !held.has_started && Instant::now() < deadline => reason(error),
            _ => None,
        };
        let Some(reason) = reason else {
            held.release();
            return result;
        };
        drop(held);
        if reported != reason {
            let seconds = limit.as_secs_f64();
            output.event(&Event::Warning(format!(
                "{reason}; trying again for up to {seconds} s"
            )));
            reported = reason;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        tokio::select! {
            reason = stop.wait() => return Err(ClientError::Interrupted(reason)),
            () = sleep(pause.min(left)) => {}
        }
        pause = (2 * pause).min(LAST_PAUSE);
    }
}

/// Why it is worth to try again, if it is.
fn reason(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Protocol(Failure::Busy) => Some("the server is busy".to_owned()),
        ClientError::Protocol(Failure::ServerError { code, .. }) if *code == Code::BUSY => {
            Some("the server is busy".to_owned())
        }
        ClientError::Protocol(Failure::ServerTerminated | Failure::ControlClosed) => {
            Some("the server has ended the connection".to_owned())
        }
        ClientError::Connect(ConnectError::Server(source)) => Some(format!(
            "the server can't be reached: {}",
            iperf_model::reason(source)
        )),
        ClientError::Connect(ConnectError::Slow(_)) => {
            Some("the server's name is not resolved".to_owned())
        }
        _ => None,
    }
}

/// Holds events back until the test starts.
struct Held<'a, 'o> {
    output: &'a mut Output<'o>,
    events: Vec<Event>,
    has_started: bool,
}

impl<'a, 'o> Held<'a, 'o> {
    fn new(output: &'a mut Output<'o>) -> Self {
        Self {
            output,
            events: Vec::new(),
            has_started: false,
        }
    }

    /// Reports what is held.
    fn release(&mut self) {
        for event in self.events.drain(..) {
            self.output.event(&event);
        }
    }
}

impl Sink for Held<'_, '_> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        if matches!(event, Event::TestStarted(_)) {
            self.has_started = true;
            self.release();
        }
        if self.has_started {
            self.output.event(event);
        } else {
            self.events.push(event.clone());
        }
        Ok(())
    }

    fn server_output(&mut self) -> Option<ServerOutput> {
        self.output.server_output()
    }
}

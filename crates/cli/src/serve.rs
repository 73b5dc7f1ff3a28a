//! A server and what surrounds it: the outputs of its tests, metrics, the log.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iperf::embed::{Service, null_sink, raise_descriptor_limit, runtime};
use iperf::{Server, ServerError};
use iperf_model::{Concurrency, ServerConfig, ServerCounters, Sink, TestId, reason};
use iperf_service::{LogSink, Observed, ServerPage, Stats, TestRecord, http};
use tokio::sync::watch;
use tracing::warn;

use crate::app::{App, detach};
use crate::daemon::Ready;
use crate::manager::{self, Steering};
use crate::reload::Reloader;
use crate::service;
use crate::terminal::SHUTDOWN;

impl App<'_> {
    /// Runs a server until it is stopped.
    pub(crate) fn server(&self, config: ServerConfig, daemon: Option<Ready>) -> io::Result<bool> {
        let stats = Arc::new(Stats::default());
        let counters = Arc::new(ServerCounters::default());
        self.serve_metrics(&stats, &counters)?;
        let numbered = Arc::new(AtomicBool::new(config.tests != Concurrency::ONE));
        let outputs = |test: Option<TestId>| {
            let test = test.map(|test| (test, numbered.load(Ordering::Relaxed)));
            self.output_of(test, &stats)
        };
        let mut config = config;
        let listener = service::passed_listener(&mut config)?;
        let (tell, drain) = watch::channel(false);
        let (reload, changes) = match &self.launch.process.options_file {
            Some(file) => {
                let sink = self.output_of(None, &stats);
                let (reload, changes) = Reloader::new(self, file, sink, numbered.clone());
                (Some(reload), Some(changes))
            }
            None => (None, None),
        };
        let steering = Steering {
            drain: self.launch.process.drain.map(|limit| (limit, tell)),
            reload,
        };
        let service = Service {
            counters,
            listener,
            drain: Some(drain),
            changes,
        };
        let server = Server::new(config);
        raise_descriptor_limit();
        let runtime = runtime()?;
        let served = runtime.block_on(async {
            let mut stop = manager::steer(steering)?;
            manager::watchdog();
            let ready = |_| {
                detach(daemon);
                service::ready();
            };
            let served = server.serve_as_service(&outputs, service, stop.clone(), ready);
            let result = served.await;
            service::stopping();
            let served = matches!(result, Ok(()) | Err(ServerError::Interrupted(_)));
            if !served && !self.launch.output.json && !self.launch.process.log_json {
                self.writer
                    .error_line(&format!("{}: exiting", self.launch.program));
            }
            self.drain(&mut stop).await;
            io::Result::Ok(served)
        })?;
        runtime.shutdown_timeout(SHUTDOWN);
        Ok(served)
    }

    /// Serves `--metrics`, if it is given.
    fn serve_metrics(&self, stats: &Arc<Stats>, counters: &Arc<ServerCounters>) -> io::Result<()> {
        let Some(address) = &self.launch.process.metrics else {
            return Ok(());
        };
        let page = ServerPage::new(stats.clone(), counters.clone());
        let served = http::listen(address).and_then(|listener| http::spawn(listener, page));
        served.map(drop).map_err(|error| {
            let reason = reason(&error);
            io::Error::other(format!("unable to serve metrics on {address}: {reason}"))
        })
    }

    /// The output of a test, whose lines may show its number, or of what belongs to no test.
    fn output_of(&self, test: Option<(TestId, bool)>, stats: &Arc<Stats>) -> Box<dyn Sink> {
        let process = &self.launch.process;
        let is_observed = process.log_json || process.metrics.is_some();
        match test {
            None if process.log_json => Box::new(LogSink::new(self.output())),
            Some((test, numbered)) if is_observed => {
                let inner = if process.log_json {
                    null_sink()
                } else {
                    self.sink(numbered.then_some(test))
                };
                let mut log = process.log_json.then(|| LogSink::new(self.output()));
                let done = move |test: &TestRecord| {
                    let written = log.as_mut().map_or(Ok(()), |log| log.test(test));
                    if let Err(error) = written {
                        warn!(%error, "can't write the log");
                    }
                };
                let stats = stats.clone();
                Box::new(Observed::new(inner, stats, test, Box::new(done)))
            }
            Some((test, numbered)) => self.sink(numbered.then_some(test)),
            None => self.sink(None),
        }
    }
}

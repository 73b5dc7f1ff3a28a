//! SIGHUP with `--options-file`: the command line and the files that it names are read again, and limits and logins change
//! while tests run. If anything is wrong, everything stays as it was.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iperf::embed::{Change, Terms};
use iperf_cli::{Job, parse};
use iperf_control::spawn_blocking;
use iperf_model::{Concurrency, Event, Sink};
use iperf_report::Output;
use iperf_service::LogSink;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::warn;

use crate::app::App;
use crate::service;

/// Whether lines of output show the number of their test: several tests may run at the same time. It never goes back.
pub(crate) type Numbered = Arc<AtomicBool>;

/// Reads options again on request.
pub(crate) struct Reloader {
    file: PathBuf,
    changes: mpsc::Sender<Change>,
    numbered: Numbered,
    report: Report,
}

/// Where to report the outcome.
struct Report {
    /// Warnings, in the format of the output.
    sink: Box<dyn Sink>,
    done: Done,
}

/// Where to report success.
enum Done {
    Log(Box<LogSink<Output>>),
    Line(Box<dyn FnMut(&str) + Send>),
}

impl Reloader {
    /// A reloader for the file of `--options-file`, and its changes for the server.
    pub(crate) fn new(
        app: &App<'_>,
        file: &Path,
        sink: Box<dyn Sink>,
        numbered: Numbered,
    ) -> (Self, mpsc::Receiver<Change>) {
        let done = if app.launch.process.log_json {
            Done::Log(Box::new(LogSink::new(app.output())))
        } else {
            let (writer, program) = (app.writer.clone(), app.launch.program.to_owned());
            Done::Line(Box::new(move |file| {
                writer.error_line(&format!(
                    "{program}: the options of {file} apply from now on"
                ));
            }))
        };
        let (changes, receiver) = mpsc::channel(1);
        let reloader = Self {
            file: file.to_owned(),
            changes,
            numbered,
            report: Report { sink, done },
        };
        (reloader, receiver)
    }

    /// Reloads at each signal, once for signals that arrive meanwhile.
    pub(crate) async fn run(mut self, signal: Arc<Notify>) {
        loop {
            signal.notified().await;
            service::reloading();
            let outcome = self.reload().await;
            if let Err(error) = self.report.outcome(&self.file, outcome) {
                warn!(%error, "can't write output");
            }
            service::ready();
        }
    }

    async fn reload(&mut self) -> Result<(), String> {
        // Keys may come from pipes, which take their time.
        let loaded = spawn_blocking(load).await;
        let (terms, tests) = loaded.map_err(|error| error.to_string())??;
        if tests != Concurrency::ONE {
            self.numbered.store(true, Ordering::Relaxed);
        }
        let (done, changed) = oneshot::channel();
        // A server that ends has no use for it.
        if self.changes.send(Change { terms, done }).await.is_ok() {
            let _ = changed.await;
        }
        Ok(())
    }
}

/// Reads the command line again, with all files.
fn load() -> Result<(Terms, Concurrency), String> {
    let invocation = parse(env::args_os().skip(1)).map_err(|error| error.to_string())?;
    match invocation.job {
        Job::Server(config) => {
            let terms = Terms::load(&config).map_err(|error| error.to_string())?;
            Ok((terms, config.tests))
        }
        _ => Err("the command line is no server's".to_owned()),
    }
}

impl Report {
    fn outcome(&mut self, file: &Path, outcome: Result<(), String>) -> io::Result<()> {
        let file = file.display().to_string();
        match outcome {
            Ok(()) => match &mut self.done {
                Done::Log(log) => log.reloaded(&file),
                Done::Line(line) => {
                    line(&file);
                    Ok(())
                }
            },
            Err(problem) => {
                let problem = problem.trim_start_matches("parameter error - ");
                let warning = format!("options stay as they were: {problem}");
                self.sink.event(&Event::Warning(warning))
            }
        }
    }
}

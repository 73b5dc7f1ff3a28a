//! From an invocation to an exit code: opens the output, starts the runtime and runs the job in it.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use iperf_cli::{Invocation, Job, OutputOptions, system_info, version};
use iperf_client::{ClientError, Login};
use iperf_control::{Stop, StopReason};
use iperf_model::{
    ClientConfig, Endpoint, Event, Failure, FailureKind, Family, Listen, LocalOptions,
    ServerConfig, Sink, VERSION,
};
use iperf_proto::Code;
use iperf_report::{Format, Output, ReportOptions, null_sink, sink};
use iperf_server::ServerError;
use tokio::runtime::{Builder, Runtime};

use crate::daemon::{self, Ready};
use crate::logging;
use crate::pidfile::PidFile;

/// How long threads that resolve names or connect may go on after the end: they can't be interrupted.
const SHUTDOWN: Duration = Duration::from_millis(100);

/// Runs what was asked for. `program` is the name in messages.
pub(crate) fn run(program: &str, invocation: Invocation) -> ExitCode {
    for warning in &invocation.warnings {
        complain(&format!("warning: {warning}"));
    }
    for notice in &invocation.notices {
        if invocation.output.json {
            // Stdout is for the document alone.
            complain(notice);
        } else {
            print(&format!("{notice}\n"));
        }
    }
    let Invocation {
        job,
        output,
        process,
        ..
    } = invocation;
    logging::start(output.debug);
    let is_client = !matches!(job, Job::Server(_));
    let app = App {
        program,
        output,
        is_client,
    };
    let result = match job {
        Job::Help(text) => print(&text),
        Job::Version => print(&version()),
        Job::Client(config) => app.guarded(process.pidfile.as_deref(), |app| app.client(&config)),
        Job::Server(config) if process.daemon => match daemon::start() {
            Ok(daemon::Part::Done { started }) => started,
            Ok(daemon::Part::Serve(ready)) => app.guarded(process.pidfile.as_deref(), |app| {
                app.server(config, Some(ready))
            }),
            Err(error) => {
                app.fail(&Code::DAEMON.with_error(&error));
                false
            }
        },
        Job::Server(config) => {
            app.guarded(process.pidfile.as_deref(), |app| app.server(config, None))
        }
        Job::Loopback(config) => {
            app.guarded(process.pidfile.as_deref(), |app| app.loopback(config))
        }
    };
    if result {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

struct App<'a> {
    program: &'a str,
    output: OutputOptions,
    is_client: bool,
}

impl App<'_> {
    /// Runs a job while its pid file lies there; true is success.
    fn guarded(
        &self,
        pidfile: Option<&std::path::Path>,
        job: impl FnOnce(&Self) -> io::Result<bool>,
    ) -> bool {
        let _pidfile = match pidfile.map(PidFile::create).transpose() {
            Ok(pidfile) => pidfile,
            Err(error) => {
                self.fail(&error);
                return false;
            }
        };
        job(self).unwrap_or_else(|error| {
            self.fail(&error);
            false
        })
    }

    /// Says why there is no test at all.
    fn fail(&self, message: &dyn Display) {
        complain(&format!("{}: error - {message}", self.program));
    }

    fn sink(&self) -> io::Result<Box<dyn Sink>> {
        let options = &self.output;
        let format = match (options.json_stream, options.json) {
            (true, _) => Format::JsonStream,
            (false, true) => Format::Json,
            (false, false) => Format::Text,
        };
        let output = match &options.logfile {
            Some(path) => Output::log(path)
                .map_err(|error| io::Error::other(Code::LOG_FILE.with_error(&error)))?,
            None => Output::stdio(),
        };
        let report = ReportOptions {
            program: self.program.to_owned(),
            is_client: self.is_client,
            version: format!("iperf {VERSION}"),
            system_info: system_info(),
            verbose: options.verbose,
            format: options.format,
            timestamps: options.timestamps.clone(),
            flush: options.force_flush,
            json_full: options.json_stream_full,
        };
        Ok(sink(format, report, output))
    }

    fn client(&self, config: &ClientConfig) -> io::Result<bool> {
        let login = login(config)?;
        let mut sink = self.sink()?;
        let runtime = runtime()?;
        let result = runtime.block_on(async {
            let stop = Stop::on_signals()?;
            io::Result::Ok(iperf_client::run(config, login.as_ref(), sink.as_mut(), stop).await)
        })?;
        runtime.shutdown_timeout(SHUTDOWN);
        Ok(succeeded(&result))
    }

    fn server(&self, config: ServerConfig, daemon: Option<Ready>) -> io::Result<bool> {
        let sink = self.sink()?;
        let runtime = runtime()?;
        let result = runtime.block_on(async {
            let stop = Stop::on_signals()?;
            io::Result::Ok(iperf_server::run(config, sink, stop, |_| detach(daemon)).await)
        })?;
        runtime.shutdown_timeout(SHUTDOWN);
        Ok(match result {
            Ok(()) | Err(ServerError::Interrupted(_)) => true,
            Err(_) => {
                if !self.output.json {
                    complain(&format!("{}: exiting", self.program));
                }
                false
            }
        })
    }

    /// A server on the loopback interface, on a free port unless one was named, and a client against it: both real, both in this
    /// process, on a thread each.
    fn loopback(&self, config: ClientConfig) -> io::Result<bool> {
        let mut sink = self.sink()?;
        let (stop_server, server_stop) = Stop::new();
        let (tell, address) = mpsc::channel();
        let host = if config.local.family == Family::V6 {
            "::1"
        } else {
            "127.0.0.1"
        };
        let port = match config.endpoint {
            Endpoint::Inet { port, .. } => port,
            Endpoint::Vsock(_) | Endpoint::Hybrid { .. } | Endpoint::Unix { .. } => 0,
        };
        let server = thread::Builder::new()
            .name("iperf-server".to_owned())
            .spawn(move || serve_loopback(host, port, server_stop, tell))?;
        let result = match address.recv() {
            Ok(address) => loopback_client(config, address, sink.as_mut())?,
            // The server ended before it listened, and says why below.
            Err(_) => false,
        };
        stop_server.stop(StopReason::Asked);
        match server.join() {
            Ok(Ok(())) => Ok(result),
            Ok(Err(error)) => {
                let failure = Failure {
                    kind: FailureKind::Error,
                    message: error.to_string(),
                };
                sink.event(&Event::Failed(failure))?;
                sink.event(&Event::TestFinished)?;
                Ok(false)
            }
            Err(_) => Err(io::Error::other("the server's thread panicked")),
        }
    }
}

/// Reads the key and asks for the password, before anything is printed or connected.
fn login(config: &ClientConfig) -> io::Result<Option<Login>> {
    config
        .credentials
        .as_ref()
        .map(Login::prepare)
        .transpose()
        .map_err(io::Error::other)
}

fn loopback_client(
    mut config: ClientConfig,
    address: SocketAddr,
    sink: &mut dyn Sink,
) -> io::Result<bool> {
    config.endpoint = Endpoint::Inet {
        host: address.ip().to_string(),
        port: address.port(),
    };
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let stop = Stop::on_signals()?;
        io::Result::Ok(iperf_client::run(&config, None, sink, stop).await)
    })?;
    runtime.shutdown_timeout(SHUTDOWN);
    Ok(succeeded(&result))
}

/// Lets go of the terminal, now that the server listens.
fn detach(daemon: Option<Ready>) {
    if let Some(Err(error)) = daemon.map(Ready::tell) {
        complain(&format!(
            "warning: unable to detach from the terminal: {}",
            reason(&error)
        ));
    }
}

fn serve_loopback(
    host: &str,
    port: u16,
    stop: Stop,
    tell: mpsc::Sender<SocketAddr>,
) -> Result<(), ServerError> {
    let config = ServerConfig {
        listen: Listen::Inet { port },
        local: LocalOptions {
            bind: Some(host.to_owned()),
            ..LocalOptions::default()
        },
        one_off: false,
        idle_timeout: None,
        rate_limit: None,
        max_duration: None,
        auth: None,
    };
    let runtime = runtime().map_err(ServerError::Listen)?;
    let result = runtime.block_on(iperf_server::run(
        config,
        null_sink(),
        stop,
        move |address| {
            // Nobody listens when the program is ending already.
            let _ = address.map(|address| tell.send(address));
        },
    ));
    runtime.shutdown_timeout(SHUTDOWN);
    match result {
        Err(ServerError::Interrupted(_)) => Ok(()),
        other => other,
    }
}

/// An end of a test runs on one thread; data streams have threads of their own.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// As iperf3 since 3.19, an interrupted client ends well.
fn succeeded(result: &Result<(), ClientError>) -> bool {
    matches!(result, Ok(()) | Err(ClientError::Interrupted(_)))
}

/// What the system said, without the number that Rust puts behind it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn print(text: &str) -> bool {
    io::stdout().write_all(text.as_bytes()).is_ok()
}

fn complain(line: &str) {
    // There is no place left to complain about this one.
    let _ = writeln!(io::stderr(), "{line}");
}

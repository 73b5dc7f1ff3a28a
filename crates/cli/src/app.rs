//! From an invocation to an exit code: opens the output, starts the runtime and runs the job in it.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use iperf::embed::{Login, Stop, raise_descriptor_limit, runtime, system_info};
use iperf::{Client, ClientError, Error, RunningServer, Server, ServerBuilder};
use iperf_cli::{Invocation, Job, OutputOptions, ProcessOptions, version, zerocopy_check};
use iperf_model::{
    ClientConfig, Endpoint, Event, Failure, FailureKind, Listen, Sink, TestId, VERSION,
    VsockAddress, reason,
};
use iperf_proto::Code;
use iperf_report::{Format, Output, ReportOptions, Writer, open_log, sink};
use iperf_results::Target;
use tokio::time::sleep;

use crate::command::help;
use crate::daemon::{self, Ready};
use crate::logging;
use crate::pidfile::PidFile;
use crate::results::{Files, Labels};
use crate::terminal::{SHUTDOWN, complain, print};

/// How long to wait after a signal for output to be read. Without a signal there is no limit.
const DRAIN: Duration = Duration::from_secs(1);

/// How often to check for a signal while waiting for output to be read.
const DRAIN_WATCH: Duration = Duration::from_millis(50);

/// Runs the job. `program` is the name in messages.
pub(crate) fn run(program: &str, invocation: Invocation) -> ExitCode {
    for warning in &invocation.warnings {
        complain(&format!("warning: {warning}"));
    }
    for notice in &invocation.notices {
        if invocation.output.json {
            // Stdout holds only the document.
            complain(notice);
        } else {
            print(program, format!("{notice}\n").as_bytes());
        }
    }
    let Invocation {
        job,
        output,
        process,
        ..
    } = invocation;
    let launch = Launch {
        program,
        output,
        is_client: !matches!(job, Job::Server(_)),
        labels: labels(&job),
        process: process.clone(),
    };
    let result = match job {
        Job::Help => print(program, help(program).as_bytes()),
        Job::Version => print(program, version().as_bytes()),
        Job::ZerocopyCheck => print(program, zerocopy_check(launch.output.json).as_bytes()),
        Job::Client(config) => launch.run(|app| app.client(config)),
        Job::Server(config) if process.daemon => match daemon::start() {
            Ok(daemon::Part::Done { started }) => started,
            Ok(daemon::Part::Serve(ready)) => launch.run(|app| app.server(config, Some(ready))),
            Err(error) => launch.fail(&Code::DAEMON.with_error(&error)),
        },
        Job::Server(config) => launch.run(|app| app.server(config, None)),
        Job::Loopback(config) => launch.run(|app| app.loopback(config)),
    };
    if result {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What every job needs before it starts.
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a str,
    pub(crate) output: OutputOptions,
    is_client: bool,
    /// What results in files are called.
    labels: Labels,
    pub(crate) process: ProcessOptions,
}

impl Launch<'_> {
    /// Runs a job while its PID file exists; true is success.
    fn run(self, job: impl FnOnce(&App<'_>) -> io::Result<bool>) -> bool {
        let pidfile = self
            .process
            .pidfile
            .as_deref()
            .map(PidFile::create)
            .transpose();
        let _pidfile = match pidfile {
            Ok(pidfile) => pidfile,
            Err(error) => return self.fail(&error),
        };
        let writer = match self.writer() {
            Ok(writer) => writer,
            Err(error) => return self.fail(&error),
        };
        let files = match Files::new(&self.output.files, self.labels.clone()) {
            Ok(files) => files,
            Err(error) => return self.fail(&error),
        };
        logging::start(self.output.debug, writer.clone());
        let app = App {
            launch: &self,
            writer,
            files,
        };
        match job(&app) {
            // Output that could not be written fails a client.
            Ok(done) => {
                let is_written = app.writer.is_intact() && app.files.are_written();
                done && (is_written || !self.is_client)
            }
            Err(error) => {
                app.writer.wait(DRAIN);
                self.fail(&error)
            }
        }
    }

    /// Prints why no test was run.
    fn fail(&self, message: &dyn Display) -> bool {
        complain(&format!("{}: error - {message}", self.program));
        false
    }

    /// Starts the thread that writes output.
    fn writer(&self) -> io::Result<Writer> {
        let (name, main): (_, Box<dyn Write + Send>) = match &self.output.logfile {
            Some(path) => {
                let file = open_log(path)
                    .map_err(|error| io::Error::other(Code::LOG_FILE.with_error(&error)))?;
                (path.display().to_string(), Box::new(file))
            }
            None => ("stdout".to_owned(), Box::new(io::stdout())),
        };
        Writer::start(self.program, &name, main, Box::new(io::stderr())).map_err(|error| {
            let reason = reason(&error);
            io::Error::other(format!("unable to start the output thread: {reason}"))
        })
    }
}

/// A job and where its output goes.
pub(crate) struct App<'a> {
    pub(crate) launch: &'a Launch<'a>,
    pub(crate) writer: Writer,
    files: Files,
}

impl App<'_> {
    /// Where lines go.
    pub(crate) fn output(&self) -> Output {
        match self.launch.output.logfile {
            Some(_) => Output::log(self.writer.clone()),
            None => Output::queued(self.writer.clone()),
        }
    }

    /// The output of a test; `test` is its number where others may run beside it.
    pub(crate) fn sink(&self, test: Option<TestId>) -> Box<dyn Sink> {
        let options = &self.launch.output;
        let format = match (options.json_stream, options.json) {
            (true, _) => Format::JsonStream,
            (false, true) => Format::Json,
            (false, false) => Format::Text,
        };
        let output = self.output();
        let report = ReportOptions {
            program: self.launch.program.to_owned(),
            is_client: self.launch.is_client,
            version: format!("iperf {VERSION}"),
            system_info: system_info(),
            verbose: options.verbose,
            copies: options.copies,
            limits: options.limits,
            format: options.format,
            timestamps: options.timestamps.clone(),
            test: test.map(|test| test.0),
            json_full: options.json_stream_full,
        };
        let inner = sink(format, report.clone(), output);
        self.files.beside(inner, report)
    }

    /// Waits until the output has been read; after a signal, even an earlier one, for a limited time.
    pub(crate) async fn drain(&self, stop: &mut Stop) {
        let mut deadline = None;
        while !self.writer.wait(DRAIN_WATCH) && deadline.is_none_or(|at| Instant::now() < at) {
            tokio::select! {
                biased;
                _ = stop.wait(), if deadline.is_none() => deadline = Some(Instant::now() + DRAIN),
                () = sleep(Duration::from_millis(1)) => {}
            }
        }
    }

    fn client(&self, config: ClientConfig) -> io::Result<bool> {
        let login = login(&config)?;
        if let Some(weakness) = login.as_ref().and_then(Login::weakness) {
            complain(&format!("warning: {weakness}"));
        }
        let client = Client::new(config).with_login(login);
        self.run_client(&client, self.sink(None).as_mut())
    }

    fn run_client(&self, client: &Client, sink: &mut dyn Sink) -> io::Result<bool> {
        raise_descriptor_limit();
        let runtime = runtime()?;
        let result = runtime.block_on(async {
            let mut stop = Stop::on_signals()?;
            let result = client.run_in_place(sink, stop.clone()).await;
            self.drain(&mut stop).await;
            io::Result::Ok(result)
        })?;
        runtime.shutdown_timeout(SHUTDOWN);
        Ok(succeeded(&result))
    }

    /// Runs a server on the loopback interface or CID 1, on a free port unless `-p` names one, and a client: both real,
    /// each on a thread of this process.
    fn loopback(&self, config: ClientConfig) -> io::Result<bool> {
        raise_descriptor_limit();
        let mut sink = self.sink(None);
        let runtime = runtime()?;
        let started = runtime.block_on(server_at(&config.endpoint).start());
        let (result, ended) = match started {
            Ok(server) => {
                let client = Client::new(towards(&server, config));
                let result = self.run_client(&client, sink.as_mut())?;
                server.stop();
                (result, runtime.block_on(server.stopped()))
            }
            Err(error) => (false, Err(error)),
        };
        match ended {
            Ok(()) => Ok(result),
            Err(Error::Thread(error)) => Err(error),
            Err(error) => {
                let failure = Failure {
                    kind: FailureKind::Error,
                    message: error.to_string(),
                };
                sink.event(&Event::Failed(failure))?;
                sink.event(&Event::TestFinished)?;
                self.writer.wait(DRAIN);
                Ok(false)
            }
        }
    }
}

/// Reads the key and prompts for the password, before anything is printed or connected.
fn login(config: &ClientConfig) -> io::Result<Option<Login>> {
    config
        .credentials
        .as_ref()
        .map(Login::prepare)
        .transpose()
        .map_err(io::Error::other)
}

/// A server that listens where this client connects to.
fn server_at(endpoint: &Endpoint) -> ServerBuilder {
    let server = Server::builder();
    match endpoint {
        Endpoint::Inet { host, port } => server.bind(host).port(*port),
        Endpoint::Vsock(VsockAddress { cid, port, .. }) => {
            let (cid, port) = (*cid, *port);
            server.configure(|config| config.listen = Listen::Vsock { cid, port })
        }
        Endpoint::Vmm(socket) => {
            let socket = socket.clone();
            server.configure(|config| config.listen = Listen::Vmm(socket))
        }
    }
}

/// The client, with the port that the server got.
fn towards(server: &RunningServer, mut config: ClientConfig) -> ClientConfig {
    match &mut config.endpoint {
        Endpoint::Inet { port, .. } => *port = server.address().map_or(*port, |a| a.port()),
        Endpoint::Vsock(guest) => {
            guest.port = server.vsock_address().map_or(guest.port, |a| a.port);
        }
        Endpoint::Vmm(_) => {}
    }
    config
}

/// Detaches from the terminal, now that the server listens.
pub(crate) fn detach(daemon: Option<Ready>) {
    if let Some(Err(error)) = daemon.map(Ready::tell) {
        complain(&format!(
            "warning: unable to detach from the terminal: {}",
            reason(&error)
        ));
    }
}

/// The title of a client's test and its server: by its name and, unless it is any free one, its port.
fn labels(job: &Job) -> Labels {
    let (Job::Client(config) | Job::Loopback(config)) = job else {
        return Labels::default();
    };
    let (host, port) = match &config.endpoint {
        Endpoint::Inet { host, port } => (host.clone(), *port),
        Endpoint::Vsock(address) => (format!("vsock:{}", address.cid), 0),
        Endpoint::Vmm(socket) => (socket.path.display().to_string(), 0),
    };
    let target = Target {
        host,
        port: (port > 0).then_some(port),
    };
    Labels {
        target: Some(target),
        title: config.test.title.clone(),
    }
}

/// As in iperf3 since 3.19, an interrupted client succeeds.
fn succeeded(result: &Result<(), ClientError>) -> bool {
    matches!(result, Ok(()) | Err(ClientError::Interrupted(_)))
}

//! The result of reading a command line: a job and how to run it.

use std::path::PathBuf;
use std::time::Duration;

use iperf_model::{ClientConfig, ServerConfig};

/// A valid command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// What to do.
    pub job: Job,
    /// How to report it.
    pub output: OutputOptions,
    /// How to run the process.
    pub process: ProcessOptions,
    /// Warnings, printed on stderr as `warning: TEXT`.
    pub warnings: Vec<String>,
    /// Lines that iperf3 prints on stdout before anything else.
    pub notices: Vec<String>,
}

impl Invocation {
    /// A job without options.
    pub(crate) fn of(job: Job) -> Self {
        Self {
            job,
            output: OutputOptions::default(),
            process: ProcessOptions::default(),
            warnings: Vec::new(),
            notices: Vec::new(),
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// Run a test with a server (`-c`).
    Client(ClientConfig),
    /// Serve tests (`-s`).
    Server(ServerConfig),
    /// Run both ends in this process (`--loopback`). The port of the endpoint is 0 unless `-p` is given.
    Loopback(ClientConfig),
    /// Print the help on stdout (`-h`).
    Help,
    /// Print [`version`](crate::version) on stdout (`-v`).
    Version,
    /// Print what can be done without copying on this machine (`--zerocopy-check`).
    ZerocopyCheck,
}

/// How results are reported.
#[expect(clippy::struct_excessive_bools, reason = "each is a separate option")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// JSON instead of text (`-J`); also set by `--json-stream`.
    pub json: bool,
    /// One JSON object per line (`--json-stream`).
    pub json_stream: bool,
    /// The whole document after a JSON stream (`--json-stream-full-output`).
    pub json_stream_full: bool,
    /// More details (`-V`).
    pub verbose: bool,
    /// Report how bytes were moved: a zero-copy mode, `--zerocopy-strict` or `--verify` was given.
    pub copies: bool,
    /// Report what limited a test (`--limits`).
    pub limits: bool,
    /// The unit of rates (`-f`), one of `kmgtKMGT`; `None` is automatic.
    pub format: Option<char>,
    /// The strftime format of the time at the start of each line (`--timestamps`).
    pub timestamps: Option<String>,
    /// The file of `--logfile`; `None` is stdout.
    pub logfile: Option<PathBuf>,
    /// The log level (`-d`, `--debug`): 0 (none) to 4 (most).
    pub debug: u8,
    /// Where else the result goes.
    pub files: ResultFiles,
}

/// Files that a test writes when it is over, in addition to its output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultFiles {
    /// A page with plots (`--html`).
    pub html: Option<PathBuf>,
    /// Metrics for Prometheus (`--metrics-file`).
    pub metrics: Option<PathBuf>,
    /// Lines for InfluxDB, appended (`--influx`).
    pub influx: Option<PathBuf>,
    /// Latencies of each interval (`--hlog`).
    pub hlog: Option<PathBuf>,
}

impl ResultFiles {
    /// Whether there is none that is made of the finished test.
    pub fn is_empty(&self) -> bool {
        self.html.is_none() && self.metrics.is_none() && self.influx.is_none()
    }
}

/// How the process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessOptions {
    /// In the background (`-D`).
    pub daemon: bool,
    /// The file of `--pidfile`.
    pub pidfile: Option<PathBuf>,
    /// Where a server serves its metrics (`--metrics`).
    pub metrics: Option<String>,
    /// How long the running tests of a server may continue after SIGTERM (`--drain`).
    pub drain: Option<Duration>,
    /// The server's options that SIGHUP reads again (`--options-file`).
    pub options_file: Option<PathBuf>,
    /// A server prints one line of JSON per test instead of its output (`--log-format json`).
    pub log_json: bool,
}

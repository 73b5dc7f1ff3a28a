//! Files that each test writes when it is over, in addition to its normal output: `--html`, `--metrics-file`, `--influx`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iperf_cli::ResultFiles;
use iperf_model::Sink;
use iperf_report::{Document, ReportOptions};
use iperf_results::format::{Format, failure_page, report};
use iperf_results::{FailedRun, Record, Target, target_of};

use super::hlog::Hlog;
use super::output::{append, can_be_made, named, note, replace};

/// The files of a job.
#[derive(Clone)]
pub(crate) struct Files {
    paths: ResultFiles,
    of: Labels,
    failed: Arc<AtomicBool>,
}

/// What a client's tests are called, whether they succeed or not. A server's tests have their clients and titles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    /// The server that the client names.
    pub(crate) target: Option<Target>,
    /// `--title`.
    pub(crate) title: Option<String>,
}

/// Writes a text to a file.
type Write = fn(&Path, &str) -> io::Result<()>;

impl Files {
    /// The files, which must be regular ones as far as they exist, as opening a FIFO could wait for ever, and in folders that
    /// exist: a test whose results can't be written is not worth its time.
    pub(crate) fn new(paths: &ResultFiles, of: Labels) -> io::Result<Self> {
        for (option, path) in [
            ("--html", &paths.html),
            ("--metrics-file", &paths.metrics),
            ("--influx", &paths.influx),
            ("--hlog", &paths.hlog),
        ] {
            if let Some(path) = path {
                can_be_made(path).map_err(|error| io::Error::other(named(option, path, &error)))?;
            }
        }
        Ok(Self {
            paths: paths.clone(),
            of,
            failed: Arc::default(),
        })
    }

    /// Whether all could be written so far.
    pub(crate) fn are_written(&self) -> bool {
        !self.failed.load(Ordering::Relaxed)
    }

    /// `inner`, and the files beside it if there are any.
    pub(crate) fn beside(&self, inner: Box<dyn Sink>, options: ReportOptions) -> Box<dyn Sink> {
        let inner: Box<dyn Sink> = match &self.paths.hlog {
            Some(path) => Box::new(Hlog::new(inner, path.clone(), self.failed.clone())),
            None => inner,
        };
        if self.paths.is_empty() {
            return inner;
        }
        let files = self.clone();
        iperf_report::beside(
            inner,
            options,
            Box::new(move |document| files.write(document)),
        )
    }

    /// Writes the files. One that cannot be written is named on stderr; the others are written all the same.
    fn write(&self, document: &Document) {
        let title = document.title.as_ref().or(self.of.title.as_ref());
        let name = title.map_or("test", String::as_str).to_owned();
        let target = self.of.target.clone().or_else(|| target_of(document));
        match iperf_results::from_document(&name, document) {
            Ok(mut record) => {
                record.target = target;
                self.write_all(&[record], &[]);
            }
            Err(error) => {
                let reason = document.error.clone();
                let failed = FailedRun {
                    run: name,
                    target,
                    reason: reason.unwrap_or_else(|| error.kind.to_string()),
                };
                self.write_all(&[], &[failed]);
            }
        }
    }

    fn write_all(&self, records: &[Record], failed: &[FailedRun]) {
        let text = |format: Format| match failed {
            [failed] if format == Format::Html => failure_page(failed),
            _ => report(format, records, failed).unwrap_or_default(),
        };
        let paths = &self.paths;
        let all: [(&str, &Option<PathBuf>, Format, Write); 3] = [
            ("--html", &paths.html, Format::Html, replace),
            (
                "--metrics-file",
                &paths.metrics,
                Format::Prometheus,
                replace,
            ),
            ("--influx", &paths.influx, Format::Influx, append),
        ];
        for (option, path, format, write) in all {
            let Some(path) = path else { continue };
            if let Err(error) = write(path, &text(format)) {
                note(&format!("error - {}", named(option, path, &error)));
                self.failed.store(true, Ordering::Relaxed);
            }
        }
    }
}

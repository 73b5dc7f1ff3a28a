//! Files that a test writes when it is over, beside its normal output: `--html`, `--metrics-file`, `--influx`.

use iperf_cli::ResultFiles;
use iperf_model::Sink;
use iperf_report::{Document, ReportOptions};
use iperf_results::Record;
use iperf_results::format::{Format, report};

use super::output::{append, note, print};

/// `inner`, and the files beside it if there are any.
pub(crate) fn beside(
    inner: Box<dyn Sink>,
    files: &ResultFiles,
    options: ReportOptions,
) -> Box<dyn Sink> {
    if files.is_empty() {
        return inner;
    }
    let files = files.clone();
    iperf_report::beside(
        inner,
        options,
        Box::new(move |document| write(&files, document)),
    )
}

/// Writes the files. One that cannot be written does not undo the test; it is named on stderr.
fn write(files: &ResultFiles, document: &Document) {
    let record = match iperf_results::from_document("test", document) {
        Ok(record) => [record],
        Err(error) => return note(&format!("warning: no result to write: {error}")),
    };
    let text = |format: Format, records: &[Record]| report(format, records).unwrap_or_default();
    let mut failed = Vec::new();
    if let Some(path) = &files.html {
        failed.extend(print(Some(path), &text(Format::Html, &record)).err());
    }
    if let Some(path) = &files.metrics {
        failed.extend(print(Some(path), &text(Format::Prometheus, &record)).err());
    }
    if let Some(path) = &files.influx {
        let appended = append(path, &text(Format::Influx, &record));
        failed.extend(
            appended
                .err()
                .map(|error| format!("{}: {error}", path.display())),
        );
    }
    for error in failed {
        note(&format!("warning: {error}"));
    }
}

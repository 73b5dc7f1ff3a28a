//! iperf3's JSON, of all versions and of the programs that print the same: documents, JSON lines, several in one file,
//! with text around them.

mod convert;
mod delays;
mod exchange;
mod objects;

use std::collections::BTreeMap;
use std::sync::Arc;

use iperf_report::document::{Document, Line};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{ReadError, ReadErrorKind};
use crate::input::Input;
use crate::readers::outcome::{Outcome, push};
use crate::record::{MAX_SAMPLES, Record, Target};
use objects::{Object, Objects};

/// Reads every test of the input.
pub(super) fn read(input: Input<'_>, out: &mut Vec<Record>) -> Outcome {
    let mut objects = Objects::new(input);
    let mut pending: Option<Pending> = None;
    let mut lines_of: Option<String> = None;
    while let Some(object) = objects.next()? {
        let Object { line, text } = &object;
        let malformed = |error: String| objects.error(*line, ReadErrorKind::Malformed(error));
        if !is_line(text) {
            finish(&objects, out, pending.take())?;
            let document =
                Document::from_json(text).map_err(|error| malformed(error.to_string()))?;
            // --json-stream-full-output ends with the document of the lines.
            if document.start.cookie.is_some() && document.start.cookie == lines_of.take() {
                continue;
            }
            let pending = Pending {
                begin: *line,
                document,
                more: more(text),
                ..Pending::default()
            };
            finish(&objects, out, Some(pending))?;
            continue;
        }
        let event = Line::from_json(text).map_err(|error| malformed(error.to_string()))?;
        if matches!(event, Line::Start(_)) {
            finish(&objects, out, pending.take())?;
        }
        let test = pending.get_or_insert_with(|| Pending {
            begin: *line,
            ..Pending::default()
        });
        if matches!(event, Line::Start(_)) {
            test.more = serde_json::from_str::<StartLine>(text)
                .map(|line| line.data)
                .unwrap_or_default();
        }
        if test.add(event) {
            lines_of.clone_from(&test.document.start.cookie);
            finish(&objects, out, pending.take())?;
        }
    }
    finish(&objects, out, pending)?;
    if out.is_empty() {
        return Err(objects.error(1, ReadErrorKind::Refused(objects.nothing())));
    }
    Ok(())
}

/// The record of a document that was not read from a file; `name` is what reports call it.
pub fn from_document(name: &str, document: &Document) -> Result<Record, ReadError> {
    let file = Arc::from(name);
    let mut record = convert::record(document, &file, 1)
        .map_err(|reason| ReadError::new(&file, None, ReadErrorKind::Refused(reason)))?;
    record.sort();
    Ok(record)
}

/// The other end of a document's test, also of one that failed.
pub fn target_of(document: &Document) -> Option<Target> {
    convert::target(&document.start)
}

/// A test while its lines come.
#[derive(Default)]
struct Pending {
    begin: u64,
    document: Document,
    more: More,
    dropped: bool,
    /// Reports that the program could not print.
    missing: u64,
}

impl Pending {
    /// Takes a line. Returns whether it was the last of its test.
    fn add(&mut self, line: Line) -> bool {
        match line {
            Line::Interval(_) if self.document.intervals.len() >= MAX_SAMPLES => {
                self.dropped = true;
            }
            Line::Dropped(dropped) => self.missing = dropped.reports,
            Line::ServerOutputJson(_) | Line::ServerOutputText(_) => {}
            line => return self.document.add(line),
        }
        false
    }
}

fn finish(objects: &Objects<'_>, out: &mut Vec<Record>, pending: Option<Pending>) -> Outcome {
    let Some(pending) = pending else {
        return Ok(());
    };
    let refuse = |reason: String| objects.error(pending.begin, ReadErrorKind::Refused(reason));
    let mut record =
        convert::record(&pending.document, objects.file(), pending.begin).map_err(refuse)?;
    record.environment.extend(pending.more.flat());
    at_the_end(&pending.document, &mut record.environment);
    record.pair = pending.more.pair;
    if pending.missing > 0 {
        record.note(format!("{} intervals were not printed", pending.missing));
    }
    if pending.dropped {
        record.note(format!("only the first {MAX_SAMPLES} intervals are kept"));
    }
    push(out, record)
}

/// Whether an object is a line of `--json-stream`: `event` is its first member.
fn is_line(text: &str) -> bool {
    let members = text.trim_start().trim_start_matches('{').trim_start();
    members.starts_with("\"event\"")
}

/// What the start of a test has in addition to iperf3's own keys.
#[derive(Default, Deserialize)]
struct More {
    #[serde(default)]
    environment: BTreeMap<String, Value>,
    /// The number of the pair of interleaved runs.
    #[serde(default)]
    pair: Option<u64>,
}

#[derive(Deserialize)]
struct StartLine {
    data: More,
}

#[derive(Deserialize)]
struct StartMember {
    start: More,
}

fn more(text: &str) -> More {
    serde_json::from_str::<StartMember>(text)
        .map(|document| document.start)
        .unwrap_or_default()
}

impl More {
    /// The environment as texts, `outer.inner` where objects are nested.
    fn flat(&self) -> BTreeMap<String, String> {
        let mut flat = BTreeMap::new();
        for (name, value) in &self.environment {
            flatten(name, value, &mut flat);
        }
        flat
    }
}

/// Steal time and the peer's machine, which are known when the test is over.
fn at_the_end(document: &Document, environment: &mut BTreeMap<String, String>) {
    if let Some(Value::Object(members)) = document
        .end
        .environment
        .as_ref()
        .and_then(|end| serde_json::to_value(end).ok())
    {
        for (name, value) in &members {
            flatten(name, value, environment);
        }
    }
}

fn flatten(name: &str, value: &Value, flat: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                flatten(&format!("{name}.{member}"), value, flat);
            }
        }
        Value::String(text) => drop(flat.insert(name.to_owned(), text.clone())),
        Value::Null => {}
        other => drop(flat.insert(name.to_owned(), other.to_string())),
    }
}

impl Objects<'_> {
    /// Why an input has no test.
    fn nothing(&self) -> String {
        match self.stray() {
            Some(text) => format!("the run failed: {text}"),
            None => "no result in it".into(),
        }
    }
}
